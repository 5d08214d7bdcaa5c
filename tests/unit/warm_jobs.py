"""What the tests of the warm start share: stand-ins for Snakemake, a script and a job, which does as it is told."""

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import ROOT

# Snakemake: it starts the server, says where it is, and ends when its standard input is closed
OWNER = """
import os, sys
from dqv2.runtime import warm
preload, grace = sys.argv[1].split(","), float(sys.argv[2])
server = warm.start(preload, "job:main", grace=grace)
print(os.environ.get("DQV2_WARM"), server.pid, flush=True)
sys.stdin.read()
server.stop()
server.stop()
print(os.environ.get("DQV2_WARM"), flush=True)
"""

# A script: it hands its job over, or does it itself and leaves a word of that
CLIENT = """
import json, os, sys
from dqv2.runtime import warm
request = json.loads(sys.argv[1])
code = warm.run(request)
if code is None:
    print("cold", file=open(os.environ["COLD"], "a"))
    from job import main
    code = main(request)
sys.exit(code)
"""

# A job: the code that it is asked to run
JOB = """
def main(request):
    scope = {"request": request}
    exec(request["code"], scope)
    return scope.get("code", 0)
"""


class Owner:
    """A running Snakemake, as far as the warm start is concerned."""

    def __init__(self, folder, *, preload="json", grace=20.0, env=(), before=()):
        folder.mkdir(exist_ok=True)
        self.folder, self.cold_jobs, self.before = folder, folder / "cold", before
        (folder / "job.py").write_text(JOB)
        (folder / "client.py").write_text(CLIENT)
        self.tmp = folder / "tmp"
        self.env = os.environ | {"TMPDIR": str(self.tmp), "COLD": str(self.cold_jobs)} | dict(env)
        self.env.pop("PYTHONUNBUFFERED", None)
        self.env["PYTHONPATH"] = os.pathsep.join([str(ROOT / "src"), str(folder)])
        Path(self.env["TMPDIR"]).mkdir(exist_ok=True, parents=True)
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        command = [*before, sys.executable, "-c", OWNER, preload, str(grace)]
        self.process = subprocess.Popen(command, env=self.env, text=True, cwd=folder, **pipes)
        self.variable, pid = self.process.stdout.readline().split()
        self.server = None if pid == "None" else int(pid)
        if self.variable != "None":
            self.env["DQV2_WARM"] = self.variable

    def start(self, code, *, env=(), cold=False, before=None, **more):
        """A job's script, started; `before` stands before its command, else what stood before Snakemake's."""
        env = self.env | dict(env) | ({"DQV2_WARM": "0"} if cold else {})
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        before = self.before if before is None else before
        command = [*before, sys.executable, str(self.folder / "client.py"), json.dumps({"code": code} | more)]
        return subprocess.Popen(command, env=env, cwd=self.folder, text=True, **pipes)

    def job(self, code, **more):
        """Its exit code, standard output and standard error."""
        process = self.start(code, **more)
        out, err = process.communicate(timeout=30)
        return process.returncode, out, err

    def ran_cold(self):
        return len(self.cold_jobs.read_text().splitlines()) if self.cold_jobs.exists() else 0

    def end(self):
        """As Snakemake ends; what it said."""
        return self.process.communicate(timeout=30)

    def gone(self):
        """Whether nothing of the server is left."""
        return not (alive(self.server) or Path(self.variable).exists())


@contextmanager
def owner(folder, **how):
    running = Owner(folder, **how)
    try:
        yield running
    finally:
        running.process.kill()
        running.process.communicate()


def alive(pid):
    """Whether a process is there and has not ended (one that nobody has waited for yet has)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def wait_for(condition, seconds=10.0):
    """What the condition gives, once it gives something."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)
    return found


def word(path):
    """What a job has written to a file, once it has."""
    return wait_for(lambda: path.exists() and path.read_text())
