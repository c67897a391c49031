"""Looking things up in an archive from outside: is this line really there, does any line still wait for this CID?"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from encoder_pin_plugin.archive.files import reading
from encoder_pin_plugin.archive.reading import read_entries

if TYPE_CHECKING:
    from pathlib import Path

    from encoder_pin_plugin.archive.jsonl import Archive

_CHUNK = 1 << 20


def line_stands(archive: Archive, path: Path, cid: str, job_id: str) -> bool:
    """Whether the file at `path`, ours or a site's own, holds a whole line with this CID and job id.
    Raises StorageError, ArchiveError where it cannot be read."""
    if path.resolve() == archive.path.resolve():
        return archive.find(cid, job_id) is not None
    return any(entry.record is not None and entry.record.key == (cid, job_id) for entry in read_entries(path))


def mentions(path: Path, cid: str) -> bool:
    """Whether any line at `path`, good or bad, mentions `cid`. Raises StorageError, ArchiveError."""
    wanted, tail = cid.encode(), b""
    with reading(path) as descriptor:
        while descriptor is not None and (chunk := os.read(descriptor, _CHUNK)):
            if wanted in tail + chunk:
                return True
            tail = chunk[-len(wanted) :]
    return False
