"""Make every try that has no outcome yet, and write docs/reliability.md."""

import argparse
import os
import tempfile
import time
from pathlib import Path

import torch

from dqv2.runtime import warmed  # noqa: F401  (what jobs import, once)
from dqv2.runtime.record import commit
from tests.faults import base, onfiles, processes, report, tries
from tests.faults import kept as states


def main() -> int:
    """The harness."""
    parser = argparse.ArgumentParser(description="fault harness")
    parser.add_argument("--only", default="", help="tries whose name has one of these parts, with commas between them")
    parser.add_argument("--redo", action="store_true", help="also those that have an outcome")
    parser.add_argument("--minutes", type=float, help="stop after so many; the report is of what was tried by then")
    parser.add_argument(
        "--kept", default=base.ROOT / "build/faults", help="where it keeps the base run and the outcomes"
    )
    args = parser.parse_args()
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    kept = Path(args.kept) / base.digest_of_sources()
    kept.mkdir(parents=True, exist_ok=True)
    plan = base.plan_of()
    here = commit()
    os.environ["DQV2_COMMIT"] = base.commit_of(kept / "base") or here or ""  # the page carries it
    commit.cache_clear()
    base.make_base(kept / "base", plan)
    base.make_base(kept / "older", base.plan_of(base.OLDER))
    outcomes = tries.Kept(kept / "outcomes.jsonl", here or "no commit")
    every = [each for kind in (onfiles, states, processes) for each in kind.Tries(kept, plan).all()]
    chosen = [each for each in every if any(part in each.name for part in args.only.split(","))]
    print(f"{len(chosen)} tries", flush=True)
    if args.redo:
        for each in chosen:
            outcomes.found.pop(each.name, None)
    with (
        tempfile.TemporaryDirectory(prefix="scratch-", dir=kept, ignore_cleanup_errors=True) as scratch,
        base.remembered(kept / "base"),
    ):
        until = time.time() + 60 * args.minutes if args.minutes is not None else None
        tries.attempt_all(chosen, outcomes, Path(scratch), until=until)
    base.require_sound(kept / "base", plan)
    if not args.only:
        report.write(base.ROOT / "docs/reliability.md", outcomes.found.values(), [each.fault for each in every])
    return int(any(entry["outcome"] in tries.BAD for entry in outcomes.found.values()))


if __name__ == "__main__":
    raise SystemExit(main())
