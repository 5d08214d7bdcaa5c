"""A finished run as a Workflow Run RO-Crate: workflow, configuration, results and records in one folder, described by
the vocabulary of https://w3id.org/ro/wfrun/workflow/0.5 for archives and search engines."""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from dqv2.runtime import record
from dqv2.runtime.files import atomic_dir
from dqv2.runtime.sentences import counted
from dqv2.stages import stage

PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": "Process Run Crate",
    "https://w3id.org/ro/wfrun/workflow/0.5": "Workflow Run Crate",
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": "Workflow RO-Crate",
}
BIOSCHEMAS = "https://bioschemas.org/profiles/"
# Of a checkout, beside its Snakefile
WORKFLOW = ("LICENSE", "workflow/rules", "workflow/scripts", "workflow/report", "envs")
KINDS = {".csv": "text/csv", ".png": "image/png", ".pdf": "application/pdf", ".html": "text/html"}
KINDS |= {".json": "application/json", ".md": "text/markdown", ".tex": "application/x-tex", ".rst": "text/x-rst"}
KINDS |= {".jsonl": "application/jsonl"}


def results_of(records: Sequence[dict[str, Any]]) -> list[str]:
    """The files that a run made from all its datasets together: figures, tables, claims, the page."""
    return sorted(file for kept in records if of_all_sets(kept) for file in kept["outputs"] if Path(file).is_file())


def of_all_sets(kept: dict[str, Any]) -> bool:
    """Whether a job, given by its record, made something from all datasets together."""
    return not next(iter(stage(kept["stage"]).writes.values())).startswith(("{dataset}", "{root}", "weights/"))


def write_crate(
    folder: str | Path, *, run: str, label: str, project: Path, configuration: Path, records: Sequence[dict[str, Any]]
) -> Path:
    """Write the crate of a finished run atomically; returns the folder.

    Args:
        folder: the folder to write.
        run: the run's name.
        label: a short description: "demo", "the paper".
        project: the checkout, with its Snakefile.
        configuration: the run's configuration, all files merged.
        records: the records of all its jobs.

    Raises:
        ValueError: no figure, table or list of claims is finished (the message names exported coresets), or a run has
            rewritten one since its record was read.
    """
    from rocrate.model.contextentity import ContextEntity
    from rocrate.rocrate import ROCrate

    results = results_of(records)
    if not results:
        raise ValueError(_why_nothing(run, records))
    made, (began, ended) = record.summary(records), _times(records)
    crate = ROCrate(version="1.1")

    def about(address: str, kind: str, **properties: Any) -> Any:
        return crate.add(ContextEntity(crate, address, {"@type": kind, **properties}))

    def file(source: Path, place: str, name: str) -> Any:
        said = {"name": name, "encodingFormat": KINDS.get(source.suffix, "text/plain")}
        return crate.add_file(source, place, properties=said, record_size=True)

    crate.name = f"DQ_V2, {label}"
    crate.description = f"Every figure and table of the run {run}, with the workflow that made them and its records."
    crate.license = about("https://spdx.org/licenses/MIT", "CreativeWork", name="MIT License")
    profiles = [about(url, "CreativeWork", name=name, version=url[-3:]) for url, name in PROFILES.items()]
    crate.root_dataset["conformsTo"] = profiles
    contributors = about("#contributors", "Organization", name="The DQ_V2 pipeline contributors")
    crate.creator = crate.publisher = crate.root_dataset["author"] = contributors
    workflow = crate.add_workflow(project / "Snakefile", "Snakefile", main=True, lang="snakemake")
    workflow["name"], workflow["license"], workflow["creator"] = "DQ_V2", crate.license, contributors
    workflow["encodingFormat"] = "text/plain"
    workflow["conformsTo"] = {"@id": BIOSCHEMAS + "ComputationalWorkflow/1.0-RELEASE"}
    workflow["version"] = ", ".join(made["commit"] or made["dqv2"])
    software = {name: ", ".join(made[name]) for name in ("python", *record.LIBRARIES[1:]) if made[name]}
    workflow["softwareRequirements"] = [
        about(_home(name), "SoftwareApplication", name=name, softwareVersion=found, url=_home(name))
        for name, found in software.items()
    ]
    for part in WORKFLOW:
        if (project / part).is_dir():
            crate.add_directory(project / part, f"{part}/", properties={"name": part})
        else:
            file(project / part, part, part)
    file(project / "README.md", "README.md", "README")["about"] = crate.root_dataset
    asked = file(configuration, "config.json", f"the configuration of the run {run}, all files merged")
    asked["exampleOfWork"] = workflow["input"] = about(
        "#configuration",
        "FormalParameter",
        name="configuration",
        additionalType="File",
        valueRequired=True,
        conformsTo={"@id": BIOSCHEMAS + "FormalParameter/1.0-RELEASE"},
    )
    outputs = [file(Path(result), result, result) for result in results]
    lines = record.as_lines(records)
    told = "each job's record, a line each: options, checksums, seconds, memory, device, versions"
    said = {"name": told, "encodingFormat": "application/jsonl", "contentSize": str(len(lines.encode()))}
    outputs.append(crate.add_file(io.StringIO(lines), "records.jsonl", properties=said))
    where = f"on {', '.join(made['device'])} ({', '.join(made['cpu'])})"
    action = about("#run", "CreateAction", name=f"the run {run}", startTime=began, endTime=ended)
    action["description"] = f"{counted(len(records), 'job')}, seeds {', '.join(made['seed'])}, {where}"
    action["actionStatus"] = "http://schema.org/CompletedActionStatus"
    action["agent"], action["instrument"] = contributors, workflow
    action["object"], action["result"] = asked, outputs
    crate.root_dataset["mentions"] = action
    with atomic_dir(folder, mark="ro-crate-metadata.json") as staged:
        crate.write(staged)
        for kept in records:
            for result in results_of([kept]):
                record.as_recorded((staged / result).read_bytes(), result, kept)
    return Path(folder)


def _why_nothing(run: str, records: Sequence[dict[str, Any]]) -> str:
    """Why there is nothing for a crate, and what to archive instead where the run exported coresets."""
    exported = sorted(file for kept in records if kept["stage"] == "export" for file in kept["outputs"])
    if not exported:
        return f"nothing of the run {run} is finished: no figure, table or list of claims"
    more = f" (and {len(exported) - 1} more)" if exported[1:] else ""
    return (
        f"a crate describes figures, tables and claims, and the run {run} made coresets alone. Archive the exported "
        f"folder itself: {exported[0]}{more}. Its manifest.json says how it was made; with export.images set to copies "
        "it has the images themselves, not links"
    )


def _times(records: Sequence[dict[str, Any]]) -> tuple[str, str]:
    """When the first job began and the last one ended, ISO 8601; of the records that have these times."""
    ends = [(datetime.fromisoformat(kept["ended"]), kept["wall_seconds"]) for kept in records if kept.get("ended")]
    ends = ends or [(datetime.now(UTC), 0.0)]
    began = min(end - timedelta(seconds=seconds) for end, seconds in ends)
    return began.isoformat(timespec="seconds"), max(end for end, _ in ends).isoformat(timespec="seconds")


def _home(name: str) -> str:
    return "https://www.python.org" if name == "python" else f"https://pypi.org/project/{name}/"
