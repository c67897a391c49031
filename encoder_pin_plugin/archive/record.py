"""One line of the archive: the operators' eight keys, in their order, as bytes.

Operators read these lines with `wc -l`, `jq` and `while read`, so what is written is exact: compact ASCII JSON, one
line each, the eight keys first, further keys only after them. What is read is forgiven as far as possible: a line
stands for a video, so it is refused only where no CID can be had from it; anything else that is odd is normalised and
named in `flags`.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeGuard

from encoder_pin_plugin.errors import ArchiveError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from encoder_hookspecs.events import ContentType, LocalFallback

Key = tuple[str, str]
"""(hash, job_id): what makes a line this line and no other."""

KEYS = (
    "hash",
    "job_id",
    "size_mb",
    "type",
    "failed_lazy_attempts",
    "local_pin_timestamp",
    "source",
    "node_id",
)
"""The keys of every line, in the order of the operators' document."""

SOURCE = "failed_lazy_pin_fallback"

WITHDRAWN = "withdrawn_at"
"""The further key of a line among the migrated that takes the ones before it back: it waits again."""

MAX_LINE = 64 * 1024
"""Bytes, newline included. Our own lines have about 250; a longer one is nobody's record."""

_CID_CHARACTERS = re.compile(r"[0-9A-Za-z]{40,128}")
_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_UNNAMED = "unnamed"
_LARGEST_EXACT = 2**53


class InvalidLine(ArchiveError):
    """A line of an archive holds no record: the message says what is wrong with it, in a few words."""


@dataclass(frozen=True, kw_only=True)
class ArchiveRecord:
    """A CID that is pinned on an encoder's own node and waits to be migrated.

    Args:
        hash: the CID.
        job_id: the encoder's name for the job.
        size_mb: size in MB (10^6 bytes), None where nobody knows it.
        type: `"file"` or `"directory"`, None where nobody knows it.
        failed_lazy_attempts: how many attempts on the supernode counted.
        local_pin_timestamp: when the local pin was proved: UTC, milliseconds, `Z`.
        source: always `failed_lazy_pin_fallback` in lines of ours.
        node_id: the encoder that holds the content.
        extra: further keys, written after the eight.
        flags: what `parse_line` had to normalise, in words; never written.
    """

    hash: str
    job_id: str
    size_mb: float | None = None
    type: ContentType | None = None
    failed_lazy_attempts: int = 0
    local_pin_timestamp: str = ""
    source: str = SOURCE
    node_id: str = "unknown"
    extra: Mapping[str, object] = field(default_factory=dict, hash=False)
    flags: tuple[str, ...] = field(default=(), compare=False)

    @property
    def key(self) -> Key:
        return self.hash, self.job_id

    def line(self) -> bytes:
        """The record as one line with its newline. Raises `ArchiveError` where it would be no line that reads back:
        longer than `MAX_LINE`, or holding what JSON has no word for."""
        content: dict[str, object] = {name: getattr(self, name) for name in KEYS}
        content.update((name, value) for name, value in self.extra.items() if name not in content)
        try:
            content["size_mb"] = _shortest(self.size_mb)
            line = json.dumps(content, separators=(",", ":"), allow_nan=False).encode("ascii") + b"\n"
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise ArchiveError(f"the record of {self.hash} cannot be written as JSON: {error}") from error
        if len(line) > MAX_LINE:
            raise ArchiveError(f"the record of {self.hash} has {len(line)} bytes, more than {MAX_LINE}")
        return line


def from_fallback(fallback: LocalFallback, node_name: str) -> ArchiveRecord:
    """The record of a local fallback. The node's own word on size and type goes before the host's; `node_name` is
    used where the job does not name its encoder."""
    job, pin = fallback.job, fallback.local_pin
    size = job.size_mb if pin.size_mb is None else pin.size_mb
    return ArchiveRecord(
        hash=job.cid,
        job_id=job.job_id,
        size_mb=None if size is None else round(size, 3),
        type=pin.type or job.type,
        failed_lazy_attempts=fallback.failure.attempts,
        local_pin_timestamp=utc_text(pin.pinned_at),
        node_id=job.node_id or node_name,
    )


def utc_text(moment: datetime) -> str:
    """A moment as the archive writes it: `2025-10-28T10:30:00.000Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_line(line: bytes) -> ArchiveRecord:
    """The record in one line, with or without its newline.

    Raises `InvalidLine`: over-long, not UTF-8, not one JSON object, NUL bytes, a key twice, NaN, or no CID in `hash`.
    """
    flags: list[str] = []
    content = _object(line, flags)
    hash_ = content.pop("hash", None)
    if not isinstance(hash_, str):
        raise InvalidLine("it has no hash" if hash_ is None else "its hash is no text")
    if not _CID_CHARACTERS.fullmatch(hash_):
        raise InvalidLine(f"its hash is no CID: {hash_[:80]!a}")
    return ArchiveRecord(
        hash=hash_,
        job_id=_text(content, "job_id", _UNNAMED, flags),
        size_mb=_size_mb(content.pop("size_mb", None), flags),
        type=_content_type(content.pop("type", None), flags),
        failed_lazy_attempts=_attempts(content, flags),
        local_pin_timestamp=_timestamp(content, flags),
        source=_text(content, "source", SOURCE, flags),
        node_id=_text(content, "node_id", "unknown", flags),
        extra=content,
        flags=tuple(flags),
    )


def _object(line: bytes, flags: list[str]) -> dict[str, object]:
    if len(line) > MAX_LINE:
        raise InvalidLine(f"it has {len(line)} bytes, more than {MAX_LINE}")
    if line.startswith(_BYTE_ORDER_MARK):
        flags.append("starts with a byte order mark")
        line = line[len(_BYTE_ORDER_MARK) :]
    if b"\0" in line:
        raise InvalidLine("it holds NUL bytes")
    try:
        content = _DECODER.decode(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise InvalidLine("it is not UTF-8") from error
    except RecursionError as error:
        raise InvalidLine("it is nested too deeply") from error
    except ValueError as error:
        raise InvalidLine(f"it is not JSON: {error}" if line.strip() else "it is empty") from error
    if not isinstance(content, dict):
        raise InvalidLine("it is JSON, but no object")
    return content


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    content = dict(pairs)
    if len(content) != len(pairs):
        raise InvalidLine("it has a key twice")
    return content


def _no_constant(text: str) -> object:
    raise InvalidLine(f"it holds {text}, which is not JSON")


def _whole_number(text: str) -> object:
    """An integer of any length: Python refuses to convert very long ones, and a line must not be lost for that."""
    return int(text) if len(text) <= 300 else None


def _real_number(text: str) -> object:
    value = float(text)
    return value if math.isfinite(value) else None


_DECODER = json.JSONDecoder(
    strict=False,  # a raw tab in a job id is no reason to lose a video
    object_pairs_hook=_unique,
    parse_constant=_no_constant,
    parse_int=_whole_number,
    parse_float=_real_number,
)


def _text(content: dict[str, object], name: str, default: str, flags: list[str]) -> str:
    value = content.pop(name, None)
    if isinstance(value, str) and value:
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        flags.append(f"{name} is a number")
        return str(value)
    flags.append(f"{name} is missing" if value in (None, "") else f"{name} is no text")
    return default


def _size_mb(value: object, flags: list[str]) -> float | None:
    if _is_number(value) and 0 <= value < 1e12:
        return value
    flags.append("size_mb is not known" if value is None else "size_mb is no size")
    return None


def _content_type(value: object, flags: list[str]) -> ContentType | None:
    if value == "file" or value == "directory":
        return value
    flags.append("type is not known" if value is None else "type is neither file nor directory")
    return None


def _attempts(content: dict[str, object], flags: list[str]) -> int:
    value = content.pop("failed_lazy_attempts", None)
    if _is_number(value) and 0 <= value < _LARGEST_EXACT and value == int(value):
        return int(value)
    flags.append("failed_lazy_attempts is no count")
    return 0


def _timestamp(content: dict[str, object], flags: list[str]) -> str:
    value = content.pop("local_pin_timestamp", None)
    if isinstance(value, str) and _TIMESTAMP.fullmatch(value):
        return value
    flags.append("local_pin_timestamp is not of the form 2025-10-28T10:30:00.000Z")
    return value if isinstance(value, str) else ""


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _shortest(size: float | None) -> float | None:
    """25.0 as 25, as JavaScript writes it, 25.5 as it is."""
    return int(size) if size is not None and size == int(size) else size
