"""The sources of masks: where the object is assumed to be, what each reads, which function it is. Imports no torch.

The choices and checks of the configuration, the dispatch, the docs and a test suite that all sources must pass are
derived from `MASK_SOURCES`. See docs/code.md to add a source.
"""

from dataclasses import dataclass
from typing import Literal

from dqv2.declared import by_name, check_choices, check_functions, markdown, what_it_does


@dataclass(frozen=True)
class MaskSource:
    """A source of masks."""

    name: str  # the `source` of the configuration's masks
    # `module:function`, imported on use: from `dqv2.semantic.sources.MaskInputs` to maps, float[n, h, w]; a mask
    # consists of the cells with the highest values
    function: str
    reads: Literal["saliency", "objects"] | None = None  # the maps of a mask's backbone, or the known objects
    draws: bool = False  # whether it draws at random

    def __post_init__(self) -> None:
        entry = f"mask source {self.name}"
        check_functions(entry, function=self.function)
        check_choices(entry, "reads", () if self.reads is None else (self.reads,), ("saliency", "objects"))


MASK_SOURCES = by_name(
    MaskSource("network", "dqv2.semantic.sources:by_network", reads="saliency"),
    MaskSource("shuffled", "dqv2.semantic.sources:by_another", reads="saliency", draws=True),
    MaskSource("centre", "dqv2.semantic.sources:by_centre"),
    MaskSource("random", "dqv2.semantic.sources:by_chance", draws=True),
    MaskSource("object", "dqv2.semantic.sources:by_object", reads="objects"),
)


def sources_that_read(what: str) -> list[str]:
    """The sources that read this."""
    return [source.name for source in MASK_SOURCES.values() if source.reads == what]


def as_markdown() -> str:
    """The table for the docs."""
    reads = {"saliency": "the saliency of its `backbone`", "objects": "the known objects of the set", None: "nothing"}
    rows = [[f"`{s.name}`", what_it_does(s.function), reads[s.reads]] for s in MASK_SOURCES.values()]
    return markdown(["`source`", "where the object is taken to be", "what it reads"], rows)
