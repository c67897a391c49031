"""The frozen records that travel between an encoder, its sites' plugins and the defaults.

Plain data only: no client, no logger, no settings. Every field is keyword-only, so that a record can grow without
breaking anybody. An odd value never costs a video: `CompletedJob` refuses only what can be no job at all, a CID
that is none; whatever else is odd is normalised, named in `flags`, and kept in `raw` as it came.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping  # noqa: TC003 - at runtime too: `get_type_hints` must work on an event
from dataclasses import dataclass, field
from datetime import UTC, datetime

from encoder_hookspecs import normalise

ContentType = normalise.ContentType

MAX_CID_LENGTH = 128
"""Characters. What networks pin has 46 (v0) to 73 (v1 in base16); an identity CID could be of any length."""

_CID_CHARACTERS = re.compile(rf"[0-9A-Za-z_-]{{40,{MAX_CID_LENGTH}}}")


class InvalidEvent(ValueError):
    """A record that can mean nothing: the message says which field, what it held, and what is expected."""


class Reason(enum.StrEnum):
    """Why an attempt on a node failed. The words are written to logs and ledgers: none is ever renamed."""

    REFUSED = "refused"
    """Nobody answers at the node's address: connection refused, unknown host, TLS failure."""
    TIMEOUT = "timeout"
    """The node took the call and gave no complete answer in the time allowed."""
    STALLED = "stalled"
    """The pin was under way and made no progress for the stall limit."""
    CUT = "cut"
    """The connection broke in mid answer."""
    NODE_ERROR = "node_error"
    """The node answered with an error of its own."""
    NODE_FULL = "node_full"
    """The node has no space left."""
    BAD_REPLY = "bad_reply"
    """The answer was not a node's: HTML, a redirect, an empty 200, garbage."""
    UNPROVED = "unproved"
    """The node said yes, and on a second question it was not so."""
    NOT_ALLOWED = "not_allowed"
    """401, 403, 404, 405: credentials or address are wrong. A setting to correct, not a failed attempt."""
    CONTENT_MISSING = "content_missing"
    """The node says that it cannot find the blocks."""
    TOO_OLD = "too_old"
    """No attempt: the job has waited longer than FALLBACK_AFTER."""
    PLUGIN = "plugin"
    """A site plugin gave up on the job."""


@dataclass(frozen=True, kw_only=True)
class CompletedJob:
    """An encoder finished a job and has its CID.

    Args:
        cid: the content identifier, bare (no `/ipfs/`, no URL). Anything that cannot be one raises `InvalidEvent`.
        job_id: the encoder's name for the job. Empty or odd ones are normalised and flagged.
        size_mb: size in MB (10^6 bytes), or None where the host does not know it. Negative, NaN and infinite
            sizes become None and are flagged.
        type: `"file"`, `"directory"`, or None where the host does not know.
        completed_at: when the job was finished, timezone-aware; default now. A naive one is read as UTC.
        node_id: the encoder's name; None means the name in the settings.
        flags: what was normalised, in words; filled by the record itself.
        raw: the fields that were normalised, as they came (as text).

    Example:
        >>> job = CompletedJob(cid="QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG", job_id="job-123", size_mb=-1)
        >>> job.size_mb, job.flags
        (None, ('size_mb is not a size: -1',))
    """

    cid: str
    job_id: str
    size_mb: float | None = None
    type: ContentType | None = None
    completed_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    node_id: str | None = None
    flags: tuple[str, ...] = ()
    raw: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        _check_cid(self.cid)
        _set(self, "cid", str.__str__(self.cid))  # a subclass of str may show itself as something else
        flags, raw = list(self.flags), dict(self.raw)

        def keep(name: str, value: object, why: str) -> None:
            flags.append(why)
            raw.setdefault(name, normalise.as_text(value))

        _set(self, "job_id", normalise.job_id(self.job_id, keep))
        _set(self, "size_mb", normalise.size_mb(self.size_mb, keep))
        _set(self, "type", normalise.content_type(self.type, keep))
        _set(self, "completed_at", normalise.moment(self.completed_at, keep))
        _set(self, "node_id", normalise.node_id(self.node_id, keep))
        _set(self, "flags", tuple(flags))
        _set(self, "raw", raw)  # a plain dict: `asdict`, `copy` and `pickle` must work on an event


@dataclass(frozen=True, kw_only=True)
class LazyPinAttempt:
    """One failed try to pin a job's CID on the supernode.

    Args:
        job: the job.
        number: this attempt's number among those that count, from 1. A try that does not count (see `counts`) carries
            the number of the last one that did, 0 if none did yet.
        error: the failure in words, without secrets.
        reason: the failure in one word.
        started_at, ended_at: when, timezone-aware UTC.
        counts: whether this try is one of those that use up LOCAL_FALLBACK_THRESHOLD.
    """

    job: CompletedJob
    number: int
    error: str
    reason: Reason
    started_at: datetime
    ended_at: datetime
    counts: bool = True


@dataclass(frozen=True, kw_only=True)
class RetryIn:
    """Decision: try the lazy pin again in `seconds` (clamped to 1 s … LAZY_PIN_MAX_BACKOFF)."""

    seconds: float


@dataclass(frozen=True, kw_only=True)
class GiveUp:
    """Decision: no further attempt, the local fallback is next."""

    why: str = ""


@dataclass(frozen=True, kw_only=True)
class LazyPinFailure:
    """The lazy pin of a job has failed for good: its content needs the local fallback.

    Args:
        job: the job.
        attempts: how many attempts counted.
        reason, error: of the last attempt, or `Reason.TOO_OLD` where the time ran out first.
        first_tried_at: when the first attempt started, None if there was none.
    """

    job: CompletedJob
    attempts: int
    reason: Reason
    error: str
    first_tried_at: datetime | None = None


class Proof(enum.StrEnum):
    """How strongly a node's yes is backed."""

    PINNED = "pinned"
    """The node's own record says so, on a question of its own after the pin."""
    WHOLE = "whole"
    """Every block is there, now, without fetching."""
    RETRIEVED = "retrieved"
    """The bytes came back and hash to the CID."""


@dataclass(frozen=True, kw_only=True)
class LocalPin:
    """A CID is pinned on the encoder's own node.

    Args:
        cid: what was pinned: the job's CID.
        node: the node's address, without credentials.
        proof: the strongest proof obtained.
        size_mb, type: of the DAG, where the node told.
        pinned_at: timezone-aware UTC.
        made: whether it had to be pinned just now: a node on another machine may not have it on its disk yet.
    """

    cid: str
    node: str
    proof: Proof
    size_mb: float | None = None
    type: ContentType | None = None
    pinned_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    made: bool = False


@dataclass(frozen=True, kw_only=True)
class LocalFallback:
    """A job's content is safe on the local node, and waits to be archived."""

    job: CompletedJob
    failure: LazyPinFailure
    local_pin: LocalPin


@dataclass(frozen=True, kw_only=True)
class ArchiveReceipt:
    """A local fallback stands in an archive, durably.

    Args:
        path: the file that holds the line.
        archived_at: timezone-aware UTC.
    """

    path: str
    archived_at: datetime = field(default_factory=lambda: datetime.now(UTC))


@dataclass(frozen=True, kw_only=True)
class LazyPinSuccess:
    """A job's CID is pinned on the supernode, and proved so."""

    job: CompletedJob
    node: str
    proof: Proof
    attempts: int
    pinned_at: datetime = field(default_factory=lambda: datetime.now(UTC))


@dataclass(frozen=True, kw_only=True)
class Migrated:
    """An archived CID is pinned on a permanent target, and proved so."""

    cid: str
    job_id: str
    target: str
    proof: Proof
    size_mb: float | None = None
    migrated_at: datetime = field(default_factory=lambda: datetime.now(UTC))


def _set(record: object, name: str, value: object) -> None:
    object.__setattr__(record, name, value)


def _check_cid(cid: object) -> None:
    if not isinstance(cid, str):
        raise InvalidEvent(f"cid must be a string such as 'bafy…' or 'Qm…', got {type(cid).__name__}")
    if not _CID_CHARACTERS.fullmatch(cid):
        text = normalise.as_text(cid, 80)
        raise InvalidEvent(
            f"cid {text!r} is not a CID: 40 to {MAX_CID_LENGTH} letters and digits, such as 'bafy…' or 'Qm…',"
            " with no path, URL or spaces around it"
        )
