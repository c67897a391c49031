"""A text is decoded as the CID that it is, or refused with a sentence that says what is wrong with it."""

from __future__ import annotations

import base64
import hashlib
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoder_pin_plugin.errors import InvalidCid
from encoder_pin_plugin.nodes.cid import MAX_LENGTH, canonical, is_cid, parse_cid
from tests.nodes.cid_vectors import SAME_CID, V0, V1_TWIN, in_base, varint

DIGESTS = st.binary(min_size=32, max_size=32)
CODECS = {0x55: "raw", 0x70: "dag-pb", 0x71: "dag-cbor", 0x0129: "dag-json", 0x0200: "json", 0x78: "git-raw"}


@pytest.mark.parametrize("text", SAME_CID)
def test_every_base_of_a_cid_is_the_same_cid(text: str) -> None:
    cid = parse_cid(text)
    assert cid.text == V1_TWIN
    assert (cid.version, cid.codec, cid.hash_name, cid.hash_code) == (1, "dag-pb", "sha2-256", 0x12)
    assert cid == parse_cid(V1_TWIN)


def test_a_cidv0_stays_as_it_is_and_is_not_its_twin() -> None:
    cid = parse_cid(V0)
    assert (cid.text, cid.version, cid.codec) == (V0, 0, "dag-pb")
    assert cid.digest == parse_cid(V1_TWIN).digest
    assert cid != parse_cid(V1_TWIN)


@given(digest=DIGESTS, codec=st.sampled_from(sorted(CODECS)), base=st.sampled_from("bBkKzfF"))
def test_what_was_encoded_is_decoded(digest: bytes, codec: int, base: str) -> None:
    raw = b"\x01" + varint(codec) + b"\x12\x20" + digest
    cid = parse_cid(in_base(base, raw))
    assert (cid.version, cid.codec, cid.digest) == (1, CODECS[codec], digest)
    assert cid.text == "b" + base64.b32encode(raw).decode().lower().rstrip("=")
    assert canonical(cid.text) == cid.text


@given(digest=DIGESTS)
def test_a_cidv0_is_decoded(digest: bytes) -> None:
    text = in_base("z", b"\x12\x20" + digest)[1:]
    assert parse_cid(text).digest == digest
    assert parse_cid(text).text == text


@given(text=st.text(max_size=200))
def test_any_text_is_a_cid_or_refused_in_words(text: str) -> None:
    if is_cid(text):
        assert canonical(canonical(text)) == canonical(text)
        return
    with pytest.raises(InvalidCid) as caught:
        parse_cid(text)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


@given(position=st.integers(0, 58), letter=st.sampled_from("abcdefghijklmnopqrstuvwxyz234567"))
def test_a_changed_character_is_refused_or_another_cid(position: int, letter: str) -> None:
    changed = V1_TWIN[:position] + letter + V1_TWIN[position + 1 :]
    assert changed == V1_TWIN or not is_cid(changed) or canonical(changed) == changed != V1_TWIN


HASHES = {"sha2-512": (0x13, 64), "sha3-256": (0x16, 32), "blake3": (0x1E, 32), "blake2b-256": (0xB220, 32)}


@pytest.mark.parametrize("name", HASHES)
def test_the_hash_functions_that_kubo_takes_are_taken_with_their_own_length(name: str) -> None:
    code, size = HASHES[name]
    raw = b"\x01\x55" + varint(code) + varint(size) + b"d" * size
    assert parse_cid(in_base("b", raw)).hash_name == name
    for wrong in (size - 1, size + 1):
        with pytest.raises(InvalidCid, match="claims"):
            parse_cid(in_base("b", b"\x01\x55" + varint(code) + varint(wrong) + b"d" * wrong))


SHA = hashlib.sha256(b"x").digest()

REFUSED = {
    "": "empty",
    " ": "white space",
    f" {V0}": "white space",
    f"{V0}\n": "white space",
    f"{V1_TWIN}\0": "control characters",
    f"/ipfs/{V0}": "it is a path",
    f"{V1_TWIN}/video.m3u8": "it is a path",
    f"ipfs://{V1_TWIN}": "it is a URL",
    f"https://gateway.example/ipfs/{V0}": "it is a URL",
    f"{V1_TWIN}&arg=other": "only letters and digits",
    f"{V0}ü": "only letters and digits",
    V1_TWIN[:-1]: "lost",
    V1_TWIN + "a": "base32",
    V1_TWIN[:-1] + "b": "mean nothing",
    V1_TWIN.capitalize(): "letter case",
    "b" + V1_TWIN[1:].upper(): "letter case",
    "b" + V1_TWIN[1:9] + "0" + V1_TWIN[10:]: "other than a-z and 2-7",
    V0.lower(): "begins neither",
    V0[:-1]: "begins neither",
    V0[:-1] + "0": "'0'",
    "Qm" + "z" * 44: "no sha2-256 hash",
    "z" + V0: "CIDv0 behind a multibase letter",
    "m" + "A" * 48: "base64",
    in_base("b", b"\x02\x55\x12\x20" + SHA): "its version is 2",
    in_base("b", b"\x01\x55\x00\x04four"): "identity",
    in_base("b", b"\x01\x72\x00\x24" + b"\x08\x01\x12\x20" + SHA): "IPNS key",
    in_base("b", b"\x01\x90\x01\x12\x20" + SHA): "codec 0x90",
    in_base("b", b"\x01\x55\x22\x04four"): "hash function 0x22",
    in_base("b", b"\x01\x55\x12\x1f" + SHA[:31]): "claims 31 bytes",
    in_base("b", b"\x01\x55\x12\x20" + SHA[:31]): "cut off",
    in_base("b", b"\x01\x55\x12\x20" + SHA + b"!"): "glued to something else",
    in_base("b", b"\x01\xd5\x00\x12\x20" + SHA): "longer than need be",
    in_base("b", b"\x01" + b"\x80" * 20): "ends before its codec",
    in_base("b", b"\x01"): "ends before its codec",
    "b": "ends before its version",
    "f0": "base16",
    "f0g": "base16",
    "k!": "only letters and digits",
    "K1a": "letter case",
    "9123": "base10",
    "bafybeihello": "",
}


@pytest.mark.parametrize(("text", "why"), REFUSED.items(), ids=[repr(text)[:30] for text in REFUSED])
def test_what_is_no_cid_is_refused_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(InvalidCid, match="is not a CID") as caught:
        parse_cid(text)
    assert why in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("value", [None, 7, b"Qm", ["Qm"]])
def test_what_is_no_text_is_refused(value: object) -> None:
    with pytest.raises(InvalidCid, match="a CID is a text"):
        parse_cid(value)  # type: ignore[arg-type]


def test_a_huge_text_costs_nothing() -> None:
    huge = "b" + "a" * 10_000_000
    began = time.process_time()
    for _ in range(100):
        assert not is_cid(huge)
    assert time.process_time() - began < 1
    with pytest.raises(InvalidCid, match=rf"longer than {MAX_LENGTH} .*") as caught:
        parse_cid(huge)
    assert len(str(caught.value)) < 300
