"""Job files that were set aside: by a worker, because they hold no job, or by a person."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from encoder_pin_plugin.lazy.spool import Spool

BY_HAND = "rejected by hand"
"""How the reason begins where a person rejected the job."""


@dataclass(frozen=True, kw_only=True)
class RejectedFile:
    """A file in `spool/rejected/`.

    Args:
        path: of the file.
        why: it is there.
        age_seconds: since it was set aside.
    """

    path: Path
    why: str
    age_seconds: float

    @property
    def by_hand(self) -> bool:
        """Whether a person put it there, so that it calls for none."""
        return self.why.startswith(BY_HAND)


def rejected_files(spool: Spool) -> list[RejectedFile]:
    """All of them, the oldest first. Raises StorageError."""
    now = time.time()
    found = []
    for path in spool.rejects():
        try:
            age = now - _when(path)
        except FileNotFoundError:
            continue
        found.append(RejectedFile(path=path, why=spool.why(path), age_seconds=max(age, 0.0)))
    return sorted(found, key=lambda it: -it.age_seconds)


def _when(path: Path) -> float:
    """When the file was set aside: its reason was written then. Raises FileNotFoundError where the file is gone."""
    written = path.lstat().st_mtime
    try:
        return path.with_name(f"{path.name}.why").lstat().st_mtime
    except FileNotFoundError:
        return written
