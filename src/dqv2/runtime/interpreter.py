"""Workarounds for how Snakemake handles the paths of the clone and of the jobs' interpreter. Imports nothing heavy."""

import os
import shlex
from pathlib import Path


def require_no_braces(clone: str | Path) -> None:
    """Raise ValueError where the clone's path has braces, which Snakemake takes for a wildcard."""
    if set("{}") & set(str(clone)):
        raise ValueError(f"Snakemake takes what is in braces in {clone} for a wildcard: move the clone, or rename it.")


def unquoted(executable: str, folder: str | Path = ".") -> str:
    """A path of the interpreter, possibly relative to the working folder, that needs no quoting in a shell.

    Snakemake 9.27 writes the interpreter of a `script:` into a command line without quotes (its issue 2645), so every
    job fails if the path has a space, a quote or a $. If these are in the clone's own path, the path relative to the
    working folder, such as .venv/bin/python, has none of them.

    Raises ValueError where there is no such path.
    """
    if shlex.quote(executable) == executable:
        return executable
    relative = os.path.relpath(executable, folder)
    relative = relative if "/" in relative else f"./{relative}"  # else a shell looks along PATH
    if shlex.quote(relative) == relative:
        return relative
    raise ValueError(
        f"Snakemake cannot start jobs with the interpreter {executable}: its path has a space or another character "
        "that a shell reads in its own way. Make the environment in a folder without one, or in the clone (make setup)."
    )
