"""What Snakemake makes of the paths of the clone and of the interpreter that jobs are started with. Imports nothing
heavy."""

import os
import shlex
from pathlib import Path


def require_no_braces(clone: str | Path) -> None:
    """Raise ValueError where Snakemake would take a part of the clone's path for a wildcard."""
    if set("{}") & set(str(clone)):
        raise ValueError(f"Snakemake takes what is in braces in {clone} for a wildcard: move the clone, or rename it.")


def unquoted(executable: str, folder: str | Path = ".") -> str:
    """A path of the interpreter that a shell takes as it is, without quotes, seen from the working folder.

    Snakemake 9.27 writes the interpreter of a `script:` into a command line without quotes (its issue 2645), so that
    every job fails where a space, a quote or a $ is in the path. The path from the working folder, such as
    .venv/bin/python, has none of them where they are in the clone's own path.

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
