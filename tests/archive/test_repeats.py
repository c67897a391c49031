"""Lines of one key: which are doubles, which differ, and which do not count because a later line withdrew them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from encoder_pin_plugin.archive import repeats as repeats_module
from encoder_pin_plugin.archive.checking import check
from encoder_pin_plugin.archive.jsonl import Archive
from encoder_pin_plugin.archive.repeats import Repeat, exact_doubles, line_numbers, not_standing, repeats
from tests.archive.lines import migrated, record

pytestmark = pytest.mark.usefixtures("open_files")

A, B = record(1).line(), record(2).line()
OTHER_A = record(1, size_mb=7).line()
WITHDRAWN_A = record(1, extra={"withdrawn_at": "2025-10-30T10:30:00.000Z", "why": "lost"}).line()
SIZE = len(A)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "migrated-pins.jsonl"


@pytest.fixture
def descriptor(path: Path) -> Iterator[int]:
    path.touch()
    descriptor = os.open(path, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


def test_repeats_are_exact_or_differ_from_the_first_of_their_key(path: Path, descriptor: int) -> None:
    path.write_bytes(A + B + A + OTHER_A)
    assert sorted(repeats(descriptor)) == [Repeat(2 * SIZE, 0, exact=True), Repeat(3 * SIZE, 0, exact=False)]
    assert exact_doubles(descriptor) == {2 * SIZE}


def test_what_is_written_again_after_it_was_withdrawn_is_no_repeat(path: Path, descriptor: int) -> None:
    path.write_bytes(A + B + WITHDRAWN_A + A + B)
    assert list(repeats(descriptor)) == [Repeat(3 * SIZE + len(WITHDRAWN_A), SIZE, exact=True)]


def test_line_numbers_are_those_of_the_whole_file(path: Path, descriptor: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repeats_module, "_PIECE", 100)
    path.write_bytes(A + b"\n" + b"x" * 500 + b"\n" + A + A)
    last = path.stat().st_size - SIZE
    assert line_numbers(descriptor, [last, 0, last - SIZE]) == {0: 1, last - SIZE: 4, last: 5}
    assert line_numbers(descriptor, [10 * last]) == {10 * last: 6}


def test_an_empty_first_line_is_one_too(path: Path, descriptor: int) -> None:
    path.write_bytes(b"\n" + A)
    assert line_numbers(descriptor, [1]) == {1: 2}


@pytest.mark.parametrize(
    ("lines", "gone"),
    [
        ([], 0),
        ([A, B], 0),
        ([A, WITHDRAWN_A, B], 2),
        ([A, B, WITHDRAWN_A, A], 2),
        ([A, WITHDRAWN_A, A, WITHDRAWN_A, B], 4),
        ([A, A, WITHDRAWN_A, A, A], 3),
        ([b'{"withdrawn_at": 1}\n', b"no line\n", b"x" * 300_000 + b"\n", A], 0),
        ([record(1, job_id="withdrawn_at").line(), A], 0),
        ([A, WITHDRAWN_A.replace(b".5", b".5e"), B], 0),
        ([A.replace(b",", b", "), WITHDRAWN_A.replace(b",", b", "), B], 2),
    ],
)
def test_what_was_withdrawn_and_what_withdrew_it_do_not_stand(path: Path, lines: list[bytes], gone: int) -> None:
    path.write_bytes(b"".join(lines))
    assert not_standing(path) == gone


def test_where_there_is_no_file_everything_stands(path: Path) -> None:
    assert not_standing(path) == 0


def test_what_the_archive_itself_takes_back_and_migrates_again_is_in_order(tmp_path: Path) -> None:
    archive = Archive(tmp_path / "data")
    for number in range(3):
        archive.append(record(number))
        archive.compact([record(number).key], [migrated(number)])
    archive.take_back(record(1), "the target lost it")
    assert not_standing(archive.migrated_path) == 2
    archive.compact([record(1).key], [migrated(1)])
    checked = check(archive.migrated_path)
    assert (checked.lines, checked.doubles, checked.variants, checked.good) == (5, 0, 0, True)
    assert not_standing(archive.migrated_path) == 2
