"""The outcomes as docs/reliability.md."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from tests.faults.tries import BAD, GOOD

HEAD = """# What faults end in

Made by `make test-faults` from {tries}, in a random order with drawings at the end, on
{commit}: {bad}.
`make test` makes a few of each kind.

A try does one thing that nobody meant to a run, does what a person does then (run again; what the
message says; `dqv2 verify --remove`), and compares all results byte for byte with those of a run without the fault,
but for seconds and memory, which are other ones in each run, and what is drawn from them. Outcomes:

{outcomes}

## Faults

{faults}

Files are those of one job of each stage (all but `fetch`, `fetch_coreset` and `redrawn`), each output and each file of
a folder, while another job reads them: damaged
in place (a bit flipped, the last 512 bytes zeroed, cut in half, emptied, a byte added), a row of a table dropped,
doubled or swapped with the next, gone, the file of another seed in its place with and without that one's record, a
backup of a run with other keys put back (the file, or all files of the job with the record), the time of the file a day
ahead or 400 days behind. Trainings: what each keeps to go on from (`results/<run>/resume/`), its checkpoint, and a pack
whose pixels were overwritten and that is made anew. Processes: Snakemake, a job or the warm server gets a signal at a
random moment; and what the machine does to a run: a full or read-only disk, a limit of memory, another
locale, other cores, lost notes of Snakemake's.

{untried}## Stages

{stages}

## Where it ends

- Faults of files run the jobs that read them in the harness's process, as a run of Snakemake's does (the look before
  the first job, then each job whose outputs are missing); faults of processes go through Snakemake itself, on one
  training and all behind it.
- One fault at a time, on a small set and the CPU of one machine. Faults of a GPU, of the network while something is
  fetched, and of a cluster's scheduler are not among them, nor is memory that flips a bit between two comparisons.
- A person's own images are not compared with anything after they were packed, nor are sources (`src/`).
- Checksums are against damage, not against forgery: who writes a file and its record anew is believed.
- A file that nothing reads again (a figure, the page) is looked at by `dqv2 verify` alone.

To repeat it: `make test-faults`. It goes on where it was stopped, keeps outcomes below `build/faults/`, by a checksum
of the sources, and takes from half an hour to two hours on two cores. A part of it:
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
        tries=f"{len(entries):,} of its {faults.total():,} tries" if left else f"all of its {faults.total():,} tries",
        untried=f"Not tried yet: {untried}.\n\n" if left else "",
        commit=commit,
        bad=said,
        outcomes=outcomes,
        faults=by_fault,
        stages=by_stage,
    )
    file.write_text(text, encoding="utf-8", newline="\n")


def _table(head: str, other: str, entries: list[dict], key: str, counted: str) -> str:
    kinds = [*GOOD, *(kind for kind in BAD)]
    lines = [f"| {head} | {other} | tries | {' | '.join(kinds)} |", f"|---|---{'|---:' * (1 + len(kinds))}|"]
    for name in sorted({entry[key] for entry in entries}, key=str.lower):
        some = [entry for entry in entries if entry[key] == name]
        found = Counter(entry["outcome"] for entry in some)
        cells = [str(found[kind] or "") for kind in kinds]
        lines.append(f"| {name} | {len({entry[counted] for entry in some})} | {len(some)} | {' | '.join(cells)} |")
    found = Counter(entry["outcome"] for entry in entries)
    lines.append(f"| **all** | | {len(entries)} | {' | '.join(str(found[kind]) for kind in kinds)} |")
    return "\n".join(lines)
