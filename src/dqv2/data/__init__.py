"""Image sets: the embedded one, published ones, users' own folders, and the packs that all stages read."""

from dqv2.data.errors import DataError
from dqv2.data.pack import Pack, write_pack

__all__ = ["DataError", "Pack", "write_pack"]
