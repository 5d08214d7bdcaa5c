"""Where a run's wall time went: start-up, selection, training, figures. By hand, after a run:

    python benchmarks/demo.py [--folder .] [--run demo]

Wall seconds of each job are Snakemake's: from the time that its log says a job began to the time that it ended (whole
seconds), or from the job's benchmark file where it has one. A stage's own seconds are those of its cost.json;
evaluation writes none, so that its own are those between the first and the last line of its log (whole seconds);
stages without either are said to have none, and nothing of them counts as work. The rest of a job is Python's start,
imports, reading and writing. The newest log of Snakemake in the folder is read, so that a run that was cut off and went
on shows its last part alone.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import sys
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import torch
from common import machine, table

# Folder of a stage's outputs, below results/RUN/DATASET/ -> its name
FOLDERS = {
    "early": "early_train",
    "saliency": "saliency",
    "scores": "score",
    "tobias": "augment",
    "features": "features",
    "bins": "bin",
    "coreset": "sample",
    "autoencoder": "autoencoder",
    "pixels": "pixels",
    "train": "train",
    "evaluate": "evaluate",
}
GROUPS = {
    "selection": ("early_train", "saliency", "score", "augment", "features", "bin", "sample", "autoencoder", "pixels"),
    "training": ("train", "evaluate"),
}
TIME = re.compile(r"^\[(\w{3} \w{3} +\d+ \d\d:\d\d:\d\d \d{4})\]$")
ENDED = re.compile(r"^Finished jobid: (\d+) \(Rule: (\S+)\)")
BEGAN = re.compile(r"^(?:Job (\d+): |    jobid: (\d+))")
LINE = re.compile(r"^(\d\d):(\d\d):(\d\d) ")


@dataclass
class Jobs:
    """What Snakemake's log says: stage -> wall seconds of each job; all seconds of the run; jobs that did not end."""

    wall: dict[str, list[float]]
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
            began.setdefault(found[1] or found[2], now)
        elif now and (found := ENDED.match(line)):
            stage = rule_stage(found[2])
            wall.setdefault(stage, []).append((now - began.pop(found[1])).total_seconds())
    if not times:
        sys.exit(f"{file} says of no job when it began")
    return Jobs(wall, (times[-1] - times[0]).total_seconds(), len(began))


def rule_stage(name: str) -> str:
    """The stage of a rule: train_0_1_2_batch_8d4e10 -> train."""
    return re.sub(r"(_\d+)+(_batch_[0-9a-f]+)?$", "", name)


def stage_of(path: Path, root: Path) -> str | None:
    """The stage whose output's folder a file lies in; DATASET/FOLDER/..., or DATASET/batches/RULE, below `root`."""
    parts = path.relative_to(root).parts
    if parts[1:2] == ("batches",):
        return rule_stage(path.stem)
    return FOLDERS.get(parts[1]) if len(parts) > 2 else None


def own_seconds(results: Path, logs: Path) -> tuple[Counter[str], set[str]]:
    """Stage -> seconds of its own work; and the stages whose seconds are only known from their logs."""
    found: Counter[str] = Counter()
    costs = {file: json.loads(file.read_text(encoding="utf-8")) for file in results.glob("*/**/cost.json")}
    noted = any("benchmark" in cost for cost in costs.values())  # by a job that ended
    for file, cost in costs.items():
        if file.relative_to(results).parts[0] in ("resume", "experiments") or ("benchmark" in cost) != noted:
            continue
        if stage := stage_of(file, results):
            found[stage] += cost["seconds"]
    spans: Counter[str] = Counter()
    for file in logs.glob("*/**/*.log"):
        stage = stage_of(file, logs)
        if stage and not found[stage]:
            clocks = [3600 * int(m[1]) + 60 * int(m[2]) + int(m[3]) for m in map(LINE.match, open_lines(file)) if m]
            spans[stage] += (clocks[-1] - clocks[0]) % 86400 if clocks else 0
    return found + spans, set(+spans)


def open_lines(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8").splitlines()


def measured(results: Path) -> dict[str, tuple[int, float, float]]:
    """Stage -> jobs, wall seconds and CPU seconds by the benchmark files that it has."""
    found: dict[str, tuple[int, float, float]] = {}
    for file in (results / "benchmarks").glob("**/*.tsv"):
        stage = "pack" if file.name == "pack.tsv" else stage_of(file, results / "benchmarks")
        with file.open(encoding="utf-8", newline="") as lines:
            row = list(csv.DictReader(lines, delimiter="\t"))[-1]
        jobs, wall, cpu = found.get(stage, (0, 0.0, 0.0))
        found[stage] = (jobs + 1, wall + number(row["s"]), cpu + number(row["cpu_time"]))
    return found


def number(text: str) -> float:
    """A field of a benchmark file; 0 where a job was too short to be measured."""
    return float(text) if re.fullmatch(r"[\d.]+", text or "") else 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path(), help="where Snakemake ran")
    parser.add_argument("--run", default="demo", help="results/RUN")
    parser.add_argument("--cores", type=int, default=2, help="that Snakemake was given")
    args = parser.parse_args()
    results, logs = args.folder / "results" / args.run, args.folder / "logs" / args.run
    files = sorted((args.folder / ".snakemake/log").glob("*.snakemake.log"))
    if not (results.is_dir() and files):
        sys.exit(f"{args.folder} holds no run {args.run}: results/{args.run} and .snakemake/log are read")
    jobs, (own, spans), benchmarks = read_log(files[-1]), own_seconds(results, logs), measured(results)
    rows, walls = [], {}
    for stage, seconds in jobs.wall.items():
        count, wall, cpu = benchmarks.get(stage, (0, 0.0, 0.0))
        walls[stage] = wall if count == len(seconds) else sum(seconds)
        mine = f"{own[stage]:,.0f}" + (" (log)" if stage in spans else "") if stage in own else "none"
        rest = f"{walls[stage] - own[stage]:,.0f}" if stage in own else f"{walls[stage]:,.0f}"
        rows.append([stage, len(seconds), f"{walls[stage]:,.0f}", mine, rest, f"{cpu:,.0f}" if count else ""])
    total = sum(walls.values())
    worked = {group: sum(own[stage] for stage in stages) for group, stages in GROUPS.items()}
    parts = [*worked.values(), total - sum(own[s] for s in walls)]
    rows.append(
        [
            "**all**",
            sum(map(len, jobs.wall.values())),
            *(f"{s:,.0f}" for s in (total, sum(worked.values()), parts[-1])),
            "",
        ]
    )
    print(f"{machine(torch.device('cpu'))}; run {args.run}, {files[-1].name[:17]}, n = 1 run, {args.cores} cores")
    if jobs.unfinished:
        print(f"The run did not end: {jobs.unfinished} jobs had begun and were not finished.")
    print(f"\n{table(['stage', 'jobs', 'wall s', 'own s', 'rest s', 'CPU s'], rows)}\n")
    print(f"- wall time of the run {jobs.elapsed:,.0f} s; its jobs' together {total:,.0f} s")
    for group, seconds in worked.items():
        wall = sum(walls.get(stage, 0) for stage in GROUPS[group])
        print(f"- {group}: {seconds:,.0f} s of work in {wall:,.0f} s of jobs")
    others = {stage: s for stage, s in walls.items() if not any(stage in stages for stages in GROUPS.values())}
    print(f"- everything else (packs, tables, figures, page): {sum(others.values()):,.0f} s of jobs")
    print(f"- selection and training at work: {sum(worked.values()) / total:.0%} of the jobs' wall time,", end=" ")
    print(f"{sum(worked.values()) / (jobs.elapsed * args.cores):.0%} of wall time × cores")
    if silent := sorted(stage for stage in walls if stage not in own):
        print(f"- stages that record no seconds of their own: {', '.join(silent)}")


if __name__ == "__main__":
    main()
