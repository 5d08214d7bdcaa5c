"""Where the published sets come from: their official archives, checksums and folders. Imports no torch."""

from dataclasses import replace

from dqv2.data.published import KNOWN_SETS, Archive

ARCHIVES = {name: archive for known in KNOWN_SETS.values() for name, archive in known.archives.items()}


def archive_of(name: str, *, mirror: str | None = None, checksum: str | None = None) -> Archive:
    """The archive of a set, from another place (`mirror` + its name) or with another checksum where given."""
    archive = ARCHIVES[name]
    if mirror:
        archive = replace(archive, url=f"{mirror.rstrip('/')}/{archive.name}")
    return replace(archive, checksum=checksum) if checksum else archive
