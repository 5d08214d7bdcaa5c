"""Faults of processes and of the machine: through Snakemake itself, on one training and all behind it."""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager, suppress
from pathlib import Path

import psutil

from dqv2.plan import Plan
from dqv2.plan.verify import remove, verify
from tests.damage import BYTES
from tests.faults import base
from tests.faults.tries import Outcome, Try
from tests.processes import running_in
from tests.ready import READY

LIMIT = 240  # seconds of one Snakemake
AXES = {"dataset": "digits", "selection": "o100/random", "keep": "0.2"}
AXES |= {"step": "", "draw": "", "trainer": "resnet8", "seed": "0"}
SIGNALS = {"kill -9": signal.SIGKILL, "SIGTERM": signal.SIGTERM, "SIGHUP": signal.SIGHUP}
MOMENTS = 3  # of each signal and process
LOCALES = {
    "LC_ALL=C": {"LC_ALL": "C"},
    "ISO-8859-1": {"LC_ALL": "en_US.ISO-8859-1", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "POSIX, no UTF-8 mode": {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
}


class Snakemake:
    """Runs of one target in a folder."""

    def __init__(self, folder: Path, target: str, *options: str, cores: int = 2, **env: str):
        self.folder, self.options = folder, options
        (folder / "tmp").mkdir(parents=True, exist_ok=True)
        files = ["--snakefile", str(base.ROOT / "Snakefile"), "--configfile", str(base.CONFIG)]
        self.command = [sys.executable, "-m", "snakemake", "--cores", str(cores), *files, *options, "--", target]
        self.env = os.environ | {"PYTHONPATH": str(base.ROOT / "src"), "TMPDIR": str(folder / "tmp")} | env
        self.plain = not env  # else libraries read it as they are loaded

    def start(self) -> subprocess.Popen:
        """Begin."""
        out = (self.folder / "tmp/said.txt").open("w")
        return subprocess.Popen(
            self.command, cwd=self.folder, env=self.env, start_new_session=True, stdout=out, stderr=subprocess.STDOUT
        )

    def end(self, started: subprocess.Popen) -> tuple[int | None, str]:
        """The exit code (None: it hangs), and all that was said."""
        try:
            code = started.wait(LIMIT)
        except subprocess.TimeoutExpired:
            code = None
            with suppress(ProcessLookupError):
                os.killpg(started.pid, signal.SIGKILL)
        return code, (self.folder / "tmp/said.txt").read_text(errors="replace")

    def run(self) -> tuple[int | None, str]:
        """Begin and wait for the end; with nothing in its way, it may be a fork of what has been loaded."""
        if not self.plain:
            return self.end(self.start())
        try:
            done = READY.run(self.command, cwd=self.folder, env=self.env, timeout=LIMIT)
        except TimeoutError:
            return None, ""
        return done.returncode, done.stdout + done.stderr

    def processes(self) -> list[psutil.Process]:
        """Jobs, their clients, the warm server, Snakemake: what runs in the folder."""
        return running_in(self.folder)


class Tries:
    """A training with all behind it, from an empty folder."""

    def __init__(self, kept: Path, plan: Plan):
        self.plan, self.sound = plan, kept / "base"
        self.target = plan.file("evaluate", "metrics", AXES)
        jobs = plan.jobs([self.target])
        outputs = [file for job in jobs for file in plan.files_of(job) if not file.endswith("/record.json")]
        below = base.files_below(self.sound)
        self.results = sorted(file for file in below if file.startswith(tuple(outputs)))
        self.pack = str(Path(plan.file("pack", "options", AXES)).parent)

    def all(self) -> Iterator[Try]:
        """Every fault."""
        for name, number in SIGNALS.items():
            for whom in ("Snakemake", "a job", "warm server"):
                for i in range(MOMENTS):
                    yield Try(name, whom, f"moment {i}", self._killed(number, whom, f"{name}{whom}{i}"))
        for kind, place in LOCALES.items():
            yield Try("other locale", "all", kind, self._with(**place))
        yield Try("other core count", "all", "--cores 1", self._with(cores=1))
        yield Try("other core count", "all", "--cores 4", self._with(cores=4))
        yield Try("no warm start", "all", "DQV2_WARM=0", self._with(DQV2_WARM="0"))
        # With less than 500 MB, Snakemake's own imports may fail before it reads the Snakefile
        for megabytes in (600, 1200, 3000):
            yield Try("memory limit", "all", f"ulimit -v {megabytes} MB", self._limited(megabytes))
        for what, damage in {"cut": BYTES["cut"], "empty": BYTES["empty"], "zeroed": BYTES["zeroed"]}.items():
            for name in ("options.json", "splits.json"):
                yield Try(what, "dry run", name, self._dry(name, damage))
        for way in ((), ("--keep-going",), ("--workflow-profile", "none")):
            yield Try("one bad coreset of two", "all", " ".join(way) or "as it is", self._one_bad(way))
        for i in range(2):
            yield Try("two Snakemakes at once", "all", f"moment {i}", self._two(i))
        for name in (".snakemake", ".snakemake/metadata", ".snakemake/incomplete", ".snakemake/locks"):
            yield Try("gone", "Snakemake's notes", name, self._without(name))
        for days in (1, -400):
            yield Try("clock ahead" if days > 0 else "clock behind", "all", f"{days} days", self._at(days))
        if os.geteuid() == 0:
            for place, size in (("results", "100k"), ("results", "1m"), ("logs", "8k")):
                yield Try("full disk", place, size, self._full(place, size))
            for place in ("results", "logs"):
                yield Try("read-only", place, "bind mount", self._read_only(place))

    def _fresh(self, scratch: Path) -> Path:
        folder = scratch / "run"
        base.remove(folder)
        folder.mkdir(parents=True)
        return folder

    def _snakemake(self, folder: Path, *options: str, target: str | None = None, **more) -> Snakemake:
        return Snakemake(folder, target or self.target, *options, **more)

    def _at_last(self, folder: Path, said: str, kind: str = "same bytes") -> Outcome:
        """Run once more as a person does, who unlocks the folder when that is asked for; look at the bytes."""
        code, text = self._snakemake(folder).run()
        if code and "unlock" in text:
            self._snakemake(folder, "--unlock").run()
            code, text = self._snakemake(folder).run()
        if code is None:
            return Outcome("hang", text)
        if bad := self._faulty(text):
            return bad
        if code != 0:
            return Outcome("stuck", said + text)
        if wrong := base.differences(self.sound, folder, self.results):
            return Outcome("silent wrong", f"{wrong}\n{said}\n{text}")
        return Outcome(kind, said)

    @staticmethod
    def _faulty(text: str) -> Outcome | None:
        return Outcome("traceback", text) if "Traceback (most recent call last)" in text else None

    def _judge(self, folder: Path, code: int | None, text: str, *words: str) -> Outcome:
        """A run that may have been refused, in these words; then another without the fault."""
        if code is None:
            return Outcome("hang", text)
        if bad := self._faulty(text):
            return bad
        if code == 0:
            wrong = base.differences(self.sound, folder, self.results)
            return Outcome("silent wrong", f"{wrong}\n{text}") if wrong else Outcome("same bytes", "")
        if not all(word in text for word in words):
            return Outcome("unclear", text)
        return self._at_last(folder, text, "refused")

    def _killed(self, number: int, whom: str, seed: str) -> Callable[[Path], Outcome]:
        """After a random time, in which some jobs are done."""

        def attempt(scratch: Path) -> Outcome:
            run = self._snakemake(self._fresh(scratch))
            started, began = run.start(), time.time()
            wait = random.Random(seed).uniform(3, 25)
            victim = None
            while started.poll() is None and time.time() - began < LIMIT:
                time.sleep(0.02)
                if time.time() - began < wait:
                    continue
                if victim := self._victim(run, started.pid, whom):
                    with suppress(psutil.Error):
                        victim.send_signal(number)
                    break
            code, said = run.end(started)
            if code is None:
                return Outcome("hang", said)
            _, alive = psutil.wait_procs(run.processes(), timeout=40)
            for process in alive:
                process.kill()
            if alive:
                return Outcome("hang", f"still there: {alive}\n{said}")
            # SIGINT and kills of Snakemake's own process show Snakemake's words, which are not ours
            bad = self._faulty(said) if whom != "Snakemake" else None
            return bad or self._at_last(run.folder, f"{'hit' if victim else 'missed'}, code {code}")

        return attempt

    @staticmethod
    def _victim(run: Snakemake, main: int, whom: str) -> psutil.Process | None:
        with suppress(psutil.Error):
            if whom == "Snakemake":
                return psutil.Process(main)
            for process in run.processes():
                words = " ".join(process.cmdline())
                if (whom == "warm server" and "warm_server" in words and process.ppid() == main) or (
                    whom == "a job" and re.search(r"/scripts/\S+\.py", words)
                ):
                    return process
        return None

    def _with(self, cores: int = 2, **env: str) -> Callable[[Path], Outcome]:
        def attempt(scratch: Path) -> Outcome:
            folder = self._fresh(scratch)
            return self._judge(folder, *self._snakemake(folder, cores=cores, **env).run())

        return attempt

    def _limited(self, megabytes: int) -> Callable[[Path], Outcome]:
        def attempt(scratch: Path) -> Outcome:
            folder = self._fresh(scratch)
            run = self._snakemake(folder)
            run.plain = False
            run.command = ["bash", "-c", f'ulimit -v {megabytes * 1024}; exec "$@"', "bash", *run.command]
            return self._judge(folder, *run.run(), "memory")

        return attempt

    def _made(self, scratch: Path) -> Path:
        """A folder in which the target was made by Snakemake: a copy of one that is kept."""
        kept = scratch.parent / "made"
        if not kept.exists():
            started = kept.with_name("made.part")
            base.remove(started)
            started.mkdir(parents=True)
            code, said = self._snakemake(started).run()
            if code != 0:
                raise SystemExit(f"the target could not be made:\n{said}")
            started.rename(kept)
        folder = scratch / "run"
        base.remove(folder)
        shutil.copytree(kept, folder, symlinks=True)
        return folder

    def _dry(self, name: str, damage: Callable[[Path], None]) -> Callable[[Path], Outcome]:
        def attempt(scratch: Path) -> Outcome:
            folder = self._made(scratch)
            damage(folder / self.pack / name)
            code, text = self._snakemake(folder, "-n").run()
            if code != 0 or self._faulty(text):
                return Outcome("stuck", text)
            base.remove(folder / self.target)
            code, text = self._snakemake(folder, "--forcerun", "train").run()
            if code == 0:  # nothing that was run reads it
                with chdir(folder):
                    found = [*verify(base.RUN, self.plan)]
                    remove(found, base.RUN, self.plan)
                said = "".join(f"{each.file}: {each.what}\n" for each in found)
                return self._at_last(folder, said, "named by verify") if found else Outcome("unseen", text)
            if bad := self._faulty(text):
                return bad
            found = re.findall(r"\(rm -r ([^)]+)\)", text)
            if not found:
                return Outcome("unclear", text)
            base.remove(folder / found[0])
            return self._at_last(folder, text, "refused")

        return attempt

    def _one_bad(self, way: tuple[str, ...]) -> Callable[[Path], Outcome]:
        """A wrong id in the coreset of one seed: the other seed's accuracy is there all the same."""

        def attempt(scratch: Path) -> Outcome:
            folder = self._made(scratch)
            coreset = folder / self.plan.file("sample", "coreset", AXES)
            text = coreset.read_text(encoding="utf-8")
            coreset.write_text(text.replace("digits/train/", "digits/trian/", 1), encoding="utf-8")
            base.remove(folder / self.target)
            base.remove((folder / self.target).with_name("model.pt"))
            other = self.plan.file("evaluate", "metrics", AXES | {"seed": "1"})
            run = self._snakemake(folder, *way, target=self.target)
            run.command.append(other)
            code, said = run.run()
            if code is None or (bad := self._faulty(said)):
                return Outcome("hang", said) if code is None else bad
            if code == 0:
                return Outcome("silent wrong", said)
            going = "--workflow-profile" not in way
            if going and base.differences(self.sound, folder, [other]):
                return Outcome("stuck", f"the other arm is not there\n{said}")
            if not (found := re.findall(r"\(rm -r ([^)]+)\)", said)):
                return Outcome("unclear", said)
            base.remove(folder / found[0])
            return self._at_last(folder, said, "refused")

        return attempt

    def _two(self, seed: int) -> Callable[[Path], Outcome]:
        def attempt(scratch: Path) -> Outcome:
            folder = self._fresh(scratch)
            first, second = self._snakemake(folder), self._snakemake(folder)
            one = first.start()
            time.sleep(random.Random(seed).uniform(0, 6))
            code, said = second.run()
            one.wait(LIMIT)
            if code is None:
                return Outcome("hang", said)
            if code != 0 and "lock" not in said:
                return Outcome("unclear", said)
            return self._faulty(said) or self._at_last(folder, said, "refused" if code else "same bytes")

        return attempt

    def _without(self, name: str) -> Callable[[Path], Outcome]:
        """Snakemake's notes are gone, and the rate is another one since: that is said, and can be made good."""

        def attempt(scratch: Path) -> Outcome:
            folder = self._made(scratch)
            base.remove(folder / name)
            changed = ["--config", "trainers={resnet8: {learning_rate: 0.05}}"]
            code, said = self._snakemake(folder, *changed).run()
            if code is None or (bad := self._faulty(said)):
                return Outcome("hang", said) if code is None else bad
            made = not base.same(self.sound, folder, self.target.replace("metrics.json", "model.pt"))
            if code == 0 and not made and " stale result" not in said:
                return Outcome("silent wrong", said)
            return self._at_last(folder, said, "same bytes" if made else "refused")

        return attempt

    def _at(self, days: int) -> Callable[[Path], Outcome]:
        """Half of the files are of another time."""

        def attempt(scratch: Path) -> Outcome:
            folder = self._made(scratch)
            files = sorted(path for path in (folder / base.RUN).rglob("*") if path.is_file())
            for file in random.Random(days).sample(files, len(files) // 2):
                os.utime(file, (time.time() + days * 86400,) * 2)
            return self._at_last(folder, "")

        return attempt

    def _full(self, place: str, size: str) -> Callable[[Path], Outcome]:
        def attempt(scratch: Path) -> Outcome:
            folder = self._fresh(scratch)
            at = folder / place
            with mounted(at, "-t", "tmpfs", "-o", f"size={size}", "tmpfs"):
                code, text = self._snakemake(folder).run()
                subprocess.run(["mount", "-o", "remount,size=200m", str(at)], check=True)
                return self._judge(folder, code, text, "the disk of ", " is full")

        return attempt

    def _read_only(self, place: str) -> Callable[[Path], Outcome]:
        def attempt(scratch: Path) -> Outcome:
            folder = self._fresh(scratch)
            at = folder / place
            at.mkdir(exist_ok=True)
            with mounted(at, "--bind", str(at)):
                subprocess.run(["mount", "-o", "remount,ro,bind", str(at)], check=True)
                run = self._snakemake(folder)
                run.env["TMPDIR"] = str(scratch)
                out = scratch / "said.txt"
                with out.open("w") as file:
                    done = subprocess.run(run.command, cwd=folder, env=run.env, stdout=file, stderr=file, timeout=LIMIT)
                text = out.read_text()
            return self._judge(folder, done.returncode, text, "Read-only")

        return attempt


@contextmanager
def mounted(at: Path, *options: str) -> Iterator[None]:
    """A mount for a while."""
    at.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", *options, str(at)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(at)], check=True)
