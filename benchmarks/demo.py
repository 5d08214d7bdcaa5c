"""Where a run's wall time went: start-up, selection, training, figures. By hand, after a run:

    python benchmarks/demo.py [--folder .] [--run demo]

Wall seconds of each job are Snakemake's: from the time that its log says a job began to the time that it ended (whole
seconds). A stage's own seconds and its CPU seconds are those of its jobs' records, as far as they were written since
the log began. A stage that leaves no record has none of either, and nothing of it counts as work. The rest of a job is
start-up, imports, reading and writing. The newest log of Snakemake in the folder is read, so that a run that was cut
off and went on shows its last part alone.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import torch
from common import machine, table

GROUPS = {
    "selection": ("early_train", "saliency", "score", "augment", "features", "bin", "sample", "autoencoder", "pixels"),
    "training": ("train", "evaluate"),
}
TIME = re.compile(r"^\[(\w{3} \w{3} +\d+ \d\d:\d\d:\d\d \d{4})\]$")
ENDED = re.compile(r"^Finished jobid: (\d+) \(Rule: (\S+)\)")
BEGAN = re.compile(r"^    jobid: (\d+)")


@dataclass
class Jobs:
    """What Snakemake's log says: stage -> wall seconds of each job; when it began; seconds in all; jobs not ended."""

    wall: dict[str, list[float]]
    began: datetime
    elapsed: float
    unfinished: int


def read_log(file: Path) -> Jobs:
    """The jobs of a run from Snakemake's own log."""
    began: dict[str, datetime] = {}
    wall: dict[str, list[float]] = {}
    times, now = [], None
    for line in file.read_text(encoding="utf-8").splitlines():
        if found := TIME.match(line):
            now = datetime.strptime(found[1], "%a %b %d %H:%M:%S %Y")
            times.append(now)
        elif now and (found := BEGAN.match(line)):
            began.setdefault(found[1], now)
        elif now and (found := ENDED.match(line)):
            wall.setdefault(found[2], []).append((now - began.pop(found[1])).total_seconds())
    if not times:
        sys.exit(f"{file} says of no job when it began")
    return Jobs(wall, times[0], (times[-1] - times[0]).total_seconds(), len(began))


def recorded(results: Path, since: datetime) -> tuple[Counter[str], Counter[str]]:
    """Stage -> seconds of its own work, and CPU seconds, by the records written since then."""
    own: Counter[str] = Counter()
    cpu: Counter[str] = Counter()
    for file in results.glob("**/record.json"):
        if file.relative_to(results).parts[0] == "resume":  # the copy that a training's resume state keeps
            continue
        if file.stat().st_mtime >= since.timestamp():
            record = json.loads(file.read_text(encoding="utf-8"))
            own[record["stage"]] += record["seconds"]
            cpu[record["stage"]] += record["cpu_seconds"]
    return own, cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path(), help="where Snakemake ran")
    parser.add_argument("--run", default="demo", help="results/RUN")
    parser.add_argument("--cores", type=int, default=2, help="that Snakemake was given")
    args = parser.parse_args()
    results = args.folder / "results" / args.run
    files = sorted((args.folder / ".snakemake/log").glob("*.snakemake.log"))
    if not (results.is_dir() and files):
        sys.exit(f"{args.folder} holds no run {args.run}: results/{args.run} and .snakemake/log are read")
    jobs = read_log(files[-1])
    own, cpu = recorded(results, jobs.began)
    walls = {stage: sum(seconds) for stage, seconds in jobs.wall.items()}
    rows = [
        [stage, len(seconds), f"{walls[stage]:,.0f}", *_seconds(own.get(stage), walls[stage], cpu.get(stage))]
        for stage, seconds in jobs.wall.items()
    ]
    total, mine = sum(walls.values()), sum(own[stage] for stage in walls)
    counted = sum(map(len, jobs.wall.values()))
    rows.append(["**all**", counted, f"{total:,.0f}", *_seconds(mine, total, sum(cpu[stage] for stage in walls))])
    print(f"{machine(torch.device('cpu'))}; run {args.run}, {files[-1].name[:17]}, n = 1 run, {args.cores} cores")
    if jobs.unfinished:
        print(f"The run did not end: {jobs.unfinished} jobs had begun and were not finished.")
    print(f"\n{table(['stage', 'jobs', 'wall s', 'own s', 'rest s', 'CPU s'], rows)}\n")
    print(f"- wall time of the run {jobs.elapsed:,.0f} s; its jobs' together {total:,.0f} s")
    worked = 0.0
    for group, stages in GROUPS.items():
        seconds, wall = (sum(found.get(stage, 0) for stage in stages) for found in (own, walls))
        worked += seconds
        print(f"- {group}: {seconds:,.0f} s of work in {wall:,.0f} s of jobs")
    others = {stage: s for stage, s in walls.items() if not any(stage in stages for stages in GROUPS.values())}
    print(f"- everything else (packs, tables, figures, page): {sum(others.values()):,.0f} s of jobs")
    print(f"- selection and training at work: {worked / total:.0%} of the jobs' wall time,", end=" ")
    print(f"{worked / (jobs.elapsed * args.cores):.0%} of wall time × cores")
    if silent := sorted(stage for stage in walls if stage not in own):
        print(f"- stages without a record: {', '.join(silent)}")


def _seconds(own: float | None, wall: float, cpu: float | None) -> list[str]:
    """A stage's own seconds, what remains of its jobs' wall time, and CPU seconds."""
    if own is None or cpu is None:
        return ["none", f"{wall:,.0f}", ""]
    return [f"{own:,.0f}", f"{wall - own:,.0f}", f"{cpu:,.0f}"]


if __name__ == "__main__":
    main()
