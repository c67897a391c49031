"""The archive: one JSONL file to which every encoder process of a data folder appends, and nobody loses a line.

    data/local-fallback-pins.jsonl        what waits to be migrated: the operators' file
    data/local-fallback-pins.jsonl.lock   the lock; never deleted
    data/migrated-pins.jsonl              what was migrated: the same lines, then target, proof, time
    data/quarantine/                      what was found in the first two and is no line

Moving the archive away by hand (`mv`, to collect it) is allowed at any moment: a line that `append` has returned
stands in the file that had the name at that moment, whole. A key is written once: where it stands in either file
already, that line is the answer and nothing is appended, also when the first append was killed before it returned.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from loguru import logger

from encoder_pin_plugin.archive.checking import Checked, check
from encoder_pin_plugin.archive.files import ARCHIVE_NAME, MIGRATED_NAME
from encoder_pin_plugin.archive.linefile import LineFile
from encoder_pin_plugin.archive.locking import ArchiveLock
from encoder_pin_plugin.archive.reading import Entry, read_entries
from encoder_pin_plugin.archive.record import WITHDRAWN, ArchiveRecord, Key, parse_line, utc_text
from encoder_pin_plugin.archive.rewriting import rewrite, sweep
from encoder_pin_plugin.archive.sieves import Leaving, WithoutFaults, WithoutKeys
from encoder_pin_plugin.archive.stranded import NAMED, Stranded, stranded
from encoder_pin_plugin.archive.totals import Total, total_of
from encoder_pin_plugin.durable import storage_errors
from encoder_pin_plugin.errors import ArchiveError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from pathlib import Path

    from encoder_pin_plugin.archive.healing import Healed
    from encoder_pin_plugin.archive.linefile import Version

QUARANTINE_NAME = "quarantine"


@dataclass(frozen=True, kw_only=True)
class Repaired:
    """What a repair did to one file: lines kept, moved to `quarantine_file`, dropped as exact doubles, and the torn
    tail; and what of that was set aside although no other line has its CID."""

    kept: int
    quarantined: int
    doubles: int
    quarantine_file: Path | None
    healed: Healed | None
    stranded: tuple[Stranded, ...] = ()

    @property
    def set_aside(self) -> list[Path]:
        """The files in the quarantine that this repair has made."""
        return [it for it in (self.quarantine_file, self.healed and self.healed.quarantined) if it]


@dataclass(frozen=True, kw_only=True)
class Compacted:
    """How many lines left the archive, and how many stayed (None where nobody had to look)."""

    removed: int
    kept: int | None


class Archive:
    """The archive of one data folder. Nothing is touched until a method is called; safe for threads and forks.

    Args:
        data_dir: the data folder, created by the first append.
        lock_timeout: seconds to wait for another process before `LockBusy`.

    Example:
        >>> archive = Archive(Path("data"))
        >>> archive.append(record).local_pin_timestamp     # doctest: +SKIP
        '2025-10-28T10:30:00.000Z'
    """

    def __init__(self, data_dir: Path, *, lock_timeout: float = 30.0) -> None:
        self.path = data_dir / ARCHIVE_NAME
        self.migrated_path = data_dir / MIGRATED_NAME
        self.quarantine = data_dir / QUARANTINE_NAME
        self._lock_timeout = lock_timeout
        self._begin()

    def append(self, record: ArchiveRecord) -> ArchiveRecord:
        """Append a record durably and return the line that stands: the one that was there where its key already was.

        Raises `LockBusy`, `StorageError`, `ArchiveError`: nothing was appended then, and it may be tried again.
        """
        line = _readable(record)
        self._renew_after_fork()
        self._standing(record.key)  # the first look reads the whole file: not while others wait for the lock
        with self._lock.held():
            self._waiting.heal()
            standing = self._standing(record.key)
            if standing is None:
                self._waiting.append(line)
        _log_append(standing or record, self.path, new=standing is None)
        return standing or record

    def find(self, hash_: str, job_id: str) -> ArchiveRecord | None:
        """The line with this key, waiting or migrated, made durable before it is told; None where there is none.
        Raises `StorageError`, `ArchiveError`, and `LockBusy` where it is there but nobody may be sure of it yet."""
        self._renew_after_fork()
        if self._standing((hash_, job_id)) is None:
            return None
        with self._lock.held():  # its writer may be about to take it back, because the disk said no
            return self._standing((hash_, job_id))

    def find_waiting(self, keys: Collection[Key]) -> dict[Key, ArchiveRecord]:
        """Of these keys the lines that wait, likewise. Raises as `find` does."""
        self._renew_after_fork()
        with self._lock.held():
            return self._waiting.find_all(keys)

    def where(self, hash_: str, job_id: str) -> Path | None:
        """The file that holds the line with this key. Raises as `find` does."""
        if self.find(hash_, job_id) is None:
            return None
        return self.path if self._waiting.find((hash_, job_id)) else self.migrated_path

    def entries(self) -> Iterator[Entry]:
        """Every line that waits, in order, good or bad, as a stream; a torn tail comes last.
        Raises `StorageError`, `ArchiveError` where the file cannot be read; where there is none, nothing waits."""
        return read_entries(self.path)

    def migrated(self) -> Iterator[Entry]:
        """Every line that was migrated, likewise; the last one of a key decides, see `take_back`."""
        return read_entries(self.migrated_path)

    def restore(self, records: Iterable[ArchiveRecord]) -> tuple[ArchiveRecord, ...]:
        """Append all those whose keys stand nowhere, with one write; those are returned. Raises as `append` does."""
        self._renew_after_fork()
        with self._lock.held():
            self._waiting.heal()
            missing = {record.key: record for record in records if self._standing(record.key) is None}
            if missing:
                self._waiting.append(b"".join(_readable(record) for record in missing.values()))
        for record in missing.values():
            _log_append(record, self.path, new=True)
        return tuple(missing.values())

    def total(self) -> Total:
        """How many lines wait, and how many MB. Raises `StorageError`, `ArchiveError`."""
        return total_of(self.path)

    def check(self) -> Checked:
        """Whether the archive is in order; changes nothing. Raises `StorageError`, `ArchiveError`."""
        return check(self.path)

    def repair(self) -> tuple[Repaired, Repaired]:
        """Of what waits, and of what was migrated, move what is no record to the quarantine and remove exact doubles;
        every other line stays, byte for byte. Where the last line of a key decides, among the migrated, doubles stay.
        Raises `LockBusy`, `StorageError`, `ArchiveError`; each file is then repaired, or as it was."""
        self._renew_after_fork()
        waiting, migrated = self._heal()
        return self._repair(self._waiting, waiting), self._repair(self._migrated, migrated)

    def compact(self, remove: Collection[Key], migrated_lines: Sequence[bytes] = ()) -> Compacted:
        """Append `migrated_lines` to what was migrated, durably, then remove the keys from what waits.

        Every other line stays, byte for byte, also those that nobody understands; other processes append meanwhile.
        So does a line that is taken back while this goes on.
        Raises `ArchiveError` where a key to remove does not stand among the migrated then, besides `LockBusy` and
        `StorageError`; the archive is then as it was, and this may be tried again.
        """
        self._renew_after_fork()
        lines = {parse_line(line).key: line for line in map(_one_line, migrated_lines)}
        version = self._add_migrated(lines)
        unproved = set(remove) - lines.keys()
        unproved -= self._migrated.standing(unproved)
        if unproved:
            raise ArchiveError(
                f"{len(unproved)} lines were to leave {self.path} that do not stand in {self.migrated_path}, such as"
                f" {min(unproved)!a}: nothing was removed"
            )
        return self._leave(remove, version)

    def take_back(self, record: ArchiveRecord, why: str) -> None:
        """Let a migrated record wait again, because its target does not hold it any more: it stands in the archive
        first, then a line among the migrated withdraws it there. Killed in between, it counts as migrated until this
        is done again. Raises as `append` does."""
        line = _readable(replace(record, extra={}))
        withdrawal = replace(record, extra={WITHDRAWN: utc_text(datetime.now(UTC)), "why": why}).line()
        self._renew_after_fork()
        self._heal()
        with self._lock.held():
            if self._waiting.find(record.key) is None:
                self._waiting.append(line)
            if self._migrated.find(record.key) is not None:
                self._migrated.append(withdrawal)
        _log_append(record, self.path, new=True)

    def settle(self) -> Compacted:
        """Finish at start what a killed process had begun: heal torn tails, remove temporary files, and drop from
        the archive what stands among the migrated already. Raises as `compact` does."""
        self._renew_after_fork()
        self._heal()
        with storage_errors("tidy", self.path.parent):
            sweep(self.path)
            sweep(self.migrated_path)
        version = self._migrated.version()
        return self._leave(self._waiting.keys_also_in(self._migrated), version)

    def _repair(self, file: LineFile, healed: Healed | None) -> Repaired:
        doubles = file is self._waiting
        sieve = rewrite(file, self._lock, lambda it: WithoutFaults(it, self.quarantine, doubles=doubles))
        done = Repaired(
            kept=sieve.kept if sieve else 0,
            quarantined=sieve.faults if sieve else 0,
            doubles=sieve.doubles if sieve else 0,
            quarantine_file=sieve.quarantined if sieve else None,
            healed=healed,
        )
        left = stranded(done.set_aside, (self.path, self.migrated_path))
        _log_stranded(left, done.set_aside)
        return replace(done, stranded=left)

    def _heal(self) -> tuple[Healed | None, Healed | None]:
        """Heal what waits and what was migrated, where there are such files; what was done to each."""
        if not (self.path.exists() or self.migrated_path.exists()):
            return None, None
        with self._lock.held():
            waiting = self._waiting.heal() if self.path.exists() else None
            return waiting, self._migrated.heal() if self.migrated_path.exists() else None

    def _leave(self, keys: Collection[Key], version: Version) -> Compacted:
        """Remove from what waits the keys that stood among the migrated when that file was of this version."""
        if not keys:
            return Compacted(removed=0, kept=None)
        leaving = Leaving(self._migrated, set(keys), version)
        sieve = rewrite(self._waiting, self._lock, lambda _: WithoutKeys(leaving.keys, leaving.still))
        return Compacted(removed=sieve.removed if sieve else 0, kept=sieve.kept if sieve else None)

    def _add_migrated(self, lines: dict[Key, bytes]) -> Version:
        """Have them stand among the migrated; that file's version at a moment when they did."""
        if not lines:
            return self._migrated.version()
        self._migrated.standing(lines)  # the first look reads the whole file: not while others wait for the lock
        with self._lock.held():
            self._migrated.heal()
            standing = self._migrated.standing(lines)
            missing = [line for key, line in lines.items() if key not in standing]
            if missing:
                self._migrated.append(b"".join(missing))
            return self._migrated.version()

    def _standing(self, key: Key) -> ArchiveRecord | None:
        return self._waiting.find(key) or self._migrated.find(key)

    def _begin(self) -> None:
        self._process = os.getpid()
        self._lock = ArchiveLock(self.path.with_name(f"{ARCHIVE_NAME}.lock"), self._lock_timeout)
        self._waiting = LineFile(self.path, self.quarantine)
        self._migrated = LineFile(self.migrated_path, self.quarantine)

    def _renew_after_fork(self) -> None:
        """A forked child shares neither mutexes, which another thread may have held, nor indexes in the making."""
        if os.getpid() != self._process:
            self._begin()


def _one_line(line: bytes) -> bytes:
    """A line with exactly one newline, at its end. Raises `ArchiveError`."""
    if line.find(b"\n") != len(line) - 1:
        raise ArchiveError(f"this is not one line: {line[:300]!a}")
    return line


def _readable(record: ArchiveRecord) -> bytes:
    """The record's line, if it is one that will be read as this record. Raises `ArchiveError`."""
    line = record.line()
    if parse_line(line) != record:
        raise ArchiveError(f"the record of {record.hash} would not be read back as it is: {line[:300]!a}")
    return line


def _log_stranded(left: Sequence[Stranded], aside: Sequence[Path]) -> None:
    if left:
        cids = ", ".join(f"{cid} of job {job_id!a}" if job_id else cid for cid, job_id in left[:NAMED])
        more = f" and {len(left) - NAMED} more" if len(left) > NAMED else ""
        where = " and ".join(map(str, aside))
        logger.warning("{}", f"set aside in {where}, and in no other line, so that nothing migrates it: {cids}{more}")


def _log_append(record: ArchiveRecord, path: Path, *, new: bool) -> None:
    size = "unknown size" if record.size_mb is None else f"{record.size_mb} MB"
    what = "recorded in" if new else "was already recorded in"
    logger.info("{}", f"BATCH DATABASE: {record.hash} of job {record.job_id!a} ({size}) {what} {path}")
