"""Planted bugs of whole commands, each of which does no harm unless another command comes in between."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from encoder_pin_plugin.archive import audit, jsonl
from encoder_pin_plugin.archive.locking import ArchiveLock
from encoder_pin_plugin.archive.record import WITHDRAWN, ArchiveRecord
from encoder_pin_plugin.lazy import manual
from encoder_pin_plugin.lazy.ledger import Ledger
from encoder_pin_plugin.lazy.pins import State


def _repaired_without_lock() -> None:
    """What is appended while a repair copies stays behind, in the file that is replaced."""
    repair, rewrite = jsonl.Archive.repair, jsonl.rewrite

    def unlocked(file: Any, lock: ArchiveLock, make_sieve: Callable[[int], Any]) -> Any:
        return rewrite(file, ArchiveLock(lock.path.with_name(".of-its-own.lock"), lock.timeout), make_sieve)

    def repair_so(self: jsonl.Archive, **options: Any) -> jsonl.Repaired:
        jsonl.rewrite = unlocked
        try:
            return repair(self, **options)
        finally:
            jsonl.rewrite = rewrite

    jsonl.Archive.repair = repair_so  # type: ignore[method-assign]


def _taken_back_without_looking_again() -> None:
    """An audit that found a line among the migrated puts it back, whoever has done that meanwhile."""

    def take_back(self: jsonl.Archive, record: ArchiveRecord, why: str) -> None:
        with self._lock.held():
            self._waiting.append(replace(record, extra={}).line())
            self._migrated.append(replace(record, extra={WITHDRAWN: "now", "why": why}).line())

    jsonl.Archive.take_back = take_back  # type: ignore[method-assign]


def _restored_without_looking_again() -> None:
    """What stood nowhere a moment ago is written, whoever has written it meanwhile."""

    def restore(self: jsonl.Archive, records: Iterable[ArchiveRecord]) -> tuple[ArchiveRecord, ...]:
        missing = tuple(record for record in records if self._standing(record.key) is None)
        with self._lock.held():
            self._waiting.heal()
            if missing:
                self._waiting.append(b"".join(record.line() for record in missing))
        return missing

    jsonl.Archive.restore = restore  # type: ignore[method-assign]


def _rejected_with_what_came_again() -> None:
    """Every submission of a rejected job is closed, also one whose file was not set aside."""

    def reject(ledger: Ledger, key: str, _: object, why: str, now: int) -> bool:
        row = {"key": key, "why": why, "now": now, "state": State.REJECTED}
        with ledger.transaction() as db:
            db.execute("UPDATE submission SET closed=1 WHERE key=?", (key,))
            return db.execute(manual._REJECT, row).rowcount == 1

    manual.reject = reject


def _audited_as_if_nobody_migrated() -> None:
    """What a migration has unpinned, and whose line it has yet to move, is taken to be lost."""
    audit.migrating = lambda data_dir: ""


BUGS: dict[str, Callable[[], None]] = {
    "repaired without the lock": _repaired_without_lock,
    "taken back without looking again": _taken_back_without_looking_again,
    "restored without looking again": _restored_without_looking_again,
    "audited as if nobody migrated": _audited_as_if_nobody_migrated,
    "rejected with what came again": _rejected_with_what_came_again,
}
