"""A job's log: everything goes to its file, the important lines to the terminal as well."""

import logging
import sys
from pathlib import Path

logger = logging.getLogger("dqv2")


class LogFile(logging.FileHandler):
    """A log file that ends with one warning if it cannot be written, instead of a traceback for each message."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Stop logging to the file, for example when the disk is full."""
        logger.removeHandler(self)
        logger.warning("%s ends here: it cannot be written (%s)", self.baseFilename, sys.exc_info()[1])


def log_to(path: str | Path, *, mode: str = "w") -> logging.Logger:
    """Write this job's log to `path`, and to the terminal what is of level WARNING or above, or logged with `say`.

    mode: "w" overwrites the file, "a" appends to it.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    logger.handlers.clear()
    logger.setLevel(logging.INFO)
    logger.propagate = False
    if mode == "w":
        Path(path).write_text("", encoding="utf-8")
    # Several processes append to it; the name of a file may not be encodable
    file = LogFile(path, mode="a", encoding="utf-8", errors="backslashreplace")
    file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))
    terminal = logging.StreamHandler(sys.stderr)
    terminal.setFormatter(logging.Formatter("  %(message)s"))
    terminal.addFilter(lambda record: record.levelno >= logging.WARNING or getattr(record, "say", False))
    logger.addHandler(file)
    logger.addHandler(terminal)
    return logger


def log_file() -> str | None:
    """The path of this job's log file, or None."""
    return next((h.baseFilename for h in logger.handlers if isinstance(h, logging.FileHandler)), None)


def say(message: str) -> None:
    """Log a line to the file and the terminal."""
    logger.info(message, extra={"say": True})
