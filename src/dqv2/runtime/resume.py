"""The progress of a training, kept outside Snakemake's outputs, which it deletes when a job fails or reruns.

Each training has a folder: `checkpoint.pt` while it runs, then hard links to its results and `done.json`. Both contain
a fingerprint of everything that the training depends on; with another fingerprint they are ignored. Both have
checksums; damaged ones are ignored with a warning, and the training starts over.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import xxhash

from dqv2.runtime.files import atomic_path, load_json, remove, sha256, write_json
from dqv2.runtime.logging import logger

DIGEST = 16  # bytes of the checksum at the beginning of a checkpoint


class Resume:
    """The resume state of one training, in a folder that is created when there is something to save.

    depends_on: everything that the result depends on, as JSON-serialisable builtins.
    """

    def __init__(self, folder: Path, depends_on: dict[str, Any]):
        self.folder, self.depends_on, self._checkpoint = folder, depends_on, folder / "checkpoint.pt"
        text = json.dumps(depends_on, sort_keys=True, allow_nan=False)
        self.fingerprint = hashlib.sha256(text.encode()).hexdigest()

    def part(self, name: str, *, leave_out: str) -> Resume:
        """The resume state of a part of the training, which does not depend on the option `leave_out`."""
        options = {key: value for key, value in self.depends_on["options"].items() if key != leave_out}
        return Resume(self.folder / name, self.depends_on | {"options": options, "part": name})

    def restore(self, *outputs: Path) -> bool:
        """Restore a finished result to `outputs`; returns False where there is none with this fingerprint."""
        done = self.folder / "done.json"
        kept = [self.folder / output.name for output in outputs]
        _clear_the_way(self.folder, done, *kept, self._checkpoint)
        if not done.is_file():
            return False
        try:
            known = load_json(done)
            if known["fingerprint"] != self.fingerprint:
                return False
            damaged = [path for path in kept if not path.is_file() or sha256(path) != known["sha256"][path.name]]
            if not damaged and not _of_these(outputs, kept):
                return False
        except (ValueError, KeyError, TypeError):
            damaged = [done]
        if damaged:
            logger.warning("%s has changed since it was saved: what was finished is trained again", damaged[0])
            return False
        for path, output in zip(kept, outputs, strict=True):
            _link(path, output)
        return True

    def finish(self, *outputs: Path) -> None:
        """Save a finished result, and delete the checkpoint."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "done.json").unlink(missing_ok=True)
        for output in outputs:
            _link(output, self.folder / output.name)
        sums = {file.name: sha256(file) for file in outputs}
        write_json(self.folder / "done.json", {"fingerprint": self.fingerprint, "sha256": sums})
        self._checkpoint.unlink(missing_ok=True)

    def save(self, state: dict[str, Any]) -> None:
        """Save a checkpoint, replacing the previous one."""
        self.folder.mkdir(parents=True, exist_ok=True)
        buffer = io.BytesIO()
        torch.save({"fingerprint": self.fingerprint, "state": state}, buffer)
        with atomic_path(self._checkpoint) as temporary, temporary.open("wb") as file:
            file.write(xxhash.xxh3_128_digest(buffer.getbuffer()))
            file.write(buffer.getbuffer())

    def load(self) -> dict[str, Any] | None:
        """The last checkpoint, or None where there is none with this fingerprint, or only a damaged one."""
        if not self._checkpoint.is_file():
            return None
        stored = memoryview(self._checkpoint.read_bytes())
        if stored[:DIGEST] != xxhash.xxh3_128_digest(stored[DIGEST:]):
            logger.warning("%s has changed since it was saved: the training starts over", self._checkpoint)
            return None
        kept = torch.load(io.BytesIO(stored[DIGEST:]), map_location="cpu", weights_only=True)
        return kept["state"] if kept["fingerprint"] == self.fingerprint else None


def _clear_the_way(folder: Path, *files: Path) -> None:
    """Remove what blocks the paths of this state: a file where a folder belongs, or a folder where a file belongs."""
    wrong = [each for each in (folder, *folder.parents) if each.exists() and not each.is_dir()]
    for path in [*wrong, *(file for file in files if file.is_dir())]:
        logger.warning("%s is in the way of what trainings keep: it is removed", path)
        remove(path)


def _of_these(outputs: Sequence[Path], kept: Sequence[Path]) -> bool:
    """Whether a saved record is of these very files, and not of a copied run's; True without a record."""
    records = [path for path in kept if path.name == "record.json"]
    made = load_json(records[0])["outputs"] if records else {}
    return not records or {str(output) for output in outputs if output.name != "record.json"} == set(made)


def _link(source: Path, target: Path) -> None:
    """Make a hard link, which costs no space; on a file system without hard links a copy."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists() and target.samefile(source):
        return
    with atomic_path(target) as temporary:
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)
