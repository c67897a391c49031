"""The ledger's SQL, and what goes into and comes out of its rows."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from encoder_hookspecs.events import CompletedJob, InvalidEvent, Reason
from encoder_pin_plugin.lazy.jobfile import job_key
from encoder_pin_plugin.lazy.pins import LazyPin, State, to_moment, to_ms

if TYPE_CHECKING:
    from encoder_pin_plugin.lazy.jobfile import Submission
    from encoder_pin_plugin.lazy.pins import Step

OPEN = """
INSERT INTO job (key, cid, job_id, size_mb, type, node_id, completed_at, waiting_since, state, next_at)
VALUES (:key, :cid, :job_id, :size_mb, :type, :node_id, :completed_at, :waiting_since, 'pending', :now)
ON CONFLICT (key) DO UPDATE SET
    size_mb=coalesce(job.size_mb, excluded.size_mb), type=coalesce(job.type, excluded.type),
    state=CASE WHEN closed_at IS NULL THEN state ELSE 'pending' END,
    attempts=CASE WHEN closed_at IS NULL THEN attempts ELSE 0 END,
    tries=CASE WHEN closed_at IS NULL THEN tries ELSE 0 END,
    fallbacks=CASE WHEN closed_at IS NULL THEN fallbacks ELSE 0 END,
    first_tried_at=CASE WHEN closed_at IS NULL THEN first_tried_at END,
    waiting_since=CASE WHEN closed_at IS NULL THEN waiting_since ELSE excluded.waiting_since END,
    next_at=CASE WHEN closed_at IS NULL THEN next_at ELSE excluded.next_at END,
    reason=CASE WHEN closed_at IS NULL THEN reason END, error=CASE WHEN closed_at IS NULL THEN error END,
    hold=CASE WHEN closed_at IS NULL THEN hold END,
    closed_at=NULL, release_at=NULL, whole_at=NULL
"""

_FREE = """
    AND (owner IS NULL OR lease_until IS NULL OR lease_until <= :now OR lease_until > :until)
    AND (:any OR (coalesce(size_mb, 0) < :large AND coalesce(reason, '') NOT IN ('stalled', 'timeout')))
    AND NOT EXISTS (SELECT 1 FROM job AS other WHERE other.cid = job.cid AND other.owner IS NOT NULL
                    AND other.key <> job.key AND other.lease_until > :now AND other.lease_until <= :until)
"""

DUE = f"""
SELECT key, cid FROM job WHERE closed_at IS NULL AND state=:state AND next_at <= :now {_FREE}
ORDER BY next_at LIMIT :limit
"""  # noqa: S608 - only our own text is put in

DUE_BY_AGE = f"""
SELECT key, cid FROM job WHERE closed_at IS NULL AND state=:state AND waiting_since <= :now - :waited {_FREE}
ORDER BY waiting_since LIMIT :limit
"""  # noqa: S608 - only our own text is put in

LEASE = "UPDATE job SET owner=:owner, epoch=epoch+1, lease_until=:until WHERE key=:key RETURNING *"

NEXT_DUE = """
SELECT min(at) AS at FROM (
    SELECT min(next_at) AS at FROM job WHERE closed_at IS NULL AND state='pending' AND next_at > :now
    UNION ALL
    SELECT min(next_at) AS at FROM job WHERE closed_at IS NULL AND state='falling_back' AND next_at > :now)
"""

RELEASE = """
UPDATE job SET release_at=:later WHERE key IN (
    SELECT key FROM job WHERE release_at IS NOT NULL AND (release_at <= :now OR release_at > :later)
    AND NOT EXISTS (SELECT 1 FROM job AS other WHERE other.cid = job.cid AND other.key <> job.key
                    AND (other.closed_at IS NULL OR other.state = 'archived'))
    LIMIT :limit) RETURNING *
"""

STEP = """
UPDATE job SET state=:state, next_at=:now + :delay, attempts=:attempts, tries=:tries, fallbacks=:fallbacks,
    first_tried_at=coalesce(first_tried_at, :now - :took), reason=:reason, error=:error, line=coalesce(:line, line),
    whole_at=:now - :whole_for,
    release_at=CASE WHEN :state = 'pinned' AND hold = 'ours' THEN :now END,
    closed_at=:closed_at, owner=NULL, lease_until=NULL
WHERE key=:key AND owner=:owner AND epoch=:epoch AND closed_at IS NULL
"""

_AGREE = """
UPDATE job SET closed_at=NULL WHERE closed_at IS NOT NULL AND state IN ('pending', 'falling_back');
UPDATE job SET state='pending', next_at=:now
WHERE closed_at IS NULL AND state IN ('pinned', 'archived', 'rejected');
UPDATE job SET state='pending', next_at=:now, closed_at=NULL
WHERE closed_at IS NOT NULL AND key IN (SELECT key FROM submission WHERE closed=0);
UPDATE submission SET closed=0
WHERE closed=1 AND EXISTS (SELECT 1 FROM job WHERE job.key = submission.key AND closed_at IS NULL)
    AND NOT EXISTS (SELECT 1 FROM submission AS other WHERE other.key = submission.key AND other.closed=0)
"""
AGREE = _AGREE.split(";")
"""What one transaction always writes together, and a flipped bit tears apart: in doubt a job is open."""

FINISHED = """
SELECT key, nonce FROM submission WHERE closed=1 AND (
    EXISTS (SELECT 1 FROM job WHERE job.key = submission.key AND closed_at IS NOT NULL)
    OR EXISTS (SELECT 1 FROM submission AS other WHERE other.key = submission.key AND other.closed=0))
LIMIT ?
"""


def job_row(submission: Submission, now: int, wall: int) -> dict[str, object]:
    """What `OPEN` writes for a submission at `now`, the wall clock, which it was completed by, saying `wall`."""
    job = submission.job
    completed_at = to_ms(job.completed_at)
    return {
        "key": submission.key, "cid": job.cid, "job_id": job.job_id, "size_mb": job.size_mb, "type": job.type,
        "node_id": job.node_id, "completed_at": completed_at, "now": now,
        "waiting_since": now - max(0, wall - completed_at),
    }  # fmt: skip


def submission_row(submission: Submission) -> tuple[str, str, bytes]:
    """The row that remembers a submission's file."""
    return submission.nonce, submission.key, submission.body


def step_row(step: Step, now: int) -> dict[str, object]:
    """What `STEP` writes, and the lease that it insists on."""
    error = None if step.error is None else step.error.encode("utf-8", "replace").decode()  # a node's, or a path's
    return {
        "key": step.pin.key, "owner": step.pin.owner, "epoch": step.pin.epoch, "state": step.state,
        "delay": step.delay, "attempts": step.attempts, "tries": step.tries, "fallbacks": step.fallbacks,
        "took": step.took, "reason": step.reason, "error": error, "line": step.line, "whole_for": step.whole_for,
        "closed_at": now if step.state.final else None, "now": now,
    }  # fmt: skip


def lazy_pin(row: sqlite3.Row, *, turn_at: int = 0) -> LazyPin:
    """A job's row as what the worker works with.

    Raises: sqlite3.DatabaseError where it cannot be what was written: SQLite has no checksums of its own.
    """
    try:
        pin = _lazy_pin(row, turn_at)
    except (InvalidEvent, ValueError, OverflowError, OSError, TypeError) as error:
        raise sqlite3.DatabaseError(f"the row of job {row['key']!r} cannot be read: {error}") from error
    if pin.key != job_key(pin.job.cid, pin.job.job_id) or min(pin.attempts, pin.tries, pin.fallbacks) < 0:
        raise sqlite3.DatabaseError(f"the row of job {pin.key} is not what was written")
    return pin


def _lazy_pin(row: sqlite3.Row, turn_at: int) -> LazyPin:
    job = CompletedJob(
        cid=row["cid"], job_id=row["job_id"], size_mb=row["size_mb"], type=row["type"], node_id=row["node_id"],
        completed_at=to_moment(row["completed_at"]),
    )  # fmt: skip
    return LazyPin(
        key=row["key"], job=job, state=State(row["state"]), waiting_since=row["waiting_since"], next_at=row["next_at"],
        attempts=row["attempts"], tries=row["tries"], first_tried_at=row["first_tried_at"],
        reason=Reason(row["reason"]) if row["reason"] else None, error=row["error"], fallbacks=row["fallbacks"],
        hold=row["hold"], whole_at=row["whole_at"], epoch=row["epoch"],
        owner=row["owner"], line=row["line"], closed_at=row["closed_at"], turn_at=turn_at,
    )  # fmt: skip
