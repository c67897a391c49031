"""One event of each kind, to try a plugin with. Authors import them from `encoder_hookspecs.testing`.

Each builder takes the fields to change. The moments are fixed, and the parts of one event agree with one another.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from encoder_hookspecs.events import (
    ArchiveReceipt,
    CompletedJob,
    LazyPinAttempt,
    LazyPinFailure,
    LazyPinSuccess,
    LocalFallback,
    LocalPin,
    Migrated,
    Proof,
    Reason,
)

A_CID = "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG"

COMPLETED_AT = datetime(2025, 10, 28, 10, 30, tzinfo=UTC)


def a_job(**changes: Any) -> CompletedJob:
    """A folder of 25.5 MB, finished on 2025-10-28."""
    job: dict[str, Any] = {"cid": A_CID, "job_id": "job-123", "size_mb": 25.5, "type": "directory"}
    return CompletedJob(**job | {"completed_at": COMPLETED_AT, "node_id": "encoder-node-1"} | changes)


def an_attempt(**changes: Any) -> LazyPinAttempt:
    """The first attempt, refused by the supernode."""
    times = {"started_at": _minutes(1), "ended_at": _minutes(1) + timedelta(seconds=2)}
    return LazyPinAttempt(**_job(changes) | _refused() | times | {"number": 1} | changes)


def a_failure(**changes: Any) -> LazyPinFailure:
    """Three attempts, all refused by the supernode."""
    return LazyPinFailure(**_job(changes) | _refused() | {"attempts": 3, "first_tried_at": _minutes(1)} | changes)


def a_local_pin(**changes: Any) -> LocalPin:
    """The sample job's content, whole on the encoder's own node."""
    pin: dict[str, Any] = {"cid": A_CID, "node": "/ip4/127.0.0.1/tcp/5001", "proof": Proof.WHOLE}
    return LocalPin(**pin | {"size_mb": 25.5, "type": "directory", "pinned_at": _minutes(30)} | changes)


def a_fallback(**changes: Any) -> LocalFallback:
    """The sample failure and the local pin that saved it; change `job`, and both are about that job."""
    job = _job(changes)["job"]
    return LocalFallback(**{"job": job, "failure": a_failure(job=job), "local_pin": a_local_pin(cid=job.cid)} | changes)


def a_receipt(**changes: Any) -> ArchiveReceipt:
    """A line in `local-fallback-pins.jsonl`."""
    receipt: dict[str, Any] = {"path": "local-fallback-pins.jsonl", "archived_at": _minutes(30)}
    return ArchiveReceipt(**receipt | changes)


def a_success(**changes: Any) -> LazyPinSuccess:
    """Pinned on the supernode at the first attempt."""
    pin = {"node": "http://supernode:5001", "proof": Proof.PINNED, "attempts": 1, "pinned_at": _minutes(2)}
    return LazyPinSuccess(**_job(changes) | pin | changes)


def a_migration(**changes: Any) -> Migrated:
    """The sample job's content, moved to a permanent Kubo node."""
    record: dict[str, Any] = {"cid": A_CID, "job_id": "job-123", "target": "kubo+http://permanent:5001"}
    return Migrated(**record | {"proof": Proof.WHOLE, "size_mb": 25.5, "migrated_at": _minutes(600)} | changes)


def _job(changes: dict[str, Any]) -> dict[str, Any]:
    return {"job": changes.get("job") or a_job()}


def _refused() -> dict[str, Any]:
    return {"reason": Reason.REFUSED, "error": "http://supernode:5001: connection refused"}


def _minutes(count: int) -> datetime:
    return COMPLETED_AT + timedelta(minutes=count)
