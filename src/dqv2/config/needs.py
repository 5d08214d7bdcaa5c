"""What a job asks of a machine or a cluster. No result depends on it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from dqv2.config.base import Block


class Needs(Block):
    """Of a stage's job at its first attempt; each further attempt asks for as much again.

    `mem_mb` and `disk_mb` (of the node's temporary storage) in MB; `runtime` in minutes, for each seed of the job.
    What is not given comes from the block `default`; `threads` (CPU cores) from the key `threads` of the configuration.
    """

    mem_mb: Annotated[int, Field(ge=1)] | None = None
    runtime: Annotated[int, Field(ge=1)] | None = None
    disk_mb: Annotated[int, Field(ge=1)] | None = None
    threads: Annotated[int, Field(ge=1)] | None = None
