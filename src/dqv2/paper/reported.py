"""The paper's values and claims, from the YAML files in this folder. No pandas, as the plan reads them too."""

from functools import cache
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
ABOUT = ("mean", "sd", "variance", "plus_minus", "place", "source")  # of an entry; its other keys name the arm


@cache
def _read(name: str) -> Any:
    return yaml.safe_load((HERE / name).read_text(encoding="utf-8"))


def reported_values(experiment: str) -> list[dict[str, Any]]:
    """The paper's values for an experiment's arms: the columns that name an arm, then ``mean`` (top-1, %), ``variance``
    or ``plus_minus`` (after "±", which the paper does not explain), ``place``, and ``source`` where the paper copies
    the value from another one."""
    return list(_read("reported.yaml").get(experiment, []))


def reported_experiments() -> list[str]:
    """The experiments for which the paper reports values."""
    return [name for name in _read("reported.yaml") if name != "text"]


def reported_text() -> list[dict[str, Any]]:
    """The numbers of the paper's text that compare arms: gains in points."""
    return list(_read("reported.yaml")["text"])


def arm_of(entry: dict[str, Any]) -> dict[str, Any]:
    """The columns by which an entry of ``reported_values`` names its arm, with their values."""
    return {name: value for name, value in entry.items() if name not in ABOUT}


def as_printed(value: float) -> str:
    """A value as the paper prints it: with two decimals (YAML drops the last zeros), or with more where it has them."""
    return f"{value:.2f}" if round(value, 2) == value else f"{value:g}"


def read_claims() -> list[dict[str, Any]]:
    """The paper's claims, as ``dqv2.paper.claims`` takes them."""
    return list(_read("claims.yaml"))


def read_questions() -> list[dict[str, Any]]:
    """Questions beyond the paper's claims, in the same form."""
    return list(_read("questions.yaml"))
