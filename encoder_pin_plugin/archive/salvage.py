"""Getting every record out of JSON that may be cut, glued together, or full of zeros.

A former encoder rewrites its file in place, so a crash leaves the beginning of one, and appends without looking at what
stands before, so a crash leaves two records in one line. Its records are flat and short: each is looked for by itself,
and where one is cut in the middle, its CID is taken if that much of it is there.
"""

from __future__ import annotations

import json
import re
from collections import deque
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

LONGEST_RECORD = 4096
"""Characters of the text that one record is looked for in; a former encoder's have some 300."""

MOST_NESTED = 5
"""Objects in one record at most, itself included; a former encoder's have none in them."""

_START = re.compile(r'\{\s*"')
_TEXT = r'"((?:[^"\\\x00-\x1f]|\\.)*)"'
_CID = re.compile(r'"(?:hash|cid)"\s*:\s*"([0-9A-Za-z]{40,128})"')
_JOB_ID = re.compile(rf'"job_id"\s*:\s*{_TEXT}')
_DECODER = json.JSONDecoder()


@dataclass(frozen=True, kw_only=True)
class Salvaged:
    """A record that was found in a text.

    Args:
        offset: of its first character.
        fields: what it says; of a cut one, what could be made out.
        whole: whether it was there to its end.
    """

    offset: int
    fields: Mapping[str, object]
    whole: bool


def salvage(text: str) -> Iterator[Salvaged]:
    """Every record with a CID in `text`, in order, whatever stands between them. Takes time in proportion to the
    text's length, whatever is in it."""
    taken = 0
    for start, following, piece in _places(text):
        if start < taken:
            continue
        try:
            fields, end = _DECODER.raw_decode(piece)
        except (ValueError, RecursionError):
            fields, end = None, 0
        if isinstance(fields, dict) and _names_a_cid(fields):
            yield Salvaged(offset=start, fields=fields, whole=True)
            taken = start + end
        elif cut := _cut(piece[: following - start]):  # what holds other objects is no record: they come next
            yield Salvaged(offset=start, fields=cut, whole=False)


def _places(text: str) -> Iterator[tuple[int, int, str]]:
    """Where a record may begin, where the next one may, and the text to look for it in, which holds only so many
    others: that keeps what is nested without end from being read once for each of its levels."""
    ahead: deque[re.Match[str] | None] = deque()
    for found in chain(_START.finditer(text), [None] * MOST_NESTED):
        ahead.append(found)
        if len(ahead) > MOST_NESTED and (first := ahead.popleft()) is not None:
            following, last = (len(text) if at is None else at.start() for at in (ahead[0], ahead[-1]))
            yield first.start(), following, text[first.start() : min(last, first.start() + LONGEST_RECORD)]


def _names_a_cid(fields: Mapping[str, object]) -> bool:
    return isinstance(fields.get("hash", fields.get("cid")), str)


def _cut(piece: str) -> dict[str, object]:
    """What can be made out of a record that has no end; empty where that is no CID."""
    cid = _CID.search(piece)
    if cid is None:
        return {}
    job_id = _JOB_ID.search(piece)
    return {"hash": cid[1]} | ({"job_id": json.loads(f'"{job_id[1]}"')} if job_id and _is_json(job_id[1]) else {})


def _is_json(inner: str) -> bool:
    try:
        json.loads(f'"{inner}"')
    except ValueError:
        return False
    return True
