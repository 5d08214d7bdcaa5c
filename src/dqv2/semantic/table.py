"""The sources of masks: where the object is taken to be, what each reads, which function it is. Imports no torch.

The choices and checks of the configuration, the dispatch, the docs and a test suite that all sources pass come from
`MASK_SOURCES`. docs/extend.md says how a source is added.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dqv2.declared import markdown

__all__ = ["MASK_SOURCES", "MaskSource", "as_markdown", "sources_that_read"]


@dataclass(frozen=True)
class MaskSource:
    """A source of masks.

    Attributes:
        name: the `source` of the configuration's masks.
        function: `module:function`, imported when it is used. It takes `dqv2.semantic.sources.MaskInputs` and returns
            maps, float[n, h, w]; a mask's cells are where they are highest.
        reads: "saliency" (the maps of a mask's backbone), "objects" (those that the set knows) or None.
        what: where the object is taken to be, one line.
        source: where it comes from.
        draws: whether it draws at random.
    """

    name: str
    function: str
    reads: Literal["saliency", "objects"] | None
    what: str
    source: str
    draws: bool = False


MASK_SOURCES: dict[str, MaskSource] = {
    source.name: source
    for source in (
        MaskSource(
            "network",
            "dqv2.semantic.sources:by_network",
            reads="saliency",
            what="where a network responds most",
            source="DQ_V2, section 3.3; Cao & Wu 2022, Tobias",
        ),
        MaskSource(
            "shuffled",
            "dqv2.semantic.sources:by_another",
            reads="saliency",
            what="where the network responds most in another image",
            source="a control",
            draws=True,
        ),
        MaskSource(
            "centre",
            "dqv2.semantic.sources:by_centre",
            reads=None,
            what="in the middle",
            source="a control",
        ),
        MaskSource(
            "random",
            "dqv2.semantic.sources:by_chance",
            reads=None,
            what="in cells drawn at random",
            source="a control",
            draws=True,
        ),
        MaskSource(
            "object",
            "dqv2.semantic.sources:by_object",
            reads="objects",
            what="where it is, as the set knows",
            source="an upper bound",
        ),
    )
}


def sources_that_read(what: str) -> list[str]:
    """The sources that read this."""
    return [source.name for source in MASK_SOURCES.values() if source.reads == what]


def as_markdown() -> str:
    """The table for the docs."""
    reads = {"saliency": "the saliency of its `backbone`", "objects": "the known objects of the set", None: "nothing"}
    rows = [[f"`{s.name}`", s.what, reads[s.reads], s.source] for s in MASK_SOURCES.values()]
    return markdown(["`source`", "where the object is taken to be", "what it reads", "from"], rows)
