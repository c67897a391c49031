"""Odd fields of a finished job, made usable: each function returns the value to keep, and notes what it changed.

Nothing here raises, whatever the value: an odd field must not cost a video.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Literal, Protocol

ContentType = Literal["file", "directory"]

MAX_JOB_ID_LENGTH = 256
"""Characters. A longer job id is cut in the middle, where a hash of all of it stands for what is left out: different
ids stay different, and the same one stays the same. `CompletedJob.raw` keeps its first 4096 characters."""

_HASH_LENGTH = 16
"""Hexadecimal digits: 64 bits."""

_NOT_PRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\ud800-\udfff\u200e\u200f\ufeff\u2066-\u2069]")


class Keep(Protocol):
    """Notes that a field was normalised: its name, what it held, and why."""

    def __call__(self, name: str, value: object, why: str) -> None: ...


def job_id(value: object, keep: Keep) -> str:
    """One printable line of at most `MAX_JOB_ID_LENGTH` characters, never empty."""
    text = value if isinstance(value, str) else as_text(value)
    clean = _NOT_PRINTABLE.sub("\ufffd", text).strip()
    if not clean:
        keep("job_id", value, "job_id is empty")
        return "unnamed"
    if len(clean) > MAX_JOB_ID_LENGTH:
        keep("job_id", value, f"job_id is longer than {MAX_JOB_ID_LENGTH} characters: shortened")
        return _shortened(clean, text)
    if not isinstance(value, str) or clean != value:
        keep("job_id", value, "job_id was no text, or had characters that cannot be printed or spaces around it")
    return clean


def _shortened(clean: str, text: str) -> str:
    """Both ends of `clean`, and between them what tells `text` from others with the same ends."""
    import hashlib  # not for what is short

    hashed = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH_LENGTH]
    end = (MAX_JOB_ID_LENGTH - _HASH_LENGTH) // 2 - 1
    return f"{clean[:end]}…{hashed}…{clean[-end:]}"


def size_mb(value: object, keep: Keep) -> float | None:
    """A size that can be summed, or None."""
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e12:  # NaN is never between
        return float(value)
    keep("size_mb", value, f"size_mb is not a size: {as_text(value, 40)}")
    return None


def content_type(value: object, keep: Keep) -> ContentType | None:
    """One of the two types, or None."""
    if value is None:
        return None
    if isinstance(value, str) and value in ("file", "directory"):
        return "file" if value == "file" else "directory"
    keep("type", value, f"type is neither 'file' nor 'directory': {as_text(value, 40)}")
    return None


def moment(value: object, keep: Keep) -> datetime:
    """A moment in UTC; now where it was none. A naive one is read as UTC."""
    if not isinstance(value, datetime):
        keep("completed_at", value, f"completed_at is not a datetime: {as_text(value, 40)}")
        return datetime.now(UTC)
    try:
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except Exception as error:  # noqa: BLE001 - out of range, or a time zone of somebody's own that fails
        keep("completed_at", value, f"completed_at cannot be told in UTC: {type(error).__name__}")
        return datetime.now(UTC)


def node_id(value: object, keep: Keep) -> str | None:
    """One printable line, or None."""
    if value is None:
        return None
    text = value if isinstance(value, str) else as_text(value)
    clean = _NOT_PRINTABLE.sub("\ufffd", text).strip()[:MAX_JOB_ID_LENGTH].strip()
    if not isinstance(value, str) or clean != value:
        keep("node_id", value, "node_id was no text, was too long, or had characters that cannot be printed")
    return clean or None


def as_text(value: object, limit: int = 4096) -> str:
    """`value` as text of bounded length, whatever its own `repr` does."""
    if isinstance(value, str):
        text = value
    else:
        try:
            text = repr(value)
        except Exception as error:  # noqa: BLE001 - a hostile __repr__ must not cost a video
            text = f"<{type(value).__name__}: {type(error).__name__} in its repr>"
    clean = text.encode("utf-8", "replace").decode("utf-8")
    return clean if len(clean) <= limit else f"{clean[:limit]}… ({len(clean)} characters)"
