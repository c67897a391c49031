"""Planted bugs: each takes one care out of the program, in the processes of a rig alone, so that the rig can show that
it sees.

`BUGS` names every one with the rig that must catch it. A child of the fork server applies what it is told to plant
before it does anything else; nothing of this is reachable from the program.
"""

from __future__ import annotations

import os
import types
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from encoder_pin_plugin import durable
from encoder_pin_plugin.archive import jsonl, linefile, locking, sieves
from encoder_pin_plugin.lazy import intake, ledger, schema, spool, statements
from tests.faults import planted_commands


def plant(name: str) -> None:
    """Plant a bug in this process."""
    BUGS[name]()


def _write_new(path: Path, content: bytes, *, sync: bool) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    durable.write_all(descriptor, content)
    if sync:
        os.fsync(descriptor)
    os.close(descriptor)


def _no_file_fsync() -> None:
    durable.write_new = lambda path, content: _write_new(path, content, sync=False)


def _no_folder_fsync() -> None:
    durable.fsync_folder = lambda folder: None
    linefile.fsync_folder = lambda folder: None


def _no_archive_fsync() -> None:
    """Neither when a line is appended, nor when it is looked up."""
    shim = types.ModuleType("os")
    shim.__dict__.update(os.__dict__, fsync=lambda descriptor: None)
    linefile.os = shim


def _fsync_lies() -> None:
    """The disk, or somebody above it, says that it is done and is not; SQLite is lied to in its own way."""
    os.fsync = lambda descriptor: None
    _pragma("synchronous", "OFF", 0)


def _ack_before_write(self: spool.Spool, job: Any) -> Any:
    """Acknowledge now, write a moment later, as a queue in memory does."""
    import threading

    submission = spool.new_submission(job)
    threading.Timer(0.02, lambda: self._write(submission)).start()
    return submission


def _rename_before_write(self: spool.Spool, submission: Any) -> None:
    for folder in (self.tmp, self.new):
        durable.make_folder(folder)
    descriptor = os.open(self.new / submission.name, os.O_WRONLY | os.O_CREAT, 0o600)
    durable.write_all(descriptor, submission.body)
    os.fsync(descriptor)
    os.close(descriptor)
    durable.fsync_folder(self.new)


def _unlink_before_ingest() -> None:
    def take_in(self: intake.Intake, book: ledger.Ledger) -> list[Any]:
        paths = self._spool.arrivals(500)
        taken = [submission for path in paths if (submission := self._read(path))]
        for path in paths:
            path.unlink(missing_ok=True)
        book.ingest(taken, self._clock.wall())
        return taken

    intake.Intake.take_in = take_in  # type: ignore[method-assign]


def _unlink_before_commit() -> None:
    commit = ledger.Ledger.commit

    def unlink_first(self: ledger.Ledger, steps: Any, now: int) -> Any:
        steps = list(steps)
        with self.transaction() as db:  # the file goes, and the row with it, before the end is proved
            for step in steps:
                if step.state.final:
                    for path in (self.path.parent / "spool" / "open").glob(f"{step.pin.key}.*"):
                        path.unlink(missing_ok=True)
                    db.execute("DELETE FROM submission WHERE key=?", (step.pin.key,))
                    db.execute("UPDATE job SET state='archived', closed_at=1 WHERE key=?", (step.pin.key,))
        return commit(self, steps, now)

    ledger.Ledger.commit = unlink_first  # type: ignore[method-assign]


def _no_healing() -> None:
    linefile.heal = lambda descriptor, path, quarantine: None


def _no_dedupe() -> None:
    jsonl.Archive._standing = lambda self, key: None  # type: ignore[method-assign]


def _in_two_writes() -> None:
    def write(descriptor: int, lines: bytes) -> int:
        end = os.lseek(descriptor, 0, os.SEEK_END)
        os.write(descriptor, lines[:60])
        os.write(descriptor, lines[60:])
        os.fsync(descriptor)
        return end

    linefile._write = write


def _lease_not_checked() -> None:
    ledger.STEP = statements.STEP.replace("AND owner=:owner AND epoch=:epoch AND closed_at IS NULL", "")


class _NoLock:
    """Had by everybody at once."""

    def __init__(self, path: object, **_: Any) -> None:
        self.lock_file = str(path)

    def acquire(self) -> None:
        """Had."""

    def release(self) -> None:
        """Gone."""


def _no_archive_lock() -> None:
    locking.FileLock = _NoLock  # type: ignore[misc,assignment]


def _done_before_append() -> None:
    """The job is written down as archived although the line comes later, or never."""
    from encoder_pin_plugin import service

    def archive_line(self: Any, fallback: Any) -> Any:
        import threading

        record = service.from_fallback(fallback, self.settings.node_name)
        threading.Timer(2.0, lambda: self.archive.append(record)).start()  # whoever is killed is so before
        return service.ArchiveReceipt(path=str(self.archive.path))

    service.Service.archive_line = archive_line  # type: ignore[method-assign]


def _target_not_asked() -> None:
    """The target is taken to have everything."""
    from encoder_hookspecs.events import Proof
    from encoder_pin_plugin.archive import migrate
    from encoder_pin_plugin.nodes import proofs

    sure = proofs.Look(proof=Proof.WHOLE, enough=True)
    proofs.Witness.look = lambda self, cids, *, again=False: dict.fromkeys(cids, sure)  # type: ignore[method-assign]
    found = migrate.Migration._found
    migrate.Migration._found = lambda self, item, *, there: found(self, item, there=True)  # type: ignore[method-assign]


def _removed_before_migrated() -> None:
    def compact(self: jsonl.Archive, remove: Any, migrated_lines: Any = ()) -> jsonl.Compacted:
        sieve = jsonl.rewrite(self._waiting, self._lock, lambda _: jsonl.WithoutKeys(remove, lambda: True))
        self._add_migrated({jsonl.parse_line(line).key: line for line in migrated_lines})
        return jsonl.Compacted(removed=sieve.removed if sieve else 0, kept=None)

    jsonl.Archive.compact = compact  # type: ignore[method-assign]


def _removed_without_looking_again() -> None:
    """What is to leave the archive is taken to stand among the migrated still."""
    sieves.Leaving.still = lambda self: True  # type: ignore[method-assign]


def _pragma(name: str, value: str, expected: object) -> None:
    changed = tuple((it, value, expected) if it == name else (it, *rest) for it, *rest in schema._SETTINGS)
    schema._SETTINGS = changed  # type: ignore[assignment]


def _synchronous_off() -> None:
    _pragma("synchronous", "OFF", 0)


def _wal_and_normal() -> None:
    _pragma("journal_mode", "WAL", "wal")
    _pragma("synchronous", "NORMAL", 1)


def _delete_and_full() -> None:
    """Python's own default."""
    _pragma("journal_mode", "DELETE", "delete")
    _pragma("synchronous", "FULL", 2)


def _believes_a_claim() -> None:
    """The supernode's word is taken for a pin, without asking again; and the word came before the deed."""
    from encoder_pin_plugin.lazy import attempt

    def pin(self: Any, *_: object) -> bool:
        with suppress(Exception):
            self._node.ping()
        return True

    attempt.Attempts._pin = pin  # type: ignore[method-assign]
    attempt.Attempts._prove_batch = lambda self, claims: [  # type: ignore[method-assign,assignment]
        self._succeeded(claim.pin, claim.began) for claim in claims
    ]


def _ack_first() -> None:
    spool.Spool.record = _ack_before_write  # type: ignore[method-assign]


def _rename_first() -> None:
    spool.Spool._write = _rename_before_write  # type: ignore[method-assign]


BUGS: dict[str, Callable[[], None]] = {
    # caught by the power cuts
    "no file fsync": _no_file_fsync,
    "no folder fsync": _no_folder_fsync,
    "no archive fsync": _no_archive_fsync,
    "fsync lies": _fsync_lies,
    "synchronous=OFF": _synchronous_off,
    "WAL and NORMAL": _wal_and_normal,
    "DELETE and FULL": _delete_and_full,
    # caught by the kills
    "acknowledged before written": _ack_first,
    "done before appended": _done_before_append,
    "claim believed": _believes_a_claim,
    # caught by the races
    "no archive lock": _no_archive_lock,
    "removed without looking again": _removed_without_looking_again,
    # caught by the stepping
    "name before content": _rename_first,
    "unlinked before ingested": _unlink_before_ingest,
    "unlinked before committed": _unlink_before_commit,
    "append without healing": _no_healing,
    "append without looking": _no_dedupe,
    "line in two writes": _in_two_writes,
    "target not asked": _target_not_asked,
    "removed before migrated": _removed_before_migrated,
    # caught by the pauses
    "lease not checked": _lease_not_checked,
    # caught by the races of commands
    **planted_commands.BUGS,
}
