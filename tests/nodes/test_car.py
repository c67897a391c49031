"""A CAR counts only where every block hashes to its name, every link is followed, and nothing is left over."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encoder_pin_plugin.nodes.car import BadCar, check_car
from tests.nodes.cars import car, folder, header, raw, text, varint

ONE, TWO = raw(b"first segment"), raw(b"second segment")
ROOT = folder(ONE[0], TWO[0], ONE[0])
GOOD = car(ROOT[0], [ROOT, ONE, TWO])


@pytest.mark.parametrize("piece", [1, 7, 1000])
def test_a_whole_dag_is_counted_however_it_arrives(piece: int) -> None:
    assert check_car((GOOD[at : at + piece] for at in range(0, len(GOOD), piece)), text(ROOT[0])) == 3


def test_one_raw_block_and_an_old_folder() -> None:
    assert check_car([car(ONE[0], [ONE])], text(ONE[0])) == 1
    old = folder(version=0)
    assert check_car([car(old[0], [old])], "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn") == 1


def test_a_link_that_carries_its_own_content_needs_no_block() -> None:
    root = folder(b"\x01\x55\x00\x03abc", ONE[0])
    assert check_car([car(root[0], [root, ONE])], text(root[0])) == 2


BAD = {
    "a block is missing": (car(ROOT[0], [ROOT, ONE]), "1 blocks are missing, of 3"),
    "no block at all": (header(ROOT[0]), "1 blocks are missing"),
    "a byte was changed": (GOOD.replace(b"second", b"secunt"), "does not hash to its name"),
    "a block too many": (car(ROOT[0], [ROOT, ONE, TWO, raw(b"more")]), "nothing before it links to"),
    "a block twice": (car(ROOT[0], [ROOT, ONE, ONE, TWO]), "nothing before it links to"),
    "another root": (car(ONE[0], [ONE]), "does not name this CID"),
    "cut in a block": (GOOD[:-5], "cut short"),
    "an empty answer": (b"", "does not name this CID"),
    "a page": (b"<html>nothing here</html>", "section of|does not name|cut short"),
    "a huge section": (header(ROOT[0]) + varint(1 << 40), "a section of 1099511627776 bytes"),
    "an endless number": (header(ROOT[0]) + b"\xff" * 20, "does not end"),
    "an empty section": (header(ROOT[0]) + b"\x00", "a section of 0 bytes"),
}


@pytest.mark.parametrize(("content", "words"), BAD.values(), ids=BAD)
def test_anything_else_is_refused(content: bytes, words: str) -> None:
    with pytest.raises(BadCar, match=words):
        check_car([content], text(ROOT[0]))


@pytest.mark.parametrize("code", [0x1B, 0x1E])
def test_what_cannot_be_checked_is_no_proof(code: int) -> None:
    name = b"\x01\x55" + varint(code) + b"\x20" + bytes(32)
    with pytest.raises(BadCar, match="which we cannot compute"):
        check_car([car(name, [(name, b"data")])], text(name))


def test_a_codec_whose_links_we_cannot_read_is_no_proof() -> None:
    name = b"\x01\x71\x12\x20" + hashlib.sha256(b"\xa0").digest()
    with pytest.raises(BadCar, match="codec 0x71"):
        check_car([car(name, [(name, b"\xa0")])], text(name))


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255))
def test_no_single_changed_byte_passes(at: int, by: int) -> None:
    changed = bytearray(GOOD)
    changed[at] ^= by
    with pytest.raises(BadCar):
        check_car([bytes(changed)], text(ROOT[0]))


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300))
def test_garbage_ends_as_a_bad_car_and_as_nothing_else(content: bytes) -> None:
    with pytest.raises(BadCar):
        check_car([header(ROOT[0]) + content], text(ROOT[0]))
