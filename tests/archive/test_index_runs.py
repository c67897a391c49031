"""The index over several runs and looks: each line once, none twice, and nothing read again that was read."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator
from pathlib import Path

import pytest

from encoder_pin_plugin.archive import index
from encoder_pin_plugin.archive.index import KeyIndex, common
from tests.archive.lines import record


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lines"


@pytest.fixture
def descriptor(path: Path) -> Iterator[int]:
    opened = os.open(path, os.O_RDWR | os.O_CREAT)
    yield opened
    os.close(opened)


def count(keys: KeyIndex, descriptor: int) -> int:
    return sum(len(run) for run in keys.entries(descriptor))


def append(path: Path, *numbers: int) -> None:
    with path.open("ab") as file:
        file.write(b"".join(record(number).line() for number in numbers))


def test_a_key_beyond_all_others_stands_in_no_other_file() -> None:
    low, high = 1 << 60, 2 << 60
    assert list(common([array("Q", [high | 5])], [array("Q", [low | 7])])) == []
    assert list(common([array("Q", [low | 5, high | 6])], [array("Q", [high | 7])])) == [6]


@pytest.mark.parametrize("steps", [[3000], [1, 7, 8, 9, 1000, 975, 1000], [1000] * 3, [999, *[1] * 20]], ids=str)
def test_every_line_is_indexed_once_over_runs_of_any_length(
    path: Path, descriptor: int, monkeypatch: pytest.MonkeyPatch, steps: list[int]
) -> None:
    monkeypatch.setattr(index, "_RUN", 1000)
    keys, at = KeyIndex(), 0
    for step in steps:
        append(path, *range(at, at + step))
        at += step
        assert count(keys, descriptor) == at
    wanted = [record(number).key for number in range(0, at, 97)]
    assert keys.find_all(descriptor, wanted).keys() == set(wanted)
    assert all(list(run) == sorted(run) and run.typecode == "Q" for run in keys.entries(descriptor))
    assert keys.find(descriptor, record(at).key) is None


def test_of_several_lines_of_one_key_the_last_is_found(path: Path, descriptor: int) -> None:
    with path.open("ab") as file:
        file.write(b"".join(record(1, size_mb=size).line() for size in (1, 2, 3)))
    found = KeyIndex().find(descriptor, record(1).key)
    assert found is not None
    assert found.size_mb == 3


def test_a_line_that_another_program_wrote_is_found_and_no_line_is_not_indexed(path: Path, descriptor: int) -> None:
    odd = record(2, job_id="é\n")
    path.write_bytes(record(1).line().replace(b",", b", ") + b"no line\n" + odd.line() + record(3).line())
    keys = KeyIndex()
    assert keys.find_all(descriptor, [record(1).key, odd.key, record(3).key]).keys() == {
        record(1).key, odd.key, record(3).key,
    }  # fmt: skip
    assert count(keys, descriptor) == 3


def test_a_pair_of_one_key_is_a_double(path: Path, descriptor: int) -> None:
    append(path, 1, 2, 1, 3)
    size = len(record(1).line())
    assert list(KeyIndex().doubles(descriptor)) == [(0, 2 * size)]


def test_what_was_read_is_not_read_again(path: Path, descriptor: int, monkeypatch: pytest.MonkeyPatch) -> None:
    append(path, *range(30))
    keys, end = KeyIndex(), path.stat().st_size
    assert count(keys, descriptor) == 30
    append(path, 30)
    read: list[int] = []
    real = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, size, offset: read.append(offset) or real(fd, size, offset))
    assert count(keys, descriptor) == 31
    assert count(keys, descriptor) == 31
    assert min(read) >= end - 1024


def test_a_first_byte_that_changed_is_seen(path: Path, descriptor: int) -> None:
    append(path, 1, 2)
    keys = KeyIndex()
    assert count(keys, descriptor) == 2
    os.pwrite(descriptor, b"#", 0)
    assert count(keys, descriptor) == 1


def test_an_empty_file_and_one_that_was_emptied_hold_nothing(path: Path, descriptor: int) -> None:
    keys = KeyIndex()
    assert count(keys, descriptor) == 0
    append(path, 1)
    assert count(keys, descriptor) == 1
    os.truncate(path, 0)
    assert count(keys, descriptor) == 0
