"""What an archive adds up to, whichever way its lines are written; the sum over any lines is in
test_hostile_archive.py, and in two processes in test_halves.py."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from encoder_pin_plugin.archive.totals import Total, plain_sizes, total_in, total_of
from encoder_pin_plugin.errors import StorageError
from tests.archive.lines import record
from tests.conftest import failing

pytestmark = pytest.mark.usefixtures("open_files")

NOTHING = Total(records=0, size_mb=0.0, unknown_sizes=0, invalid=0)
ODD = record(8, size_mb=0.25, extra={"note": "x"}).line()
ODD_WITHOUT_SIZE = record(9, size_mb=None, extra={"note": "x"}).line()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "local-fallback-pins.jsonl"


def sized(*sizes: float | None) -> bytes:
    return b"".join(record(number, size_mb=mb).line() for number, mb in enumerate(sizes))


@pytest.mark.parametrize(
    ("content", "total"),
    [
        (b"", NOTHING),
        (sized(1.5, 2, 0), Total(records=3, size_mb=3.5, unknown_sizes=0, invalid=0)),
        (sized(1.5, None, 2, None), Total(records=4, size_mb=3.5, unknown_sizes=2, invalid=0)),
        (sized(None), Total(records=1, size_mb=0.0, unknown_sizes=1, invalid=0)),
        (sized(1.5) + ODD + sized(2), Total(records=3, size_mb=3.75, unknown_sizes=0, invalid=0)),
        (ODD_WITHOUT_SIZE * 2 + ODD, Total(records=3, size_mb=0.25, unknown_sizes=2, invalid=0)),
        (b"bad\n" + sized(1.5) + b"\n\n", Total(records=1, size_mb=1.5, unknown_sizes=0, invalid=3)),
        (sized(1.5) + b"x" * 300_000 + b"\n" + sized(2), Total(records=2, size_mb=3.5, unknown_sizes=0, invalid=1)),
        (sized(1.5) * 2 + sized(2)[:-1], Total(records=2, size_mb=3.0, unknown_sizes=0, invalid=0)),
    ],
    ids=["empty", "plain", "some sizes", "no size", "another form", "no sizes there", "bad", "too long", "torn"],
)
def test_lines_and_sizes_are_added_up(path: Path, content: bytes, total: Total) -> None:
    path.write_bytes(content)
    assert total_of(path) == total


def test_over_many_blocks_the_sum_is_that_of_all(path: Path) -> None:
    path.write_bytes((sized(0.1, None) * 500 + b"bad\n" + ODD_WITHOUT_SIZE + ODD) * 4)
    assert path.stat().st_size > 5 * (1 << 17)
    total = total_of(path)
    assert (total.records, total.unknown_sizes, total.invalid) == (4008, 2004, 4)
    assert total.size_mb == pytest.approx(201.0, abs=1e-9)


def test_what_is_not_there_is_nothing(path: Path) -> None:
    assert total_of(path) == NOTHING


def test_a_part_is_added_up_alone_and_parts_make_the_whole(path: Path) -> None:
    first, second = sized(1.5, None) + b"bad\n", sized(2, None, None) + b"bad\n\n"
    path.write_bytes(first + second)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        one, two = total_in(descriptor, 0, len(first)), total_in(descriptor, len(first))
        assert total_in(descriptor) == one + two
    finally:
        os.close(descriptor)
    assert one == Total(records=2, size_mb=1.5, unknown_sizes=1, invalid=1)
    assert two == Total(records=3, size_mb=2.0, unknown_sizes=2, invalid=2)
    assert one + two == total_of(path)


def test_another_way_of_adding_up_gets_the_open_file(path: Path) -> None:
    path.write_bytes(sized(1.5))
    other = Total(records=7, size_mb=7.0, unknown_sizes=7, invalid=7)
    read: list[bytes] = []

    def add_up(descriptor: int) -> Total:
        read.append(os.pread(descriptor, 1000, 0))
        return other

    assert total_of(path, add_up) == other
    assert read == [sized(1.5)]


def test_a_disk_that_does_not_give_it_is_named_and_nothing_stays_open(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_bytes(sized(1.5))
    monkeypatch.setattr(os, "pread", failing(errno.EIO))
    with pytest.raises(StorageError, match=f"^cannot read {path}: "):
        total_of(path)


def test_lines_as_we_write_them_give_their_sizes_as_written() -> None:
    assert plain_sizes(sized(1.5, None, 20)) == [b"1.5", b"null", b"20"]
    assert plain_sizes(b"") == []


@pytest.mark.parametrize(
    "other",
    [
        ODD,
        b"\n",
        record(1, job_id="é").line(),
        record(1, job_id="é").line().replace(b"\\u00e9", "é".encode()),
        record(1, job_id="a\\b").line(),
        record(1).line().replace(b"job-1", b"job-\0"),
    ],
    ids=["further keys", "an empty line", "an escape", "not ASCII", "a backslash", "a NUL"],
)
def test_where_one_line_is_another_none_of_them_is_taken(other: bytes) -> None:
    assert plain_sizes(sized(1.5) + other) is None
