"""How an input becomes another: bits, pieces, doublings, nasty bytes; where it holds JSON, other values in that."""

from __future__ import annotations

import json
import random
from typing import Any

LONGEST = 32_000
"""Bytes that a mutated input may have."""

_NASTY = [
    b"\x00", b"\xff\xfe", b"\xed\xa0\x80", b"\r\n", b"1e999", b"-0", b"NaN", b"9" * 5000, b"[" * 3000, b'{"a":' * 2000,
    b'"', b"\\u0000", b"\\ud800", b"\xe2\x80\xa8", b"\x1b[31m", b"null", b"true", b"{}", b"[]", b" " * 5000, b"${HOME}",
    b"=", b",",
]  # fmt: skip

_VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 0.5, 1e308, 1e-320, 10**18, 10**400, float("nan"), float("inf"), "", " ", "\0",
    "\ud800", "é" * 30_000, "../../etc/passwd", "\x1b[31m", "2025-10-28T10:30:00.000Z", "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59-23:59", [], {}, [[]], [None], {"": None}, {"/": 1},
]  # fmt: skip


def mutated(data: bytes, dice: random.Random) -> bytes:
    """Another input made of this one, by a few steps; now and then the same."""
    for _ in range(dice.choice([0, 1, 1, 2, 4, 8])):
        data = (_json_changed(data, dice) if dice.random() < 0.4 else None) or _once(data, dice)
        data = data[:LONGEST]  # each step may make fifty of one
    return data


def _once(data: bytes, dice: random.Random) -> bytes:
    at, to = sorted((dice.randrange(len(data) + 1), dice.randrange(len(data) + 1)))
    kind = dice.randrange(6)
    if kind == 0 and data:
        place = dice.randrange(len(data))
        return data[:place] + bytes([data[place] ^ 1 << dice.randrange(8)]) + data[place + 1 :]
    if kind == 1:
        return data[:at] + data[to:]
    if kind == 2:
        return data[:at] + dice.choice(_NASTY) + data[at:]
    if kind == 3:
        return data[:at] + dice.choice(_NASTY) + data[to:]
    if kind == 4:
        return data[:to] + data[at:to] * dice.choice([1, 2, 50]) + data[to:]
    return data[:at] + dice.randbytes(dice.randrange(20)) + data[at:]


def _json_changed(data: bytes, dice: random.Random) -> bytes | None:
    """The input with something else in the JSON that it ends with, or that one of its lines is; None for no JSON."""
    spans = [(start, len(data)) for start in (data.find(b"{"),) if start >= 0]
    end = -1
    for line in data.split(b"\n")[:50]:
        start, end = end + 1, end + 1 + len(line)
        spans.append((start, end))
    start, end = dice.choice(spans)
    try:
        value = json.loads(data[start:end])
        text = json.dumps(_changed(value, dice), separators=(",", ":"), ensure_ascii=dice.random() < 0.8)
    except (ValueError, RecursionError):
        return None
    return data[:start] + text.encode("utf-8", "surrogatepass") + data[end:]


def _changed(value: Any, dice: random.Random) -> Any:
    """The value with one thing in it, at any depth, gone, doubled, or put in the place of another."""
    if not isinstance(value, dict | list) or not value or dice.random() < 0.15:
        return dice.choice([*_VALUES, [value], {"a": value}])
    places: list[Any] = list(value) if isinstance(value, dict) else list(range(len(value)))
    place = dice.choice(places)
    if dice.random() < 0.15:
        return {k: v for k, v in value.items() if k != place} if isinstance(value, dict) else value * 2
    if dice.random() < 0.15 and isinstance(value, dict):
        return value | {dice.choice([*places, "x"]): value[place]}
    changed = value.copy()
    changed[place] = _changed(value[place], dice)
    return changed
