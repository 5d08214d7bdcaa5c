"""Stage versions: what makes Snakemake rerun a stage when its meaning changes, and only then.

Snakemake reruns nothing when an imported library changes and everything when a script is touched. So each stage
has a version among its params (`workflow/stages.yaml`), beside a hash of the sources that it uses: its script and,
transitively, the modules of this library that the script imports. A test compares the hash. When it differs:

    python -m dqv2.stages raise train    # results change: raise the version, train and what follows reruns
    python -m dqv2.stages accept         # results stay as they are (a refactoring): record the new hashes
"""

from __future__ import annotations

import ast
import hashlib
import io
import sys
import tokenize
from pathlib import Path

import yaml

STAGES = {
    "fetch": "fetch.py",
    "pack": "pack.py",
    "early_train": "early_train.py",
    "saliency": "saliency.py",
    "score": "score.py",
    "augment": "augment.py",
    "features": "features.py",
    "bin": "bin.py",
    "sample": "sample.py",
    "autoencoder": "autoencoder.py",
    "weights": "weights.py",
    "pixels": "pixels.py",
    "train": "train.py",
    "evaluate": "evaluate.py",
    "export": "export.py",
    "fetch_coreset": "fetch_coreset.py",
    "published": "published.py",
    "overlap": "overlap.py",
    "collect": "collect.py",
    "figure": "figure.py",
    "table": "table.py",
    "pictures": "pictures.py",
    "pixel_pictures": "pixel_pictures.py",
    "storage": "storage.py",
    "diagram": "diagram.py",
    "cost": "cost.py",
    "mask_iou": "mask_iou.py",
    "claims": "claims.py",
    "numbers": "numbers.py",
    "page": "page.py",
}
LIBRARY = Path(__file__).parent


def read_versions(path: Path) -> dict[str, int]:
    """Stage -> version, from workflow/stages.yaml."""
    return {stage: entry["version"] for stage, entry in yaml.safe_load(path.read_text()).items()}


def source_hash(script: Path) -> str:
    """Hash of what a script does: its code and that of the dqv2 modules it imports, without comments and docstrings."""
    digest = hashlib.sha256()
    for path in sorted(_closure(script), key=lambda path: (path.parent.name, path.name)):
        digest.update(path.name.encode())
        digest.update(_code(path).encode())
    return digest.hexdigest()[:16]


def _code(path: Path) -> str:
    """The lines of a module without comments, docstrings and empty lines; the same on every version of Python."""
    text = path.read_text()
    lines = text.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    for node in ast.walk(ast.parse(text)):
        body = getattr(node, "body", None)
        first = body[0] if isinstance(body, list) and body else None
        value = first.value if isinstance(first, ast.Expr) else None
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            lines[first.lineno - 1 : first.end_lineno] = [""] * (first.end_lineno - first.lineno + 1)
    return "\n".join(line.rstrip() for line in lines if line.strip())


def _closure(script: Path) -> set[Path]:
    seen: set[Path] = set()
    todo = [script]
    while todo:
        path = todo.pop()
        if path in seen:
            continue
        seen.add(path)
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            todo += [module for name in names if (module := _module(name))]
    return seen


def _module(name: str) -> Path | None:
    parts = name.split(".")
    if parts[0] != "dqv2" or len(parts) < 2:
        return None
    path = LIBRARY.joinpath(*parts[1:])
    return next((p for p in (path.with_suffix(".py"), path / "__init__.py") if p.is_file()), None)


def changed(workflow: Path) -> list[str]:
    """The stages whose sources differ from the recorded hash."""
    recorded = yaml.safe_load((workflow / "stages.yaml").read_text())
    return [
        stage
        for stage, script in STAGES.items()
        if recorded.get(stage, {}).get("sources") != source_hash(workflow / "scripts" / script)
    ]


def main(arguments: list[str], workflow: Path = Path("workflow")) -> int:
    """`raise STAGE...` or `accept`; prints what it did."""
    path = workflow / "stages.yaml"
    recorded = yaml.safe_load(path.read_text()) if path.exists() else {}
    raised = arguments[1:] if arguments[:1] == ["raise"] else []
    unknown = [stage for stage in raised if stage not in STAGES]
    if arguments[:1] not in (["raise"], ["accept"]) or unknown:
        print(f"{__doc__}\nstages: {', '.join(STAGES)}", file=sys.stderr)
        return 2
    entries = {}
    for stage, script in STAGES.items():
        if raised and stage not in raised and stage in recorded:
            entries[stage] = recorded[stage]
            continue
        version = recorded.get(stage, {}).get("version", 1) + (stage in raised)
        entries[stage] = {"version": version, "sources": source_hash(workflow / "scripts" / script)}
        if entries[stage] != recorded.get(stage):
            print(f"{stage}: version {version}, sources {entries[stage]['sources']}")
    head = "# Raise a version when a stage's results change: `python -m dqv2.stages raise STAGE` (see there).\n"
    path.write_text(head + yaml.safe_dump(entries, sort_keys=False))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
