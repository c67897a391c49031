"""Our decoder and a real Kubo agree on what is a CID, and on its one text."""

from __future__ import annotations

import contextlib
import hashlib
from typing import TYPE_CHECKING

import pytest

from encoder_pin_plugin.nodes.cid import canonical, is_cid, parse_cid
from examples.nodes.errors import NodeError
from tests.nodes.cid_vectors import SAME_CID, V0, V1_TWIN, in_base, varint

if TYPE_CHECKING:
    from examples.nodes import KuboDaemon

pytestmark = pytest.mark.real

DIGEST = hashlib.sha512(b"x").digest()
SHA2_256 = b"\x12\x20" + DIGEST[:32]
HASHES = {0x11: 20, 0x12: 32, 0x13: 64, 0x14: 64, 0x16: 32, 0x1B: 32, 0x1E: 32, 0x56: 32, 0xB220: 32, 0xB240: 64}

CODECS = (0x55, 0x70, 0x71, 0x0129, 0x0200, 0x51, 0x78, 0x85)

GOOD = [
    *SAME_CID,
    V0,
    *(
        in_base("b", b"\x01" + varint(codec) + SHA2_256)
        for codec in (0x55, 0x70, 0x71, 0x0129, 0x0200, 0x51, 0x78, 0x85)
    ),
    *(in_base("k", b"\x01\x55" + varint(code) + varint(size) + DIGEST[:size]) for code, size in HASHES.items()),
]

BAD = [
    V0[:-1],
    V0.lower(),
    V1_TWIN[:-1],
    V1_TWIN + "aaaa",
    in_base("b", b"\x02\x55" + SHA2_256),
    in_base("b", b"\x01\x55" + SHA2_256[:-1]),
    in_base("b", b"\x01\x55" + SHA2_256 + b"!"),
    in_base("b", b"\x01\xd5\x00" + SHA2_256),
]


def read_by_kubo(node: KuboDaemon, cid: str) -> str:
    """The CID in base32 as CIDv1 if it is one, as it is if it is a CIDv0; empty where Kubo takes it for none."""
    with contextlib.suppress(NodeError):
        version = "0" if cid.startswith("Qm") else "1"
        base = [] if cid.startswith("Qm") else ["-b", "base32"]
        return node.command("cid", "format", "-v", version, *base, cid).strip()
    return ""


def test_what_we_take_kubo_takes_and_writes_the_same(local_kubo: KuboDaemon) -> None:
    for cid in GOOD:
        assert len(cid) <= 128, cid
        assert read_by_kubo(local_kubo, cid) == canonical(cid), cid


def test_what_kubo_refuses_we_refuse(local_kubo: KuboDaemon) -> None:
    for cid in BAD:
        assert read_by_kubo(local_kubo, cid) == "", cid
        assert not is_cid(cid), cid


def test_a_cidv0_behind_a_multibase_letter_is_refused_though_kubo_reads_it(local_kubo: KuboDaemon) -> None:
    assert read_by_kubo(local_kubo, "z" + V0) == V1_TWIN  # neither of the two that a person may have meant to pin
    assert not is_cid("z" + V0)


def test_what_kubo_makes_is_read(local_kubo: KuboDaemon) -> None:
    made = local_kubo.add_files({"a": b"a"})
    cid = parse_cid(made)
    assert (cid.text, cid.version, cid.codec, cid.hash_name) == (made, 1, "dag-pb", "sha2-256")
