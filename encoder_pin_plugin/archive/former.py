"""What a former encoder's files say about one CID, whichever file it was: made usable field by field, or left with why.

Nothing that these files claim is trusted: a CID is decoded, a size must be one, and "synced" only means that somebody
once believed a status code. What was known is taken over; what is odd becomes "not known" and never costs a video.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path  # noqa: TC003 - a field of records
from typing import TYPE_CHECKING

from encoder_pin_plugin.errors import InvalidCid
from encoder_pin_plugin.nodes.cid import canonical

if TYPE_CHECKING:
    from collections.abc import Mapping

    from encoder_hookspecs.events import ContentType
    from encoder_pin_plugin.archive.record import ArchiveRecord

INSTALLERS_TEST = "test_init_hash"
"""The row that the former encoder's installer writes to see that its database works."""

_EARLIEST, _LATEST = 1_000_000_000, 10_000_000_000
"""Seconds since 1970 that can be meant: the years 2001 to 2286. The same in milliseconds lies beyond."""

_LARGEST_MB = 1e12


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where something was found: a file, and where in it, in words such as "line 3"."""

    path: Path
    where: str


@dataclass(frozen=True, kw_only=True)
class Former:
    """A CID that a former encoder left behind.

    Args:
        cid: in canonical form.
        job_id: None where the file does not say which job it was.
        size_mb, type, at, node_id: what the file says; None where it does not, or nothing usable.
        says: what the file takes its state to be, in its own words.
        line: the record, where it is a line of an archive: it is safe on a node of its own already.
        place: where it was found.
    """

    cid: str
    place: Place
    says: str
    job_id: str | None = None
    size_mb: float | None = None
    type: ContentType | None = None
    at: datetime | None = None
    node_id: str | None = None
    line: ArchiveRecord | None = None

    def with_what_is_known(self, other: Former) -> Former:
        """This one, with the other's word on what this one does not know."""
        return replace(
            self,
            size_mb=other.size_mb if self.size_mb is None else self.size_mb,
            type=self.type or other.type,
            at=self.at or other.at,
            node_id=self.node_id or other.node_id,
        )


@dataclass(frozen=True, kw_only=True)
class Left:
    """Something that is not taken over.

    Args:
        place: where it was found.
        what: its beginning.
        why: in words.
        fault: whether it may have been a video that could not be made out, so that a person should look.
    """

    place: Place
    what: str
    why: str
    fault: bool = True


Found = Former | Left


def former_of(fields: Mapping[str, object], place: Place, says: str) -> Found:
    """A record made of a former file's fields, under any of the names that these files use."""
    text = fields.get("hash", fields.get("cid"))
    if text == INSTALLERS_TEST:
        return Left(place=place, what=INSTALLERS_TEST, why="the installer's own test, no video", fault=False)
    if not isinstance(text, str):
        return Left(place=place, what=_short(text), why="it has no CID")
    try:
        cid = canonical(text.strip())
    except InvalidCid as error:
        return Left(place=place, what=_short(text), why=str(error))
    return Former(
        cid=cid,
        place=place,
        says=says,
        job_id=_text(fields.get("job_id")),
        size_mb=_size(fields),
        type=_type(fields),
        at=_first_moment(fields),
        node_id=_node(fields.get("node_id")),
    )


def _short(value: object) -> str:
    return str(value)[:80] if isinstance(value, str | int | float) else type(value).__name__


def _text(value: object) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) and value.strip() else None


def _node(value: object) -> str | None:
    text = _text(value)
    return None if text == "unknown" else text


def _size(fields: Mapping[str, object]) -> float | None:
    """In MB. A zero says nothing: the former encoder writes it for every directory."""
    for name, unit in (("size_mb", 1.0), ("size_bytes", 1e6), ("size", 1e6)):
        value = fields.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < _LARGEST_MB * unit:
            return round(value / unit, 3)
    return None


def _type(fields: Mapping[str, object]) -> ContentType | None:
    for name in ("content_type", "type"):
        if fields.get(name) in ("file", "directory"):
            return "file" if fields[name] == "file" else "directory"
    return None


def _first_moment(fields: Mapping[str, object]) -> datetime | None:
    for name in ("added_at", "pin_timestamp", "timestamp", "pinned_at", "created_at"):
        moment = _moment(fields.get(name))
        if moment is not None:
            return moment
    return None


def _moment(value: object) -> datetime | None:
    """ISO 8601, SQLite's form of it (both UTC), or seconds or milliseconds since 1970."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        for unit in (1, 1000):
            if _EARLIEST * unit <= value < _LATEST * unit:
                return datetime.fromtimestamp(value / unit, UTC)
        return None
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
