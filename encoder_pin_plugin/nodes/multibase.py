"""Bytes written as letters and digits: the multibase forms that a CID comes in, strict and small.

Each form has one text for the same bytes: wrong letter case, padding, and bits that say nothing are refused,
because a lenient decoder makes two texts out of one CID. Source: multiformats/multibase, RFC 4648.
"""

from __future__ import annotations

import base64
import binascii
import string


class BadBase(ValueError):
    """A text is not what it claims to be; the message is the part of a sentence that says why."""


_BASE32 = frozenset("abcdefghijklmnopqrstuvwxyz234567")
_AS_INT_32 = str.maketrans("abcdefghijklmnopqrstuvwxyz234567", "0123456789abcdefghijklmnopqrstuv")
_BASE36 = string.digits + string.ascii_lowercase
_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_OTHERS = {
    "m": "base64",
    "u": "base64url",
    "9": "base10",
    "7": "base8",
    "0": "base2",
    "v": "base32hex",
    "c": "base32pad",
}


def decode_multibase(text: str) -> bytes:
    """The bytes of a text whose first letter names its base: b, B, k, K, z, f or F."""
    letter, rest = text[0], text[1:]
    if letter in "bB":
        return decode_base32(_same_case(rest, "base32", upper=letter == "B"))
    if letter in "kK":
        return _decode_digits(_same_case(rest, "base36", upper=letter == "K"), _BASE36, "base36")
    if letter in "fF":
        return _decode_base16(_same_case(rest, "base16", upper=letter == "F"))
    if letter == "z":
        return decode_base58(rest)
    if letter in _OTHERS:
        raise BadBase(f"it would be in {_OTHERS[letter]}; convert it with `ipfs cid base32`")
    raise BadBase("it begins neither as a CIDv0 ('Qm…', 46 characters) nor as a CIDv1 ('bafy…')")


def decode_base58(text: str) -> bytes:
    """The bytes of a base58btc text, without a multibase letter."""
    return _decode_digits(text, _BASE58, "base58")


def decode_base32(text: str) -> bytes:
    """The bytes of a base32 text, lower case, without padding or a multibase letter."""
    if not _BASE32.issuperset(text):
        raise BadBase("it begins as base32, but has characters other than a-z and 2-7")
    size, spare = divmod(5 * len(text), 8)
    if spare >= 5:
        raise BadBase("it begins as base32, but has a number of characters that no bytes have: some were lost")
    value = int(text.translate(_AS_INT_32) or "0", 32)  # ten times as fast as base64.b32decode
    if value & ((1 << spare) - 1):
        raise BadBase("it begins as base32, but ends in bits that mean nothing: its end was changed")
    return (value >> spare).to_bytes(size, "big")


def encode_base32(raw: bytes) -> str:
    """Base32, lower case, without padding or a multibase letter."""
    return base64.b32encode(raw).decode("ascii").lower().rstrip("=")


def _same_case(text: str, base: str, *, upper: bool) -> str:
    """The text in lower case, if all of it is in the case that its first letter promised."""
    if text != (text.upper() if upper else text.lower()):
        promised = "upper" if upper else "lower"
        raise BadBase(f"it begins as {base} in {promised} case and goes on in the other: its letter case was changed")
    return text.lower()


def _decode_base16(text: str) -> bytes:
    try:
        return binascii.unhexlify(text)
    except ValueError as error:  # what is no ASCII is not even a binascii.Error
        raise BadBase("it begins as base16, but is not an even number of digits 0-9 and a-f") from error


def _decode_digits(text: str, digits: str, base: str) -> bytes:
    """Base36 and base58 write one large number; each leading zero digit stands for a zero byte."""
    value = 0
    for character in text:
        digit = digits.find(character)
        if digit < 0:
            raise BadBase(f"it begins as {base}, but has the character {character!r}, which {base} has not")
        value = value * len(digits) + digit
    zeros = len(text) - len(text.lstrip(digits[0]))
    return b"\0" * zeros + value.to_bytes((value.bit_length() + 7) // 8, "big")
