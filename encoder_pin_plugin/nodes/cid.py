"""What a CID is: a strict decoder of our own, so that nothing which merely looks like one reaches a node.

A node answers a bad CID with a 500 like any other failure, and a queue that can't tell it from a passing one
retries it for ever; so a CID is decoded before it is sent. Two texts are the same CID when their `text` is: a
CIDv1 may come back from a node in another base, while CIDv0 and its CIDv1 twin are two pins everywhere.

Sources: multiformats/cid, multiformats/multibase, the multicodec table, unsigned-varint; for which codecs and
hash functions Kubo pins, boxo `verifcid` (0.43).
"""

from __future__ import annotations

import functools
import string
from dataclasses import dataclass, field

from encoder_pin_plugin.errors import InvalidCid
from encoder_pin_plugin.nodes.multibase import BadBase, decode_base58, decode_multibase, encode_base32

MAX_LENGTH = 128
"""Characters; what networks pin has 46 (v0) to 73 (sha2-256 in base16). A longer text is not looked at."""


@dataclass(frozen=True, kw_only=True)
class Cid:
    """A decoded content identifier.

    Args:
        text: the canonical form: CIDv0 as it is, CIDv1 in base32, lower case.
        version: 0 or 1.
        codec: how the root block is encoded, by its multicodec name, such as `dag-pb` or `raw`.
        hash_name: the hash function, by its multicodec name, such as `sha2-256`.
        hash_code: the same as its multicodec number.
        digest: the hash itself.
    """

    text: str
    version: int = field(compare=False)
    codec: str = field(compare=False)
    hash_name: str = field(compare=False)
    hash_code: int = field(compare=False)
    digest: bytes = field(compare=False, repr=False)

    def __str__(self) -> str:
        return self.text


def parse_cid(text: str) -> Cid:
    """The CID that `text` is, nothing around it.

    Raises:
        InvalidCid: it is none, or one that Kubo would not pin; says what is wrong and what to write instead.
    """
    return _parsed(text) if type(text) is str and len(text) <= MAX_LENGTH else _parse(text)


def _parse(text: str) -> Cid:
    try:
        _check_characters(text)
        if len(text) == 46 and text.startswith("Qm"):
            return _version_0(text)
        return _version_1(text)
    except BadBase as error:
        raise InvalidCid(f"{shown(text)} is not a CID: {error}") from error


_parsed = functools.lru_cache(maxsize=4096)(_parse)
"""A CID on its way is parsed a dozen times: in events, rows, questions and answers."""


def is_cid(text: str) -> bool:
    """Whether `parse_cid` takes it."""
    try:
        parse_cid(text)
    except InvalidCid:
        return False
    return True


def canonical(text: str) -> str:
    """The one text of a CID, whatever base it was written in. Raises `InvalidCid`."""
    return parse_cid(text).text


def comparable(cid: str) -> str:
    """A CID in the form that two texts of it have in common; what is none stays as it is."""
    try:
        return canonical(cid)
    except InvalidCid:
        return cid


def shown(text: object, limit: int = 70) -> str:
    """A hostile text as it may be shown: quoted, escaped to ASCII, of bounded length."""
    if not isinstance(text, str):
        return f"a {type(text).__name__}"
    return ascii(text) if len(text) <= limit else f"{text[:limit]!a}… ({len(text)} characters)"


_LETTERS_AND_DIGITS = frozenset(string.ascii_letters + string.digits)
_WRITE_INSTEAD = "write the bare CID, such as 'bafybei…' or 'Qm…'"


def _check_characters(text: str) -> None:
    if not isinstance(text, str):
        raise BadBase(f"a CID is a text; {_WRITE_INSTEAD}")
    if not text:
        raise BadBase(f"it is empty; {_WRITE_INSTEAD}")
    if len(text) > MAX_LENGTH:
        raise BadBase(f"it is longer than {MAX_LENGTH} characters; {_WRITE_INSTEAD}")
    if not _LETTERS_AND_DIGITS.issuperset(text):
        raise BadBase(f"{_odd_characters(text)}; {_WRITE_INSTEAD}")


def _odd_characters(text: str) -> str:
    if "://" in text:
        return "it is a URL"
    if any(character.isspace() for character in text):
        return "it has white space in or around it"
    if not text.isprintable():
        return "it has control characters in it"
    if "/" in text:
        return "it is a path"
    odd = next(character for character in text if character not in _LETTERS_AND_DIGITS)
    return f"it has the character {odd!a} in it, and a CID has only letters and digits"


def _version_0(text: str) -> Cid:
    raw = decode_base58(text)
    if len(raw) != 34 or raw[:2] != b"\x12\x20":
        raise BadBase("it begins as a CIDv0, but holds no sha2-256 hash: a character was lost or changed")
    return Cid(text=text, version=0, codec="dag-pb", hash_name="sha2-256", hash_code=0x12, digest=raw[2:])


def _version_1(text: str) -> Cid:
    raw = decode_multibase(text)
    if raw[:2] == b"\x12\x20":
        raise BadBase("it is a CIDv0 behind a multibase letter; write it without its first letter")
    version, rest = _varint(raw, "version")
    if version != 1:
        raise BadBase(f"its version is {version}, and only CIDv0 and CIDv1 exist; copy it again")
    codec, rest = _varint(rest, "codec")
    hash_code, rest = _varint(rest, "hash function")
    length, digest = _varint(rest, "digest length")
    codec_name, hash_name = _known_codec(codec), _known_hash(hash_code)
    _check_digest(hash_code, hash_name, length, digest)
    return Cid(
        text=text if text.startswith("b") else "b" + encode_base32(raw),
        version=1,
        codec=codec_name,
        hash_name=hash_name,
        hash_code=hash_code,
        digest=digest,
    )


def _varint(raw: bytes, what: str) -> tuple[int, bytes]:
    """The first number of `raw` and what follows it; at most 9 bytes, written as short as possible."""
    value = 0
    for index, byte in enumerate(raw[:9]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            if byte == 0 and index > 0:
                raise BadBase(f"its {what} is written longer than need be, which the specification forbids")
            return value, raw[index + 1 :]
    raise BadBase(f"it ends before its {what} does: it was cut off, or is no CID")


_CODECS = {
    0x51: "cbor",
    0x55: "raw",
    0x70: "dag-pb",
    0x71: "dag-cbor",
    0x78: "git-raw",
    0x85: "dag-jose",
    0x0129: "dag-json",
    0x0200: "json",
}

_LIBP2P_KEY = 0x72


def _known_codec(code: int) -> str:
    if code == _LIBP2P_KEY:
        raise BadBase("it names an IPNS key or a peer, not content; write the CID that the name points to")
    if code not in _CODECS:
        raise BadBase(f"its codec 0x{code:x} is none that Kubo pins ({', '.join(sorted(_CODECS.values()))})")
    return _CODECS[code]


_IDENTITY = 0x00

_HASHES = {
    0x11: ("sha1", 20),
    0x12: ("sha2-256", 32),
    0x13: ("sha2-512", 64),
    0x14: ("sha3-512", 64),
    0x15: ("sha3-384", 48),
    0x16: ("sha3-256", 32),
    0x17: ("sha3-224", 28),
    0x19: ("shake-256", 64),
    0x1A: ("keccak-224", 28),
    0x1B: ("keccak-256", 32),
    0x1C: ("keccak-384", 48),
    0x1D: ("keccak-512", 64),
    0x1E: ("blake3", 32),
    0x56: ("dbl-sha2-256", 32),
    **{0xB200 + size: (f"blake2b-{8 * size}", size) for size in range(20, 65)},
    **{0xB240 + size: (f"blake2s-{8 * size}", size) for size in range(20, 33)},
}
"""Hash functions by multicodec number: name and length of the digest in bytes."""


def _known_hash(code: int) -> str:
    if code == _IDENTITY:
        raise BadBase("it holds its content in itself (identity hash): there is nothing to pin")
    if code not in _HASHES:
        raise BadBase(f"its hash function 0x{code:x} is none that Kubo takes; add the content with sha2-256")
    return _HASHES[code][0]


def _check_digest(code: int, name: str, length: int, digest: bytes) -> None:
    expected = _HASHES[code][1]
    if length != expected:
        raise BadBase(f"its {name} hash claims {length} bytes, and not {expected}: it was changed, or is no CID")
    if len(digest) != length:
        fault = "cut off" if len(digest) < length else "glued to something else"
        raise BadBase(f"its {name} hash has {len(digest)} bytes, not {length}: it was {fault}; copy it again")
