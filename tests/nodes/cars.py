"""CARs made by hand, block by block: what a node may send, and what none would."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from encoder_pin_plugin.nodes.multibase import encode_base32

Block = tuple[bytes, bytes]
"""The bytes of its CID, and its own."""


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def raw(data: bytes) -> Block:
    return b"\x01\x55\x12\x20" + hashlib.sha256(data).digest(), data


def folder(*links: bytes, version: int = 1) -> Block:
    data = b"".join(b"\x12" + varint(len(link) + 2) + b"\x0a" + varint(len(link)) + link for link in links)
    return node(data + b"\x0a\x02\x08\x01", version=version)


def node(data: bytes, version: int = 1) -> Block:
    """The dag-pb block that these bytes are."""
    digest = hashlib.sha256(data).digest()
    return (b"\x12\x20" + digest if version == 0 else b"\x01\x70\x12\x20" + digest), data


def text(name: bytes) -> str:
    return "b" + encode_base32(name)


def header(root: bytes) -> bytes:
    content = b"\xa2\x65roots\x81\xd8\x2a\x58" + bytes([len(root) + 1]) + b"\x00" + root + b"\x67version\x01"
    return varint(len(content)) + content


def car(root: bytes, blocks: Iterable[Block]) -> bytes:
    return header(root) + b"".join(varint(len(name) + len(data)) + name + data for name, data in blocks)
