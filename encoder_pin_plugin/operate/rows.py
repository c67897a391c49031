"""Single jobs, wherever they stand: in the ledger, arrived and not yet indexed, or set aside as rejected."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from encoder_pin_plugin.errors import InvalidJobFile, StorageError
from encoder_pin_plugin.lazy.pins import to_ms
from encoder_pin_plugin.operate.rejects import rejected_files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from encoder_pin_plugin.lazy.jobfile import Submission
    from encoder_pin_plugin.lazy.spool import Spool
    from encoder_pin_plugin.operate.ledger_view import LedgerView, Row
    from encoder_pin_plugin.operate.rejects import RejectedFile

ARRIVED = "arrived"
"""What we call the state of a job whose file no worker has indexed yet."""

REJECTED = "rejected"

STATES = ("open", ARRIVED, "pending", "falling_back", "overdue", "pinned", "archived", REJECTED, "all")

_WHERE = {
    "open": "closed_at IS NULL",
    "pending": "closed_at IS NULL AND state = 'pending'",
    "falling_back": "closed_at IS NULL AND state = 'falling_back'",
    "overdue": "closed_at IS NULL AND waiting_since <= :overdue",
    "pinned": "closed_at IS NOT NULL AND state = 'pinned'",
    "archived": "closed_at IS NOT NULL AND state = 'archived'",
    "rejected": "0",  # their files say it
    ARRIVED: "0",
    "all": "NOT (state = 'rejected' AND closed_at IS NOT NULL)",
}


@dataclass(frozen=True, kw_only=True)
class JobRow:
    """One job for a person. Times in wall-clock milliseconds, sizes in MB."""

    key: str
    job_id: str | None
    cid: str | None
    state: str
    size_mb: float | None = None
    type: str | None = None
    node_id: str | None = None
    attempts: int = 0
    fallbacks: int = 0
    in_flight: bool = False
    waiting_since: int | None = None
    next_at: int | None = None
    closed_at: int | None = None
    reason: str | None = None
    error: str | None = None
    held: str | None = None
    file: str | None = None

    @property
    def open(self) -> bool:
        return self.closed_at is None and self.state != REJECTED


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which jobs are asked for.

    Args:
        state: one of `STATES`.
        cid: in canonical form, None for any.
        overdue: received at or before this time, wall-clock milliseconds.
        limit: how many at most of each kind.
    """

    state: str
    cid: str | None
    overdue: int
    limit: int


def indexed_jobs(ledger: LedgerView, wanted: Wanted) -> tuple[list[JobRow], int]:
    """The ledger's jobs, those that wait longest first and the newest finished ones after; and how many there are."""
    where = _WHERE[wanted.state] + (" AND cid = :cid" if wanted.cid else "")
    named = {"cid": wanted.cid, "overdue": wanted.overdue, "limit": wanted.limit}
    total = ledger.number(f"SELECT count(*) FROM job WHERE {where}", **named)  # noqa: S608 - our own words
    order = "closed_at IS NOT NULL, closed_at DESC, waiting_since"
    rows = ledger.rows(f"SELECT * FROM job WHERE {where} ORDER BY {order} LIMIT :limit", **named)  # noqa: S608 - likewise
    return [row_of(row) for row in rows], total


def row_of(row: Row) -> JobRow:
    """The job of a ledger's row."""
    return JobRow(
        key=row["key"],
        job_id=row["job_id"],
        cid=row["cid"],
        state=row["state"],
        size_mb=row["size_mb"],
        type=row["type"],
        node_id=row["node_id"],
        attempts=row["attempts"],
        fallbacks=row["fallbacks"],
        in_flight=row["owner"] is not None,
        waiting_since=row["waiting_since"],
        next_at=row["next_at"] if row["closed_at"] is None else None,
        closed_at=row["closed_at"],
        reason=row["reason"],
        error=row["error"],
        held=row["hold"],
    )


def arrived_jobs(spool: Spool) -> Iterator[JobRow]:
    """Jobs whose files stand in `new/`. A file that holds none is told as it is. Raises StorageError."""
    for path in spool.arrivals(1_000_000):
        try:
            at = int(path.lstat().st_mtime * 1000)
        except FileNotFoundError:  # a worker has taken it in
            continue
        submission, problem = _read(spool, path)
        if submission is not None or problem:
            yield _row_of_file(path, ARRIVED, submission, error=problem or None, waiting_since=at)


def opened_jobs(spool: Spool) -> Iterator[JobRow]:
    """Jobs by their files in `open/`, where the ledger cannot say in which state they are. Raises StorageError."""
    for path in sorted(spool.opened()):
        submission, problem = _read(spool, path)
        if submission is not None or problem:
            since = to_ms(submission.job.completed_at) if submission else None
            yield _row_of_file(path, "open", submission, error=problem or None, waiting_since=since)


def rejected_jobs(spool: Spool) -> Iterator[JobRow]:
    """Files that were set aside, the oldest first. Raises StorageError."""
    for file in rejected_files(spool):
        yield rejected_job(spool, file)


def rejected_job(spool: Spool, file: RejectedFile) -> JobRow:
    """The job of a file that was set aside, as far as one can be made out."""
    submission, _ = _read(spool, file.path)
    at = int((time.time() - file.age_seconds) * 1000)
    return _row_of_file(file.path, REJECTED, submission, error=file.why, waiting_since=at)


def first(rows: Iterator[JobRow], wanted: Wanted) -> list[JobRow]:
    """The first rows with the CID that is asked for."""
    return list(islice((row for row in rows if not wanted.cid or row.cid == wanted.cid), wanted.limit))


def _read(spool: Spool, path: Path) -> tuple[Submission | None, str]:
    try:
        return spool.read(path), ""
    except FileNotFoundError:
        return None, ""
    except (InvalidJobFile, StorageError) as error:
        return None, str(error)


_OUR_NAME = re.compile(r"([0-9a-f]{32})\.[0-9a-f]{16}(\.[0-9a-f]{6})?")


def _row_of_file(
    path: Path, state: str, submission: Submission | None, *, error: str | None, waiting_since: int | None
) -> JobRow:
    ours = _OUR_NAME.fullmatch(path.name)
    job = submission.job if submission else None
    return JobRow(
        key=submission.key if submission else (ours[1] if ours else path.name),
        job_id=job.job_id if job else None,
        cid=job.cid if job else None,
        state=state,
        size_mb=job.size_mb if job else None,
        type=job.type if job else None,
        node_id=job.node_id if job else None,
        waiting_since=waiting_since,
        error=error,
        file=str(path),
    )
