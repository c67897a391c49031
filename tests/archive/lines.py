"""Records and lines for the archive's tests."""

from __future__ import annotations

from typing import Any

from encoder_pin_plugin.archive.record import ArchiveRecord

CID = "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi"
STEM = CID[:-8]


def record(number: int = 0, **changes: Any) -> ArchiveRecord:
    """A record like those of the operators' document, another one for each number."""
    fields: dict[str, Any] = {
        "hash": f"{STEM}{number:08d}",
        "job_id": f"job-{number}",
        "size_mb": number % 1000 + 0.5,
        "type": "directory",
        "failed_lazy_attempts": 3,
        "local_pin_timestamp": "2025-10-28T10:30:00.000Z",
        "node_id": "encoder-node-1",
    }
    return ArchiveRecord(**(fields | changes))


def migrated(number: int) -> bytes:
    """The line of the same record once it was migrated."""
    extra = {"target": "kubo+http://permanent:5001", "proof": "whole", "migrated_at": "2025-10-29T10:30:00.000Z"}
    return record(number, extra=extra).line()
