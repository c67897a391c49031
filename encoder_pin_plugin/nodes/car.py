"""Reading a DAG back from a node and checking every byte of it: the proof `retrieved`.

The node sends a CAR (v1). Kubo says in a trailer alone that a CAR is short, so nothing is believed: every block is
hashed, every link followed, and at the end nothing may be missing and nothing left over. The CAR is read as it comes;
in memory are one block and a short name of each block that was linked to.

Sources: the CARv1, dag-pb and unsigned-varint specifications of ipld.io and multiformats.
"""

from __future__ import annotations

import hashlib
from contextlib import closing
from typing import TYPE_CHECKING

from encoder_hookspecs.events import Reason
from encoder_pin_plugin.errors import NodeError
from encoder_pin_plugin.nodes.cid import parse_cid
from encoder_pin_plugin.nodes.kubo_transfer import export_car
from encoder_pin_plugin.nodes.multibase import decode_base58, decode_multibase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from encoder_pin_plugin.nodes.base import Limits
    from encoder_pin_plugin.nodes.kubo import KuboNode

LARGEST_BLOCK = 4 << 20
"""Bytes; nodes exchange blocks of up to 2 MiB."""

_HASHES: dict[int, Callable[[bytes], bytes]] = {
    0x12: lambda data: hashlib.sha256(data).digest(),
    0x13: lambda data: hashlib.sha512(data).digest(),
    0x16: lambda data: hashlib.sha3_256(data).digest(),
    0xB220: lambda data: hashlib.blake2b(data, digest_size=32).digest(),
}
_IDENTITY, _RAW, _DAG_PB = 0x00, 0x55, 0x70


class BadCar(ValueError):
    """What came is no CAR of this DAG: the message says what is wrong with it."""


def read_back(node: KuboNode, cid: str, *, limits: Limits) -> int:
    """Read the whole DAG from the node, which must not fetch for it, and check it; its number of blocks.

    Raises:
        NodeError: it did not come whole: a block is missing, does not hash to its name, or cannot be checked.
    """
    with closing(export_car(node, cid, limits=limits)) as pieces:  # type: ignore[type-var]  # a generator
        try:
            return check_car(pieces, cid)
        except BadCar as error:
            raise NodeError(f"{node.address} dag/export of {cid}: {error}", Reason.UNPROVED) from error


def check_car(pieces: Iterable[bytes], cid: str) -> int:
    """Check a CAR whose one root is `cid`; how many blocks it has. Raises BadCar."""
    root, reader = cid_bytes(cid), _Reader(pieces)
    if reader.section(len(root) + 64) != _header(root):
        raise BadCar("its header does not name this CID, and no other, as its root")
    wanted, seen = {root}, set[bytes]()
    while section := reader.section(LARGEST_BLOCK + 128):
        name, data = split_cid(section)
        if name not in wanted:
            raise BadCar("it has a block that nothing before it links to")
        _check_hash(name, data)
        wanted.discard(name)
        seen.add(name)
        wanted.update(link for link in links_of(name, data) if link not in seen)
    if wanted:
        raise BadCar(f"{len(wanted)} blocks are missing, of {len(wanted) + len(seen)} that are linked to")
    return len(seen)


def cid_bytes(cid: str) -> bytes:
    """The bytes of a CID. Raises InvalidCid."""
    parsed = parse_cid(cid)
    return decode_base58(parsed.text) if parsed.version == 0 else decode_multibase(parsed.text)


def links_of(name: bytes, data: bytes) -> Iterator[bytes]:
    """The CIDs that a block links to, but those that carry their own content. Raises BadCar."""
    codec = _DAG_PB if name[:2] == b"\x12\x20" else _varint(name, 1)[0]
    if codec == _RAW:
        return
    if codec != _DAG_PB:
        raise BadCar(f"it has a block of codec 0x{codec:x}, whose links we cannot read")
    for link in _pb_links(data):
        whole, rest = split_cid(link)
        if rest:
            raise BadCar("a link with bytes after its CID")
        if not _carries_itself(whole):
            yield whole


def split_cid(section: bytes) -> tuple[bytes, bytes]:
    """The CID at the beginning of some bytes, and what follows it. Raises BadCar."""
    at = 0 if section[:2] == b"\x12\x20" else _varint(section, 1)[1]
    if at and section[0] != 1:
        raise BadCar("a CID of an unknown version")
    _, at = _varint(section, at)
    length, at = _varint(section, at)
    if at + length > len(section):
        raise BadCar("a CID that is cut short")
    return section[: at + length], section[at + length :]


def _carries_itself(name: bytes) -> bool:
    return name[:2] != b"\x12\x20" and _varint(name, _varint(name, 1)[1])[0] == _IDENTITY


def _check_hash(name: bytes, data: bytes) -> None:
    code, at = _varint(name, 0 if name[:2] == b"\x12\x20" else _varint(name, 1)[1])
    length, at = _varint(name, at)
    function = _HASHES.get(code)
    if code == _IDENTITY:
        right = name[at:] == data
    elif function is None:
        raise BadCar(f"it has a block of hash function 0x{code:x}, which we cannot compute")
    else:
        right = length >= 20 and function(data)[:length] == name[at:]
    if not right:
        raise BadCar("it has a block that does not hash to its name")


def _pb_links(data: bytes) -> Iterator[bytes]:
    """The CIDs of a dag-pb node: field 2 of the node is a link, field 1 of a link its CID."""
    for number, value in _fields(data):
        if number == 2:
            yield from (inner for field, inner in _fields(value) if field == 1)


def _fields(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The length-delimited fields of a protobuf message; numbers are skipped, anything else is no dag-pb."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        if tag & 7 == 0:
            _, at = _varint(data, at)
            continue
        if tag & 7 != 2:
            raise BadCar("a block that is no dag-pb")
        length, at = _varint(data, at)
        if at + length > len(data):
            raise BadCar("a block that is no dag-pb: a field is cut short")
        yield tag >> 3, data[at : at + length]
        at += length


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """An unsigned varint of at most nine bytes at `at`, and where it ends."""
    value = 0
    for shift in range(0, 63, 7):
        if at >= len(data):
            raise BadCar("a number that is cut short")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise BadCar("a number that does not end")


def _header(root: bytes) -> bytes:
    """The one header, in dag-cbor, of a CARv1 with this root."""
    link = b"\x00" + root
    length = bytes([0x40 + len(link)]) if len(link) < 24 else b"\x58" + bytes([len(link)])
    return b"\xa2\x65roots\x81\xd8\x2a" + length + link + b"\x67version\x01"


class _Reader:
    """Length-prefixed sections out of pieces of any size."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._buffer = bytearray()

    def section(self, most: int) -> bytes:
        """The next section, empty at the end. Raises BadCar where it is cut, empty, or longer than `most`."""
        if not self._fill(1):
            return b""
        length, at = self._length()
        if not 0 < length <= most:
            raise BadCar(f"it has a section of {length} bytes")
        if not self._fill(at + length):
            raise BadCar("it is cut short")
        section = bytes(self._buffer[at : at + length])
        del self._buffer[: at + length]
        return section

    def _length(self) -> tuple[int, int]:
        self._fill(9)
        return _varint(bytes(self._buffer[:9]), 0)

    def _fill(self, size: int) -> bool:
        while len(self._buffer) < size:
            piece = next(self._pieces, None)
            if piece is None:
                return False
            self._buffer += piece
        return True
