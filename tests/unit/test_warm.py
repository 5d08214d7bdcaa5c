"""The warm start: a job is what it would be cold, whatever happens to it, its client, its server or Snakemake."""

import ast
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dqv2.runtime import warm
from tests.conftest import ROOT
from tests.unit.warm_jobs import owner

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the warm start is for Linux")


def test_what_is_ready_before_the_first_job_has_no_library_that_few_jobs_need():
    code = "import sys, dqv2.runtime.warmed; print({'torch', 'transformers', 'sklearn'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "{'torch'}\n"


SAME_AS_COLD = {
    "output": "import sys; print('a'); print('b', file=sys.stderr); print('c')",
    "standard input": "import sys; print(repr(sys.stdin.read()))",
    "not a whole line": "import sys; sys.stdout.write('no newline'); sys.stderr.write('nor here')",
    "bytes": "import sys; sys.stdout.buffer.write(bytes(range(256))[:128])",
    "a megabyte": "print('x' * 2**20)",
    "folder": "import os; print(os.getcwd())",
    "environment": "import os; print(sorted((k, v) for k, v in os.environ.items() if k != 'DQV2_WARM'))",
    "environment of what it starts": "import subprocess; subprocess.run('echo $MARK; umask; ulimit -n', shell=True)",
    "arguments": "import sys; print(sys.argv)",
    "umask": "import os; open('made', 'w'); print(oct(os.stat('made').st_mode)); os.remove('made')",
    "limits": "import resource; print([resource.getrlimit(n) for n in range(10)])",
    "signals": "import signal; print({n: signal.getsignal(n) for n in range(1, 32) if n not in (9, 19)},"
    " signal.pthread_sigmask(signal.SIG_BLOCK, []))",
    "time zone": "import time; print(time.tzname)",
    "temporary folder": "import tempfile; print(tempfile.gettempdir())",
    "registered for the end": "import atexit; atexit.register(print, 'at the end')",
    "a thread that goes on": "import threading; threading.Timer(0.1, print, ['later']).start()",
    "code 0": "code = 0",
    "code 7": "code = 7",
    "code None": "code = None",
    "code 256": "code = 256",
    "code -1": "code = -1",
    "exit()": "raise SystemExit",
    "exit(3)": "raise SystemExit(3)",
    "exit('words')": "raise SystemExit('words')",
    "os._exit(7)": "import os; os._exit(7)",
    "exception": "raise ValueError('what is wrong')",
    "interrupted": "raise KeyboardInterrupt",
    "SIGTERM of its own": "import os; os.kill(os.getpid(), 15)",
    "SIGKILL of its own": "import os; os.kill(os.getpid(), 9)",
    "segmentation fault": "import ctypes; ctypes.string_at(0)",
    "abort": "import os; os.abort()",
}


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    before = ["bash", "-c", 'trap "" USR1; ulimit -S -n 321; umask 027; exec "$@"', "bash"]
    with owner(tmp_path_factory.mktemp("warm"), before=before) as running:
        yield running


@pytest.mark.parametrize("case", SAME_AS_COLD)
def test_same_as_cold(shared, case):
    code, env = SAME_AS_COLD[case], {"MARK": "mine", "TZ": "Asia/Tokyo", "TMPDIR": str(shared.folder)}
    results = []
    for cold in (True, False):
        count = shared.ran_cold()
        status, out, err = shared.job(code, env=env, cold=cold)
        assert shared.ran_cold() == count + cold
        err = [line for line in err.splitlines() if not line.startswith(("  ", "Traceback"))]
        results.append((status, out, err))
    assert results[0] == results[1]


def test_exception_shows_where(shared):
    status, _, err = shared.job("raise ValueError('what is wrong')")
    assert status == 1
    assert 'job.py", line' in err


def test_job_is_a_child_of_the_server(shared):
    _, out, _ = shared.job("import os, sys; print(os.getppid(), os.getsid(0) == os.getpid(), 'json' in sys.modules)")
    assert out.split() == [str(shared.server), "True", "True"]


def test_no_descriptor_of_another_job_is_in_a_job(shared):
    waiting = [shared.start("import time; time.sleep(1)") for _ in range(3)]
    time.sleep(0.3)
    links = "[str(each.readlink()) for each in Path('/proc/self/fd').iterdir() if each.is_symlink()]"
    _, out, _ = shared.job(f"from pathlib import Path; print({links})")
    kinds = [link.partition(":")[0] for link in ast.literal_eval(out)]
    assert (kinds.count("pipe"), kinds.count("socket")) == (2, 1), "its output's, and its client's"
    assert [process.communicate() and process.returncode for process in waiting] == [0, 0, 0]


def test_global_generators_differ(shared):
    drawn = {shared.job("import random; print(random.random())")[1] for _ in range(3)}
    assert len(drawn) == 3


def test_many_at_once(shared):
    jobs = [shared.start(f"import time; time.sleep(0.2); print({n}); code = {n}") for n in range(30)]
    results = [(process.communicate(timeout=30)[0], process.returncode) for process in jobs]
    assert results == [(f"{n}\n", n) for n in range(30)]


@pytest.fixture
def alone(tmp_path):
    with owner(tmp_path / "alone") as running:
        yield running


def test_stop(alone):
    folder = Path(alone.variable)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert folder.parent == (alone.tmp if len(str(alone.tmp)) <= 70 else Path("/tmp"))
    out, err = alone.end()
    assert out == "None\n"
    assert err == ""
    assert alone.gone()


def test_two_at_once(tmp_path):
    with owner(tmp_path / "one") as one, owner(tmp_path / "two", env={"TMPDIR": str(tmp_path / "one/tmp")}) as two:
        parents = [int(it.job("import os; print(os.getppid())")[1]) for it in (one, two)]
        assert parents == [one.server, two.server]
        one.end()
        assert two.job("code = 5")[0] == 5
        assert two.ran_cold() == 0


def test_off(tmp_path):
    with owner(tmp_path, env={"DQV2_WARM": "0"}) as running:
        assert running.server is None
        assert running.job("code = 5")[0] == 5
        assert running.ran_cold() == 1


@pytest.mark.parametrize("value", ["", "nonsense", "/", "/tmp", "/dev/null", "\udcff", "x" * 5000])
def test_tampered_variable(shared, value):
    count = shared.ran_cold()
    assert shared.job("print(1); code = 5", env={"DQV2_WARM": value}) == (5, "1\n", "")
    assert shared.ran_cold() == count + 1


def test_server_that_is_not_for_us(alone):
    (socket,) = Path(alone.variable).iterdir()
    socket.rename(socket.with_name("of-another"))
    assert alone.job("print(1); code = 5") == (5, "1\n", "")
    assert alone.ran_cold() == 1


@pytest.mark.parametrize(
    ("owner", "name", "other"),
    [
        (Path, "read_text", lambda self, encoding: "another machine"),
        (Path, "readlink", lambda self: self if self.name == "mnt" else Path("of a container")),
        (os, "getuid", lambda: 12345),
        (sys, "executable", "/usr/bin/another"),
        (sys, "prefix", "/another/environment"),
        (warm, "__file__", "/another/library"),
    ],
)
def test_what_a_server_is_for(monkeypatch, owner, name, other):
    before = warm._socket_in("folder")
    monkeypatch.setattr(owner, name, other)
    assert warm._socket_in("folder") != before


def test_other_interpreter(shared, tmp_path):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "other"], check=True)
    script = [str(tmp_path / "other/bin/python"), "-c", "from dqv2.runtime import warm; print(warm.run({}))"]
    done = subprocess.run(script, env=shared.env, capture_output=True, text=True)
    assert done.stdout == "None\n"
    assert done.stderr == ""


def test_long_temporary_folder(tmp_path):
    long = tmp_path / ("x" * 150)
    with owner(tmp_path, env={"TMPDIR": str(long)}) as running:
        assert running.job("code = 5")[0] == 5
        assert running.ran_cold() == 0
        running.end()
        assert running.gone()


@pytest.mark.parametrize("lacks", ["tempfile.tempdir = '/nowhere'", "sys.executable = '/nowhere'"])
def test_no_place_for_a_socket_and_no_process(tmp_path, lacks):
    program = f"import os, sys, tempfile; {lacks}\nfrom dqv2.runtime import warm\n"
    program += "server = warm.start([], 'a:b')\nprint(server.pid, os.environ.get('DQV2_WARM'))\nserver.stop()"
    env = os.environ | {"PYTHONPATH": str(ROOT / "src"), "TMPDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True)
    assert done.stdout == "None None\n"
    assert done.stderr.count("jobs start cold") == 1
    assert not list(tmp_path.iterdir())


def test_missing_module_is_said(tmp_path):
    with owner(tmp_path, preload="json,nowhere_to_be_found") as running:
        assert running.job("code = 5")[0] == 5
        _, err = running.end()
        assert err.count("could not import nowhere_to_be_found") == 1
        assert len(err.splitlines()) == 1


def test_temporary_folder_of_an_import(tmp_path):
    """matplotlib's own, where HOME cannot be written: each run left one."""
    made = "import atexit, shutil, tempfile; left = tempfile.mkdtemp(); atexit.register(shutil.rmtree, left)"
    (tmp_path / "leaves.py").write_text(made)
    with owner(tmp_path, preload="leaves") as running:
        there = "import leaves, os, tempfile; print(os.path.isdir(leaves.left), tempfile.gettempdir())"
        assert [running.job(there)[:2] for _ in range(2)] == [(0, f"True {running.tmp}\n")] * 2
        assert running.end()[1] == ""
        assert list(running.tmp.iterdir()) == []


def test_closed_standard_descriptors(alone):
    before = ["bash", "-c", 'exec "$@" <&- >&-', "bash"]
    assert alone.job("import os; os.write(1, b'x'); code = 5", before=before)[0] in (5, 1)


def test_full_disk(alone):
    before = ["bash", "-c", 'exec "$@" > /dev/full', "bash"]
    results = [alone.job("print(1)", before=before, cold=cold)[0] for cold in (True, False)]
    assert results == [120, 120]


def test_memory_and_time_are_the_jobs_own(shared):
    use = "import resource; x = bytearray(200 * 2**20); print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    assert int(shared.job(use)[1]) > 200 * 1024 > 0 < before


def test_threads_and_generators_of_torch(tmp_path):
    said = """
import numpy, torch, threadpoolctl, os
pools = {pool["num_threads"] for pool in threadpoolctl.threadpool_info()}
x = torch.randn(300, 300, generator=torch.Generator().manual_seed(1)); y = numpy.linalg.svd(x.numpy())[1]
print(torch.get_num_threads(), pools, torch.cuda.is_initialized(), (x @ x).sum().item(), y.sum())
"""
    with owner(tmp_path, preload="numpy,torch") as running:
        env = {"OMP_NUM_THREADS": "2"}
        results = [running.job(said, cold=cold, threads=2, env=env) for cold in (True, False, False)]
        assert results[0] == results[1] == results[2]
        assert results[0][1].startswith("2 {2} False")
        for draw in ("numpy.random.rand()", "torch.rand(1)"):
            drawn = {running.job(f"import numpy, torch; print({draw})")[1] for _ in range(3)}
            assert len(drawn) == 3
        assert running.ran_cold() == 1
        assert running.end()[1] == "", "no thread was started before the fork"
