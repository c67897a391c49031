"""What to do with each record of a former encoder: submit it as a job, append it to the archive, or leave it, and why.

Everything is looked up first, in the ledger, among the job files and in the archive, so that a second import takes
nothing, and a first one takes each video once, whatever number of files mention it.
"""

from __future__ import annotations

import enum
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from encoder_hookspecs.events import CompletedJob
from encoder_pin_plugin.archive.former import Former, Left, Place
from encoder_pin_plugin.lazy.jobfile import job_key
from encoder_pin_plugin.lazy.spool import Spool
from encoder_pin_plugin.lazy.worker import LEDGER_NAME
from encoder_pin_plugin.operate.ledger_view import view_ledger

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from encoder_pin_plugin.archive.former import Found
    from encoder_pin_plugin.archive.jsonl import Archive
    from encoder_pin_plugin.archive.record import ArchiveRecord, Key
    from encoder_pin_plugin.operate.ledger_view import LedgerView, Rows


class Action(enum.StrEnum):
    """What becomes of a record."""

    SUBMIT = "submit"
    ARCHIVE = "archive"
    KNOWN = "known"
    LEFT = "left"


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A record and what becomes of it.

    Args:
        place: where it was found.
        action: what becomes of it.
        what: its CID, or its beginning where it has none.
        why: in words.
        job, line: what is submitted, or appended.
        fault: whether it is left although it may have been a video.
    """

    place: Place
    action: Action
    what: str
    why: str
    job: CompletedJob | None = None
    line: ArchiveRecord | None = None
    fault: bool = False


def recovered_name(cid: str) -> str:
    """The job id of a CID of which no file says which job it was: the same at every import."""
    return f"recovered-{cid[-12:]}"


def plan(records: Iterable[Found], data_dir: Path, archive: Archive) -> Iterator[Planned]:
    """What to do with all `records`, those that name their job before those that do not.
    Raises LedgerError, StorageError, ArchiveError, LockBusy."""
    found = list(records)
    with ExitStack() as stack:
        ledger = stack.enter_context(view_ledger(data_dir / LEDGER_NAME))
        planner = _Planner(Spool(data_dir), ledger, archive)
        for one in found:
            if isinstance(one, Left):
                yield Planned(place=one.place, action=Action.LEFT, what=one.what, why=one.why, fault=one.fault)
        for former, line in _lines(found):
            yield planner.line(former, line)
        named, nameless = _jobs(found)
        yield from map(planner.named, named)
        planner.look_for({one.cid for one in nameless})
        yield from map(planner.nameless, nameless)


def _lines(found: list[Found]) -> Iterator[tuple[Former, ArchiveRecord]]:
    for one in found:
        if isinstance(one, Former) and one.line is not None:
            yield one, one.line


def _jobs(found: list[Found]) -> tuple[list[Former], list[Former]]:
    """Those that name their job, each with what all the others know of the same CID, and those that do not."""
    jobs = [one for one in found if isinstance(one, Former)]
    known: dict[str, Former] = {}
    for one in jobs:
        known[one.cid] = known[one.cid].with_what_is_known(one) if one.cid in known else one
    jobs = [one.with_what_is_known(known[one.cid]) for one in jobs if one.line is None]
    return [one for one in jobs if one.job_id is not None], [one for one in jobs if one.job_id is None]


class _Planner:
    """Remembers what is planned already, and looks up what stands."""

    def __init__(self, spool: Spool, ledger: LedgerView | None, archive: Archive) -> None:
        self._ledger, self._archive = ledger, archive
        self._files = {path.name.partition(".")[0] for path in [*spool.arrivals(1_000_000), *spool.opened()]}
        self._keys: dict[Key, Place] = {}
        self._cids: dict[str, str] = {}

    def line(self, former: Former, record: ArchiveRecord) -> Planned:
        """What to do with an archive's line."""
        if _same(former.place.path, self._archive.path):
            return self._known(former, record.job_id, "this file is our archive")
        if record.key in self._keys:
            return self._known(former, record.job_id, f"the same line as {self._in_words(record.key)}")
        if self._archive.find(*record.key) is not None:
            return self._known(former, record.job_id, "this line stands in our archive, or was migrated")
        self._remember(former, record.job_id)
        return Planned(
            place=former.place, action=Action.ARCHIVE, what=former.cid, why=f"job {record.job_id}: {former.says}",
            line=record,
        )  # fmt: skip

    def named(self, former: Former) -> Planned:
        """What to do with a record that names its job."""
        job = _job(former, former.job_id or "")
        key = (job.cid, job.job_id)
        if key in self._keys:
            return self._known(former, job.job_id, f"job {job.job_id} as in {self._in_words(key)}")
        standing = self._standing(job)
        if standing:
            return self._known(former, job.job_id, standing)
        self._remember(former, job.job_id)
        why = f"job {job.job_id}: {former.says}"
        return Planned(place=former.place, action=Action.SUBMIT, what=job.cid, why=why, job=job)

    def look_for(self, cids: set[str]) -> None:
        """Find which of `cids` stand in the archive, among the migrated or in the ledger under whatever job."""
        if not cids:
            return
        for entries, where in ((self._archive.entries, "archived"), (self._archive.migrated, "migrated")):
            for entry in entries():
                if entry.record is not None and entry.record.hash in cids:
                    self._cids.setdefault(entry.record.hash, f"{where} as job {entry.record.job_id}")
        for cid in cids:
            for row in self._rows("SELECT job_id, state FROM job WHERE cid = :cid LIMIT 1", cid=cid):
                self._cids.setdefault(cid, f"job {row['job_id']} is {row['state']}")

    def nameless(self, former: Former) -> Planned:
        """What to do with a record of which nobody says whose job it was."""
        if former.cid in self._cids:
            return self._known(former, None, f"the same CID: {self._cids[former.cid]}")
        return self.named(replace(former, job_id=recovered_name(former.cid)))

    def _standing(self, job: CompletedJob) -> str:
        """Where the job stands already, empty for nowhere."""
        key = job_key(job.cid, job.job_id)
        for row in self._rows("SELECT state FROM job WHERE key = :key", key=key):
            return f"job {job.job_id} is {row['state']} here"
        if key in self._files:
            return f"job {job.job_id} is recorded here"
        if self._archive.find(job.cid, job.job_id) is not None:
            return f"job {job.job_id} stands in our archive, or was migrated"
        return ""

    def _rows(self, sql: str, **parameters: object) -> Rows:
        return self._ledger.rows(sql, **parameters) if self._ledger is not None else []

    def _remember(self, former: Former, job_id: str) -> None:
        self._keys[former.cid, job_id] = former.place
        self._cids.setdefault(former.cid, f"job {job_id} in {self._in_words((former.cid, job_id))}")

    def _known(self, former: Former, job_id: str | None, why: str) -> Planned:
        if job_id is not None:
            self._cids.setdefault(former.cid, why)
        return Planned(place=former.place, action=Action.KNOWN, what=former.cid, why=why)

    def _in_words(self, key: Key) -> str:
        place = self._keys[key]
        return f"{place.path.name}, {place.where}"


def _job(former: Former, job_id: str) -> CompletedJob:
    """The job to submit. It begins to wait now, for its supernode is to be asked before it is given up as too old;
    when it was finished stays in its file."""
    origin = {"imported_from": f"{former.place.path}, {former.place.where}"}
    finished = {"completed_at": former.at.isoformat()} if former.at else {}
    return CompletedJob(
        cid=former.cid, job_id=job_id, size_mb=former.size_mb, type=former.type, node_id=former.node_id,
        flags=(f"imported: {former.says}",), raw=origin | finished,
    )  # fmt: skip


def _same(path: Path, other: Path) -> bool:
    try:
        return path.samefile(other)
    except OSError:
        return False
