"""The ledger in numbers: how many jobs are in which state, which is the oldest, what their last errors are."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from encoder_pin_plugin.operate.ledger_view import view_ledger

if TYPE_CHECKING:
    from pathlib import Path

    from encoder_pin_plugin.operate.ledger_view import LedgerView

_OPEN = "FROM job WHERE closed_at IS NULL"
_HELD = """
SELECT count(*) AS jobs, coalesce(sum(size_mb), 0) AS mb, coalesce(sum(size_mb IS NULL), 0) AS unknown FROM (
    SELECT cid, max(size_mb) AS size_mb FROM (
        SELECT cid, size_mb FROM job WHERE closed_at IS NULL AND hold = 'ours'
        UNION ALL SELECT cid, size_mb FROM job WHERE release_at IS NOT NULL) GROUP BY cid)
"""


@dataclass(frozen=True, kw_only=True)
class OldestJob:
    """The job that waits longest."""

    job_id: str
    cid: str
    state: str
    attempts: int
    age_seconds: float
    error: str | None


@dataclass(frozen=True, kw_only=True)
class Held:
    """CIDs pinned on the local node at ingest, until the supernode's copy is proved."""

    cids: int
    size_mb: float
    without_size: int


@dataclass(frozen=True, kw_only=True)
class JobsReport:
    """The jobs that the ledger knows.

    Args:
        pending, falling_back: open jobs by state.
        in_flight: of them, those that a worker is busy with.
        overdue: open for longer than FALLBACK_AFTER.
        fallbacks_failing: open jobs whose local fallback has failed.
        fallback_error: the last error of one of these.
        pinned, archived, rejected: finished jobs.
        last_pinned_at: wall-clock milliseconds of the last success.
        attempts: open jobs by the number of attempts that counted.
        last_errors: open jobs by the reason of their last failure.
    """

    pending: int
    falling_back: int
    in_flight: int
    overdue: int
    fallbacks_failing: int
    fallback_error: str | None
    pinned: int
    archived: int
    rejected: int
    last_pinned_at: int | None
    attempts: dict[str, int]
    last_errors: dict[str, int]
    oldest: OldestJob | None
    held: Held

    @property
    def open(self) -> int:
        return self.pending + self.falling_back


def jobs_report(path: Path, fallback_after: float) -> JobsReport:
    """Ask the ledger at `path`; where there is none, all is zero. Raises LedgerError."""
    now = int(time.time() * 1000)
    with view_ledger(path) as ledger:
        if ledger is None:
            return _NOTHING
        return _ask(ledger, now, now - int(fallback_after * 1000))


_NOTHING = JobsReport(
    pending=0, falling_back=0, in_flight=0, overdue=0, fallbacks_failing=0, fallback_error=None, pinned=0, archived=0,
    rejected=0, last_pinned_at=None, attempts={}, last_errors={}, oldest=None,
    held=Held(cids=0, size_mb=0.0, without_size=0),
)  # fmt: skip


def _ask(ledger: LedgerView, now: int, overdue: int) -> JobsReport:
    waiting = _counts(ledger, f"SELECT state, count(*) {_OPEN} GROUP BY state")
    ended = _counts(ledger, "SELECT state, count(*) FROM job WHERE closed_at IS NOT NULL GROUP BY state")
    failing = f"{_OPEN} AND state = 'falling_back' AND fallbacks > 0"
    errors = ledger.rows(f"SELECT error {failing} ORDER BY next_at DESC LIMIT 1")
    return JobsReport(
        pending=waiting.get("pending", 0),
        falling_back=waiting.get("falling_back", 0),
        in_flight=ledger.number(f"SELECT count(*) {_OPEN} AND owner IS NOT NULL"),
        overdue=ledger.number(f"SELECT count(*) {_OPEN} AND waiting_since <= :then", then=overdue),
        fallbacks_failing=ledger.number(f"SELECT count(*) {failing}"),
        fallback_error=errors[0]["error"] if errors else None,
        pinned=ended.get("pinned", 0),
        archived=ended.get("archived", 0),
        rejected=ended.get("rejected", 0),
        last_pinned_at=ledger.number("SELECT max(closed_at) FROM job WHERE state = 'pinned'") or None,
        attempts=_counts(ledger, f"SELECT attempts, count(*) {_OPEN} GROUP BY attempts ORDER BY attempts"),
        last_errors=_counts(ledger, f"SELECT reason, count(*) {_OPEN} AND reason IS NOT NULL GROUP BY reason"),
        oldest=_oldest(ledger, now),
        held=_held(ledger),
    )


def _counts(ledger: LedgerView, sql: str) -> dict[str, int]:
    return {str(row[0]): int(row[1]) for row in ledger.rows(sql)}


def _oldest(ledger: LedgerView, now: int) -> OldestJob | None:
    for row in ledger.rows(f"SELECT * {_OPEN} ORDER BY waiting_since LIMIT 1"):
        return OldestJob(
            job_id=row["job_id"],
            cid=row["cid"],
            state=row["state"],
            attempts=row["attempts"],
            age_seconds=max(now - row["waiting_since"], 0) / 1000,
            error=row["error"],
        )
    return None


def _held(ledger: LedgerView) -> Held:
    (row,) = ledger.rows(_HELD)
    return Held(cids=row["jobs"], size_mb=round(row["mb"], 3), without_size=row["unknown"])
