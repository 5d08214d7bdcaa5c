"""A job's log: everything to its file, the line that a person follows to the terminal as well."""

import logging
import sys
from pathlib import Path

logger = logging.getLogger("dqv2")


class LogFile(logging.FileHandler):
    """A log that ends with one sentence where it cannot be written, in place of a traceback for each message."""

    def handleError(self, record: logging.LogRecord) -> None:
        """The disk is full, say."""
        logger.removeHandler(self)
        logger.warning("%s ends here: it cannot be written (%s)", self.baseFilename, sys.exc_info()[1])


def log_to(path: str | Path, *, mode: str = "w") -> logging.Logger:
    """Write this job's log to `path`, and what a person follows to the terminal.

    That is each message of level WARNING or above, or marked `say`. With `mode` "a" a log is gone on with.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    logger.handlers.clear()
    logger.setLevel(logging.INFO)
    logger.propagate = False
    if mode == "w":
        Path(path).write_text("", encoding="utf-8")
    file = LogFile(path, mode="a", encoding="utf-8")  # several processes write to it, each at its end
    file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))
    terminal = logging.StreamHandler(sys.stderr)
    terminal.setFormatter(logging.Formatter("  %(message)s"))
    terminal.addFilter(lambda record: record.levelno >= logging.WARNING or getattr(record, "say", False))
    logger.addHandler(file)
    logger.addHandler(terminal)
    return logger


def log_file() -> str | None:
    """Where this job's log goes, or None where it has none."""
    return next((h.baseFilename for h in logger.handlers if isinstance(h, logging.FileHandler)), None)


def say(message: str) -> None:
    """One line that a person watching the terminal wants to see."""
    logger.info(message, extra={"say": True})
