"""Where a former encoder's files are looked for, and what is said of one that cannot be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from encoder_pin_plugin.archive.former import Left, Place
from encoder_pin_plugin.archive.importers import KINDS, former_files, running_encoder
from tests.archive.former_files import cid, given_up, lines, pending, put, queue


def test_each_kind_is_found_where_it_usually_stands_and_in_the_folder(tmp_path: Path) -> None:
    for kind in KINDS:
        put(tmp_path / kind.usual / kind.name, b"1")
        put(tmp_path / kind.name, b"2")
    places = [path for kind in KINDS for path in (tmp_path / kind.usual / kind.name, tmp_path / kind.name)]
    assert [file.path for file in former_files(tmp_path)] == places
    assert [file.kind for file in former_files(tmp_path)] == [kind for kind in KINDS for _ in range(2)]


def test_a_file_is_read_as_its_kind_is(tmp_path: Path) -> None:
    put(tmp_path / "pending_pins.json", queue([pending(1)]))
    put(tmp_path / "failed-pins.jsonl", lines(given_up(2)))
    found = [one for file in former_files(tmp_path) for one in file.records()]
    assert [one.cid for one in found if not isinstance(one, Left)] == [cid(1), cid(2)]


def test_what_cannot_be_read_is_left_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "failed-pins.jsonl"
    path.mkdir()
    (file,) = former_files(tmp_path)
    (one,) = file.records()
    assert isinstance(one, Left)
    assert one == Left(place=Place(path=path, where="the whole file"), what="", why=one.why)
    assert one.why.startswith(f"{path} is no regular file")


def test_without_a_lock_file_nothing_is_said(tmp_path: Path) -> None:
    assert running_encoder(tmp_path) == ""


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"4711\n", "4711"),
        (b"", "unknown"),
        (b" \n", "unknown"),
        (b"47\xff", "47\ufffd"),
        (b"12345678901234567890123", "12345678901234567890"),
    ],
)
@pytest.mark.parametrize("name", ["data/pending_pins.lock", "pending_pins.lock"])
def test_a_lock_file_names_its_process(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    put(tmp_path / name, content)
    assert running_encoder(tmp_path) == f"{tmp_path / name} (process {said})"
