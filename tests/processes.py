"""What runs in a folder."""

from contextlib import suppress
from pathlib import Path

import psutil


def running_in(folder: Path) -> list[psutil.Process]:
    """Snakemake, the warm server, clients and jobs whose working folder it is."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.cwd() == str(folder) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found
