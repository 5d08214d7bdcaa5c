"""The spec of a figure or a table, from its block of the configuration."""

from __future__ import annotations

from typing import Any

from dqv2.config.base import Block

# Where null is a value of its own: no hue, no panels, no columns, nothing in bold. Elsewhere it undoes what was set.
NULLABLE = ("hue", "panel", "column", "better")


def spec_of(block: Block, *, partial: bool = False) -> dict[str, Any]:
    """The keys of a block that have a value, those of ``NULLABLE`` that were set to null, and whether runs may be
    missing."""
    nulls = [name for name in NULLABLE if name in block.model_fields_set and getattr(block, name) is None]
    spec = block.model_dump(exclude_none=True) | dict.fromkeys(nulls)
    return spec | {"partial": True} if partial else spec
