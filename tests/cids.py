"""CIDs of nothing, for tests that need no content: valid ones, another for each name."""

from __future__ import annotations

import hashlib

from encoder_pin_plugin.nodes.multibase import encode_base32

_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def cid_of(name: str) -> str:
    """A CIDv0."""
    number, letters = int.from_bytes(b"\x12\x20" + _digest(name)), ""
    while number:
        number, rest = divmod(number, 58)
        letters = _BASE58[rest] + letters
    return letters


def directory_cid(name: object) -> str:
    """A CIDv1 of a directory."""
    return "b" + encode_base32(b"\x01\x70\x12\x20" + _digest(str(name)))


def _digest(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()
