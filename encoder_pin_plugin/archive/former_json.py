"""A former encoder's JSON: the queue that it rewrites in place, and the lists that it appends to."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from encoder_pin_plugin import durable
from encoder_pin_plugin.archive.former import Former, Found, Left, Place, former_of
from encoder_pin_plugin.archive.reading import Entry, read_entries
from encoder_pin_plugin.archive.record import SOURCE, parse_line
from encoder_pin_plugin.archive.salvage import Salvaged, salvage
from encoder_pin_plugin.durable import storage_errors
from encoder_pin_plugin.errors import ArchiveError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

LARGEST_QUEUE = 16 * 1024 * 1024
"""Bytes. A former encoder keeps at most 1,000 records in it, some 300 KB."""

_SAYS = {"failed_pin": "given up on", "local_fallback_pin": "pinned on the encoder's own node"}


def read_queue(path: Path) -> Iterator[Found]:
    """What stands in a `pending_pins.json`, also in one that is torn. Raises StorageError."""
    with storage_errors("read", path):
        body = durable.read_regular(path.resolve(), LARGEST_QUEUE)
    if not body.strip():
        yield _nothing(path, "it is empty: a crash while it was being rewritten leaves it so")
        return
    if not body.strip(b"\0 \r\n\t"):
        yield _nothing(path, "it holds nothing but zeros: the disk had its size and not yet its content")
        return
    text = body.decode("utf-8", "replace")
    records = _records(text)
    if records is None:
        yield from _torn(path, text)
        return
    for number, fields in enumerate(records, start=1):
        place = Place(path=path, where=f"entry {number}")
        if isinstance(fields, dict):
            yield former_of(fields, place, "pending")
        else:
            yield Left(place=place, what=str(fields)[:80], why="it is no record")


def read_list(path: Path) -> Iterator[Found]:
    """What stands in a file of one record a line, of whichever kind each line is. Raises StorageError, ArchiveError."""
    for entry in read_entries(path, follow=True):
        yield from _in_line(entry, Place(path=path, where=f"line {entry.number}"))


def _nothing(path: Path, why: str) -> Left:
    return Left(place=Place(path=path, where="the whole file"), what="", why=why)


def _records(text: str) -> list[object] | None:
    """The queue's records, None where it is not whole, or something else."""
    try:
        content = json.loads(text.removeprefix("\ufeff"))
    except (ValueError, RecursionError):
        return None
    if isinstance(content, dict):
        content = content.get("pending_pins")
    return content if isinstance(content, list) else None


def _torn(path: Path, text: str) -> Iterator[Found]:
    """Every record of a queue that is no JSON as a whole, and a word on what it lost."""
    count = 0
    for found in salvage(text):
        count += 1
        yield _of(found, Place(path=path, where=f"character {found.offset + 1}"), "pending")
    got = f"{count} records were found in it" if count else "no record was found in it"
    yield _nothing(path, f"it is damaged or torn: {got}, and what followed is lost")


def _of(found: Salvaged, place: Place, says: str) -> Found:
    return former_of(found.fields, place, says if found.whole else f"{says} (its record is cut)")


def _in_line(entry: Entry, place: Place) -> Iterator[Found]:
    text = entry.raw.decode("utf-8", "replace").strip("\0 \r\n\t\ufeff")
    if not text:
        return
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        yield from _salvaged(text, place, entry)
        return
    if not isinstance(fields, dict):
        yield Left(place=place, what=text[:80], why="it is no record")
    elif fields.get("source") == SOURCE or "local_pin_timestamp" in fields:
        yield _archived(entry, fields, place)
    else:
        yield former_of(fields, place, _says(fields))


def _says(fields: Mapping[str, object]) -> str:
    return _SAYS.get(str(fields.get("type")), "recorded")


def _archived(entry: Entry, fields: Mapping[str, object], place: Place) -> Found:
    """A line of a former archive, as it stands; a torn one, being whole JSON all the same, is one too."""
    found = former_of(fields, place, "pinned on the encoder's own node, archived")
    if isinstance(found, Left):
        return found
    try:
        record = entry.record or parse_line(entry.raw)  # a torn one is no line yet, and may say all the same
        record = replace(record, hash=found.cid, flags=())
        record.line()  # where it is too long for one of ours, it is a job: one line holds up no others
    except ArchiveError:
        return replace(found, says="archived, in an odd line")
    return replace(found, line=record, job_id=record.job_id)


def _salvaged(text: str, place: Place, entry: Entry) -> Iterator[Found]:
    """What can be had from a line that is no JSON: two records glued together, or a cut one."""
    found = [_of(one, place, "recorded") for one in salvage(text)]
    yield from found
    if not any(isinstance(one, Former) for one in found):
        yield Left(place=place, what=text[:80], why=entry.problem or "it is no JSON")
