"""The second record: one small file for each job that fell back, for the site's own tools."""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from encoder_hookspecs import LocalFallback


def keep_record(folder: Path, fallback: LocalFallback) -> bool:
    """Write the record of a fallback; returns False where it stands already. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    job = fallback.job
    name = hashlib.sha256(f"{job.cid} {job.job_id}".encode()).hexdigest()[:24]  # a job id is no file name
    content = {
        "cid": job.cid,
        "job_id": job.job_id,
        "attempts": fallback.failure.attempts,
        "reason": fallback.failure.reason,
        "pinned_at": fallback.local_pin.pinned_at.isoformat(),
    }
    target, temporary = folder / f"{name}.json", folder / f".{name}.{os.getpid()}"
    if target.exists():
        return False
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(target)
    return True
