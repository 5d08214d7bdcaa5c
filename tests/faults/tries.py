"""A try, its outcome, and the list of outcomes that lets the harness go on where it was stopped."""

import json
import random
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

# Outcome -> what it means; the first are good
GOOD = {
    "same bytes": "the results are the same bytes, and nothing was to be said",
    "remade": "what was damaged was made anew, to the same bytes",
    "refused": "a sentence named the file and what to do; after that the same bytes",
    "named by verify": "nothing that was run reads it; `dqv2 verify` names it, after its --remove the same bytes",
}
BAD = {
    "silent wrong": "exit code 0 and other bytes",
    "hang": "no end within two minutes",
    "traceback": "a traceback is what a person sees",
    "stuck": "refused again after having done what was said",
    "unclear": "refused without saying where or what to do",
    "unseen": "other bytes on the disk that `dqv2 verify` accepts as valid",
}

SLOW = ("diagram", "cost", "figure", "page", "pictures", "pixel_pictures", "claims", "numbers")


class Outcome(NamedTuple):
    """How a try ended, of GOOD or BAD, and what was said."""

    kind: str
    said: str


class Try(NamedTuple):
    """A fault of a stage at a place (a file, a moment), and what tries it in an empty folder."""

    fault: str
    stage: str
    place: str
    attempt: Callable[[Path], Outcome]

    @property
    def name(self) -> str:
        """The try in words."""
        return f"{self.fault} | {self.stage} | {self.place}"


class Kept:
    """The outcomes so far, a line each."""

    def __init__(self, file: Path, commit: str = ""):
        self.file, self.commit = file, commit
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        self.found: dict[str, dict] = {}
        for line in lines:
            entry = json.loads(line)
            self.found[f"{entry['fault']} | {entry['stage']} | {entry['place']}"] = entry

    def add(self, each: Try, outcome: Outcome, seconds: float) -> None:
        """Keep an outcome."""
        entry = {"fault": each.fault, "stage": each.stage, "place": each.place}
        entry |= {
            "outcome": outcome.kind,
            "said": outcome.said[-4000:],
            "seconds": round(seconds, 2),
            "commit": self.commit,
        }
        self.found[each.name] = entry
        with self.file.open("a", encoding="utf-8") as out:
            out.write(json.dumps(entry) + "\n")


def attempt_all(tries: Iterable[Try], kept: Kept, scratch: Path, *, until: float | None = None) -> None:
    """Make the tries that have no outcome yet, in an order that mixes them, but with what takes long at the end."""
    waiting = [each for each in tries if each.name not in kept.found]
    random.Random(0).shuffle(waiting)
    waiting.sort(key=lambda each: each.stage in SLOW)
    for i, each in enumerate(waiting, 1):
        if until and time.time() > until:
            return
        began = time.time()
        scratch.mkdir(parents=True, exist_ok=True)
        outcome = each.attempt(scratch)
        kept.add(each, outcome, time.time() - began)
        mark = "" if outcome.kind in GOOD else "   <<<<<<"
        print(f"{i}/{len(waiting)} {each.name}: {outcome.kind}{mark} ({time.time() - began:.1f} s)", flush=True)
