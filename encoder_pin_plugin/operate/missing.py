"""Lines that the ledger remembers, and that stand neither in the archive nor among the migrated.

Somebody moved the file: that is also the normal way to collect it, so this is told and is no alarm.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from encoder_pin_plugin.archive.jsonl import Archive
    from encoder_pin_plugin.operate.ledger_view import LedgerView

_KNOWN = "SELECT key, cid, job_id FROM job WHERE state = 'archived' AND line IS NOT NULL"


def missing_lines(ledger: LedgerView, archive: Archive) -> list[str]:
    """The ledger's keys of the jobs whose line stands nowhere. Raises LedgerError, StorageError, ArchiveError."""
    missing = {(row["cid"], row["job_id"]): row["key"] for row in ledger.rows(_KNOWN)}
    if missing:
        for entry in chain(archive.entries(), archive.migrated()):
            if entry.record is not None:
                missing.pop(entry.record.key, None)
    return list(missing.values())
