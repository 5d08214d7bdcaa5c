"""The warm start when something is killed: the job, its client, its server, Snakemake; and clients that are none."""

import os
import pickle
import signal
import socket
import sys
import time
from pathlib import Path

import pytest

from dqv2.runtime import warm
from tests.unit.warm_jobs import alive, owner, wait_for, word

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the warm start is for Linux")

CHECKPOINT = """
import os, signal, sys, time
def keep(number, frame):
    open("kept", "w").write(str(number))
    sys.exit(128 + number)
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP):
    signal.signal(number, keep)
open("began", "w").write(str(os.getpid()))
for _ in range(600):  # one long sleep could begin just after a signal that Python has noted and not yet handled
    time.sleep(0.1)
"""


@pytest.fixture
def alone(tmp_path):
    with owner(tmp_path / "alone") as running:
        yield running


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP])
def test_signal_is_passed_on(alone, number):
    client = alone.start(CHECKPOINT)
    word(alone.folder / "began")
    client.send_signal(number)
    assert client.wait(10) == 128 + number
    assert (alone.folder / "kept").read_text() == str(int(number))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_that_nothing_handles(alone, number):
    client = alone.start("import time; open('began', 'w').write('1')\nfor _ in range(600): time.sleep(0.1)")
    word(alone.folder / "began")
    client.send_signal(number)
    assert client.wait(10) == -number
    assert ("KeyboardInterrupt" in client.stderr.read()) == (number == signal.SIGINT)


def test_signal_before_the_job_has_begun(tmp_path):
    (tmp_path / "slow.py").write_text("import time; time.sleep(1.5)")
    with owner(tmp_path, preload="slow") as running:
        client = running.start("import time; time.sleep(60)")
        time.sleep(0.7)
        client.terminate()
        assert client.wait(10) == -signal.SIGTERM


def test_signal_while_the_job_is_forked(tmp_path):
    """What libraries registered for a fork runs first in a child, and Python drops what is raised there."""
    hook = "lambda: (open('forked', 'w').write('1'), time.sleep(1.5))"
    (tmp_path / "hooked.py").write_text(f"import os, time; os.register_at_fork(after_in_child={hook})")
    with owner(tmp_path, preload="hooked") as running:
        client = running.start("import time; time.sleep(60)")
        word(running.folder / "forked")
        client.send_signal(signal.SIGINT)
        assert client.wait(10) == -signal.SIGINT


def test_stopped_and_continued(alone):
    state = "import os, time; open('began', 'w').write(str(os.getpid())); time.sleep(1)"
    client = alone.start(state)
    job = word(alone.folder / "began")
    client.send_signal(signal.SIGTSTP)
    for pid in (job, client.pid):
        wait_for(
            lambda pid=pid: Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "T"
        )
    client.send_signal(signal.SIGCONT)
    assert client.wait(10) == 0


FAMILY = """
import os, subprocess, sys, time
child = subprocess.Popen(["sleep", "60"])
open("began", "w").write("%d %d" % (os.getpid(), child.pid))
{then}
"""
BUSY_IN_C = "import re; re.match('(a+)+b', 'a' * 60)"  # never lets another thread run


@pytest.mark.parametrize("then", ["time.sleep(60)", BUSY_IN_C, "os.kill(os.getpid(), 19)"])
def test_client_killed(alone, then):
    client = alone.start(FAMILY.format(then=then))
    family = word(alone.folder / "began").split()
    client.kill()
    wait_for(lambda: not any(alive(pid) for pid in family), 2)
    assert alone.job("code = 5")[0] == 5


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_server_killed(alone, number):
    ends = "import os, time; open('began', 'w').write('1'); time.sleep(0.7); print('done'); code = 9"
    client = alone.start(ends)
    word(alone.folder / "began")
    os.kill(alone.server, number)
    out, err = client.communicate(timeout=10)
    assert (client.returncode, out, err) == (9, "done\n", ""), "what runs goes on"
    assert [alone.job("print('done'); code = 4") for _ in range(3)] == [(4, "done\n", "")] * 3
    assert alone.ran_cold() == 3
    assert alone.end()[1].count("jobs started cold") == 1
    assert alone.gone()


def test_server_killed_before_it_could_name_the_job(tmp_path):
    """Just after the fork: the job is there, and its stand-in hears of it from itself."""
    slow = "import os, time\nos.register_at_fork(after_in_parent=lambda: time.sleep(60))"
    (tmp_path / "slow_fork.py").write_text(slow)
    with owner(tmp_path, preload="slow_fork") as running:
        client = running.start(CHECKPOINT)
        word(tmp_path / "began")
        os.kill(running.server, signal.SIGKILL)
        client.terminate()
        assert (client.wait(10), (tmp_path / "kept").read_text()) == (128 + 15, "15")
        client = running.start("print('done'); code = 4")
        assert (*client.communicate(timeout=10), client.returncode) == ("done\n", "", 4)


def test_server_and_job_killed(alone):
    client = alone.start("import os, time; open('began', 'w').write(str(os.getpid())); time.sleep(60)")
    job = int(word(alone.folder / "began"))
    for pid in (alone.server, job):
        os.kill(pid, signal.SIGKILL)
    _, err = client.communicate(timeout=10)
    assert client.returncode == 1
    assert "without a word" in err
    assert alone.ran_cold() == 0
    alone.end()
    assert alone.gone()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_snakemake_killed(alone, number):
    client = alone.start(CHECKPOINT)
    job = word(alone.folder / "began")
    os.kill(alone.process.pid, number)
    assert client.wait(10) == 143
    assert (alone.folder / "kept").read_text() == "15"
    wait_for(lambda: alone.gone() and not alive(job), 5)


def test_snakemake_killed_and_a_job_that_will_not_end(tmp_path):
    with owner(tmp_path, grace=0.5) as running:
        stubborn = "import signal; signal.signal(15, signal.SIG_IGN);" + FAMILY.format(then="time.sleep(60)")
        client = running.start(stubborn.replace("; ", "\n").replace(";", "\n"))
        family = word(tmp_path / "began").split()
        running.process.kill()
        assert client.wait(10) == -signal.SIGKILL
        wait_for(lambda: running.gone() and not any(alive(pid) for pid in family), 5)


STRANGE = {
    "nothing": b"",
    "a byte": b"\0",
    "another protocol": b"GET / HTTP/1.1\r\n\r\n",
    "half a job": b"\0" + pickle.dumps({"request": {"code": "print('never')"}, "cwd": "/"})[:-9],
    "no job": b"\0" + pickle.dumps("half"),
}


@pytest.mark.parametrize("said", STRANGE.values(), ids=STRANGE)
def test_strange_clients_block_nobody(alone, said):
    strangers = [socket.socket(socket.AF_UNIX) for _ in range(5)]
    for stranger in strangers:
        stranger.connect(warm._socket_in(alone.variable))
        if said:
            socket.send_fds(stranger, [said], [0, 1, 2] if said[0] == 0 else [])
    assert alone.job("code = 5")[0] == 5
    for stranger in strangers:
        stranger.close()
    wait_for(lambda: not Path(f"/proc/{alone.server}/task/{alone.server}/children").read_text(encoding="utf-8"))
    assert alone.job("code = 5")[0] == 5
    assert alone.ran_cold() == 0


def test_a_copy_that_the_job_forks(alone):
    lets_come_back = "import os\npid = os.fork()\nif pid: os.waitpid(pid, 0)\ncode = 0 if pid else 77"
    assert alone.job(lets_come_back)[0] == 0
    stays = "import os, time\nif not os.fork():\n    os.closerange(0, 3)\n    time.sleep(25)\n    os._exit(0)\ncode = 6"
    began = time.monotonic()
    assert alone.job(stays)[0] == 6
    assert time.monotonic() - began < 20, "it is not waited for"
