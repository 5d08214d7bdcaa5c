"""The outcomes as docs/reliability.md."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from tests.faults.tries import BAD, GOOD

HEAD = """# How faults end

What happens when a file is damaged, a process is killed or a disk is full. A try injects one fault into a run, then
does what a user would do (run again, follow the message, `dqv2 verify --remove`), and compares all results byte for
byte with those of a run without the fault. Only seconds, memory and what is plotted from them may differ.

**Bad outcomes of {tries}: {bad}.**

Made by `make test-faults` on {commit}. `make test` makes a few of each kind.

The outcomes, the bad ones last:

{outcomes}

## By fault

Only the kinds of outcomes that occurred have a column.

{faults}

- Files: each output, and each file of a folder, of one job per stage (all but `fetch`, `fetch_coreset` and `redrawn`),
  damaged before another job reads it: a bit flipped, the last 512 bytes zeroed, cut in half, emptied, a byte added; a
  row of a table dropped, doubled or swapped with the next; removed; replaced by another seed's file, with or without
  its record; replaced from a backup of a run with other keys (the file, or all files of the job with the record); its
  modification time set a day ahead or 400 days back.
- Trainings: the state to resume from (`results/<run>/resume/`), the checkpoint, and a pack whose pixels were
  overwritten and which is made again.
- Processes: Snakemake, a job or the warm server gets a signal at a random moment.
- The machine: a full or read-only disk, a memory limit, another locale, another number of cores, Snakemake's
  metadata lost.

{untried}## By stage

{stages}

## What is not covered

- Faults of a GPU, of the network during a download and of a cluster's scheduler, several faults at a time, and memory
  that flips a bit between two comparisons. All tries are on a small dataset and one machine's CPU.
- Snakemake itself, for faults of files: the harness runs the jobs that read them in its own process, as Snakemake would
  (the checks before the first job, then each job whose outputs are missing). Faults of processes go through Snakemake,
  on one training and all that it depends on.
- Users' own images are not compared with anything once they are packed, nor are sources (`src/`).
- Checksums detect damage, not forgery: a file rewritten together with its record is believed.
- A file that nothing reads again (a figure, the page) is checked by `dqv2 verify` alone.

To repeat it: `make test-faults`. It takes half an hour to two hours on two cores, resumes where it was stopped, and
keeps outcomes in `build/faults/` by a checksum of the sources. A part of it:
`python -m tests.faults --only "flipped | bin"`.
"""


def write(file: Path, entries: Iterable[dict], every: Iterable[str]) -> None:
    """Write the report. every: the fault of each try that there is."""
    entries = list(entries)
    faults = Counter(every)
    left = faults - Counter(entry["fault"] for entry in entries)
    untried = ", ".join(f"{fault} ({left[fault]})" for fault in sorted(left, key=str.lower))
    commits = Counter(entry["commit"] for entry in entries)
    commit = " and ".join(each[:12] + f" ({count:,})" * (len(commits) > 1) for each, count in commits.items())
    bad = Counter(entry["outcome"] for entry in entries if entry["outcome"] in BAD)
    said = ", ".join(f"{bad[kind]} {kind}" for kind in BAD)
    outcomes = "\n".join(f"- **{kind}**: {what}" for kind, what in (GOOD | BAD).items())
    by_fault = _table("fault", "stages", entries, "fault", "stage")
    by_stage = _table("stage", "faults", entries, "stage", "fault")
    text = HEAD.format(
        tries=f"{len(entries):,} of {faults.total():,} tries" if left else f"all {faults.total():,} tries",
        untried=f"Not tried yet: {untried}.\n\n" if left else "",
        commit=commit,
        bad=said,
        outcomes=outcomes,
        faults=by_fault,
        stages=by_stage,
    )
    file.write_text(text, encoding="utf-8", newline="\n")


def _table(head: str, other: str, entries: list[dict], key: str, counted: str) -> str:
    ended = {entry["outcome"] for entry in entries}
    kinds = [kind for kind in (*GOOD, *BAD) if kind in ended]
    lines = [f"| {head} | {other} | tries | {' | '.join(kinds)} |", f"|---|---{'|---:' * (1 + len(kinds))}|"]
    for name in sorted({entry[key] for entry in entries}, key=str.lower):
        some = [entry for entry in entries if entry[key] == name]
        found = Counter(entry["outcome"] for entry in some)
        cells = [str(found[kind] or "") for kind in kinds]
        lines.append(f"| {name} | {len({entry[counted] for entry in some})} | {len(some)} | {' | '.join(cells)} |")
    found = Counter(entry["outcome"] for entry in entries)
    lines.append(f"| **all** | | {len(entries)} | {' | '.join(str(found[kind]) for kind in kinds)} |")
    return "\n".join(lines)
