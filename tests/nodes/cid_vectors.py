"""CIDs in many bases, written by code of its own, and checked against a real Kubo in tests/real/test_kubo_cids.py."""

from __future__ import annotations

import base64

V0 = "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG"
V1_TWIN = "bafybeie5nqv6kd3qnfjupgvz34woh3oksc3iau6abmyajn7qvtf6d2ho34"

_DIGITS = {
    "k": "0123456789abcdefghijklmnopqrstuvwxyz",
    "z": "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz",
}


def varint(number: int) -> bytes:
    """As short as it can be."""
    low, rest = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + varint(rest) if rest else bytes([low])


def in_base(letter: str, raw: bytes) -> str:
    """The multibase text of `raw`; an upper-case letter gives upper case."""
    if letter.isupper():
        return in_base(letter.lower(), raw).upper()
    if letter == "b":
        return letter + base64.b32encode(raw).decode().lower().rstrip("=")
    if letter == "f":
        return letter + raw.hex()
    return letter + _in_digits(_DIGITS[letter], raw)


def _in_digits(digits: str, raw: bytes) -> str:
    value, text = int.from_bytes(raw, "big"), ""
    while value:
        value, digit = divmod(value, len(digits))
        text = digits[digit] + text
    return digits[0] * (len(raw) - len(raw.lstrip(b"\0"))) + text


_TWIN_BYTES = base64.b32decode(V1_TWIN[1:].upper() + "=" * (-len(V1_TWIN[1:]) % 8))

SAME_CID = [in_base(letter, _TWIN_BYTES) for letter in "bBkKzfF"]
"""One CID in every base that is taken."""
