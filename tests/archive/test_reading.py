"""The stream of lines, at its edges: blocks, over-long lines, tails, and a writer that is at work meanwhile."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from encoder_pin_plugin.archive import reading
from encoder_pin_plugin.archive.reading import (
    Block,
    Entry,
    entries_in,
    find_newline,
    lines_of,
    read_blocks,
    read_entries,
)
from encoder_pin_plugin.archive.record import MAX_LINE
from encoder_pin_plugin.errors import StorageError
from tests.archive.lines import record
from tests.conftest import failing

pytestmark = pytest.mark.usefixtures("open_files")
A, B = record(1), record(2)
BLOCK = reading._BLOCK


def entries(path: Path, data: bytes) -> list[Entry]:
    path.write_bytes(data)
    return list(read_entries(path))


def blocks(path: Path, data: bytes, start: int = 0) -> list[Block]:
    path.write_bytes(data)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return list(read_blocks(descriptor, start))
    finally:
        os.close(descriptor)


def test_lines_come_numbered_with_their_bytes_and_what_is_wrong_with_them(tmp_path: Path) -> None:
    size = len(A.line())
    assert entries(tmp_path / "a", A.line() + b"[]\n" + B.line() + b"torn") == [
        Entry(1, 0, A.line(), record=A),
        Entry(2, size, b"[]\n", problem="it is JSON, but no object"),
        Entry(3, size + 3, B.line(), record=B),
        Entry(4, 2 * size + 3, b"torn", problem="it is torn: no newline at its end", torn=True),
    ]


def test_a_file_that_is_one_torn_line_is_that_from_its_first_byte_on(tmp_path: Path) -> None:
    assert entries(tmp_path / "a", b"torn") == [
        Entry(1, 0, b"torn", problem="it is torn: no newline at its end", torn=True)
    ]
    assert entries(tmp_path / "a", b"") == []
    assert list(read_entries(tmp_path / "none")) == []


def test_of_an_over_long_line_the_beginning_is_shown(tmp_path: Path) -> None:
    long = b"x" * (2 * BLOCK + 7) + b"\n"
    first, second, third = entries(tmp_path / "a", A.line() + long + B.line())
    assert (first.record, third.record, third.number, third.offset) == (A, B, 3, len(A.line()) + len(long))
    problem = f"it has {len(long)} bytes, more than {MAX_LINE}"
    assert second == Entry(2, len(A.line()), long[:MAX_LINE], problem=problem)


@pytest.mark.parametrize("more", [-1, 0, 1])
def test_a_line_of_just_a_block_is_read_to_its_newline(tmp_path: Path, more: int) -> None:
    long = b"x" * (BLOCK - 1 + more) + b"\n"
    found = blocks(tmp_path / "a", long + b"y\n")
    assert [(block.offset, block.end, block.too_long) for block in found] == [
        (0, len(long), more > 0), (len(long), len(long) + 2, False),
    ]  # fmt: skip


def test_lines_come_in_blocks_and_not_one_by_one(tmp_path: Path) -> None:
    (block,) = blocks(tmp_path / "a", b"a\nb\nc\nd")
    assert block == Block(0, b"a\nb\nc\n", 6)
    assert list(lines_of(block)) == [(0, b"a\n"), (2, b"b\n"), (4, b"c\n")]
    assert blocks(tmp_path / "a", b"a\nb\nc\nd", 2) == [Block(2, b"b\nc\n", 4)]
    assert [entry.number for entry in entries_in(block, 7)] == [7, 8, 9]


def test_only_a_newline_ends_a_line(tmp_path: Path) -> None:
    (block,) = blocks(tmp_path / "a", b"a b\rc\td\n\n e \n")
    assert [line for _, line in lines_of(block)] == [b"a b\rc\td\n", b"\n", b" e \n"]


def test_a_part_of_a_file_ends_where_it_is_said_to(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a\nb\nc\nd\n")
    descriptor = os.open(tmp_path / "a", os.O_RDONLY)
    assert list(read_blocks(descriptor, 2, 6)) == [Block(2, b"b\nc\n", 4)]
    assert list(read_blocks(descriptor, 6, 6)) == []
    os.close(descriptor)


def test_a_link_is_followed_only_where_a_person_named_it(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(A.line())
    (tmp_path / "link").symlink_to(tmp_path / "a")
    with pytest.raises(StorageError, match="symbolic link"):
        list(read_entries(tmp_path / "link"))
    assert [entry.record for entry in read_entries(tmp_path / "link", follow=True)] == [A]


def test_a_tail_without_end_is_no_block(tmp_path: Path) -> None:
    assert blocks(tmp_path / "a", b"x" * (2 * BLOCK)) == []
    assert blocks(tmp_path / "a", b"a\n" + b"x" * (2 * BLOCK)) == [Block(0, b"a\n", 2)]


def test_newlines_are_found_over_blocks(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * (BLOCK + 5) + b"\nyy")
    descriptor = os.open(tmp_path / "a", os.O_RDONLY)
    assert [find_newline(descriptor, start) for start in (0, BLOCK + 5, BLOCK + 6)] == [BLOCK + 6, BLOCK + 6, -1]
    os.close(descriptor)


def test_a_line_that_is_completed_while_the_tail_is_looked_at_is_no_torn_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "read_blocks", lambda _: iter(()))  # as it was when the blocks were read
    assert entries(tmp_path / "a", A.line()) == []


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(A.line())
    with monkeypatch.context() as broken:
        broken.setattr(os, "pread", failing(errno.EIO))
        with pytest.raises(StorageError, match=f"^cannot read {tmp_path}/a: "):
            list(read_entries(tmp_path / "a"))
