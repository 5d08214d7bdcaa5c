"""Checks before any key is interpreted: a configuration consists of plain values, and not too many."""

import math
import unicodedata
from collections.abc import Iterable
from typing import Any

from dqv2.config.base import READ_AS_BOOL, ConfigError

DEEPEST = 20  # blocks within blocks
MOST = 500_000  # values, counting those repeated by an anchor each time
LARGEST_WHOLE = 10**40
LONGEST_TEXT = 5_000
UNPRINTABLE = {"Cc", "Cs", "Zl", "Zp"}  # Unicode categories: control characters, surrogates, line separators


def plain(values: Any) -> tuple[Any, list[str]]:
    """The cleaned values of a configuration, and a sentence for each fault, with the key's path.

    Text is stripped, and the words null and ~ become null: within braces after --config everything is text.

    Raises ConfigError where it is nested too deeply or has too many values to be checked.
    """
    reader = _Reader()
    return reader.read(values, ()), reader.faults


def shown(value: Any) -> str:
    """The repr of a value for a message, truncated where it is long."""
    if isinstance(value, int) and abs(value) > LARGEST_WHOLE:
        return "a number of more than 40 digits"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:60]}... ({len(text)} characters)"


def dotted(keys: Iterable[Any]) -> str:
    """The path of a key for a message: keys joined by dots."""
    words = (key if isinstance(key, str) and _printable(key) and len(key) <= 80 else shown(key) for key in keys)
    return ".".join(words) or "(top)"


def _printable(text: str) -> bool:
    return not any(unicodedata.category(letter) in UNPRINTABLE for letter in text)


class _Reader:
    def __init__(self) -> None:
        self.faults: list[str] = []
        self.count = 0

    def read(self, value: Any, path: tuple) -> Any:
        self.count += 1
        if len(path) > DEEPEST or self.count > MOST:
            deep = f"it is nested more than {DEEPEST} deep, or an anchor holds itself"
            what = deep if len(path) > DEEPEST else f"the configuration holds more than {MOST:,} values"
            raise ConfigError(f"{dotted(path[:4])}: {what}")
        if isinstance(value, dict):
            return {self.key(key, path): self.read(each, (*path, key)) for key, each in value.items()}
        if isinstance(value, list):
            return [self.read(each, (*path, i)) for i, each in enumerate(value)]
        if isinstance(value, str):
            value = value.strip()
            if len(value) > LONGEST_TEXT:
                self.fault(path, value, f"a text has at most {LONGEST_TEXT:,} letters")
            if not _printable(value):
                self.fault(path, value, "it has a line break, or another character that cannot be printed")
            return None if value in ("null", "~") else value
        if isinstance(value, int) and abs(value) > LARGEST_WHOLE:
            self.fault(path, value, "no key holds so large a number")
        if isinstance(value, float) and not math.isfinite(value):
            self.fault(path, value, "a number must be finite")
        elif value is not None and not isinstance(value, bool | int | float):
            kind = type(value).__name__
            self.fault(path, value, f"YAML takes it for a {kind}, which no key holds: put it into quotes")
        return value

    def key(self, key: Any, path: tuple) -> str:
        if not isinstance(key, str):
            hint = READ_AS_BOOL if isinstance(key, bool) else ""
            self.fault((*path, key), None, f"the name of a key is text{hint}: put it into quotes")
        elif not _printable(key):
            self.fault((*path, key), None, "the name of this key has a character that cannot be printed")
        return str(key)

    def fault(self, path: tuple, value: Any, message: str) -> None:
        at = "" if value is None else f" = {shown(value)}"
        self.faults.append(f"{dotted(path)}{at}: {message}")
