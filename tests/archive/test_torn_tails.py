"""Whatever a killed writer or a full disk leaves after the last newline, the next append is a line of its own."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encoder_pin_plugin.archive.jsonl import Archive
from encoder_pin_plugin.archive.record import MAX_LINE, InvalidLine, parse_line
from tests.archive.lines import record

FIRST, TORN, NEXT = record(1), record(2), record(3)
TAILS = {
    "nothing": b"",
    "NULs": b"\0" * 700,
    "garbage": b"\x80\xff{]}",
    "CR": b"\r",
    "CRLF": b"\r\n",
    "another line, merged": record(4).line(),
    "another torn line, merged": record(4).line()[:-1],
}


@pytest.mark.parametrize("tail", TAILS)
def test_every_prefix_of_a_line_with_anything_after_it(tmp_path: Path, tail: str) -> None:
    line = TORN.line()
    for length in range(len(line)):
        _heal_and_append(tmp_path / str(length), line[:length] + TAILS[tail])


def test_what_stood_before_is_the_only_thing_that_is_there_before(tmp_path: Path) -> None:
    for length in (0, 1, 100):
        archive = Archive(tmp_path / str(length))
        archive.path.parent.mkdir()
        archive.path.write_bytes(TORN.line()[:length])
        archive.append(NEXT)
        assert archive.path.read_bytes() == NEXT.line()


@settings(max_examples=150, deadline=None)
@given(tail=st.binary(max_size=400) | st.binary(max_size=60).map(lambda tail: TORN.line()[:-1] + tail))
def test_any_bytes_after_the_last_newline(tail: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        _heal_and_append(Path(folder) / "data", tail)


def test_a_whole_record_without_newline_gets_it_and_is_not_doubled(archive: Archive, log: list[str]) -> None:
    archive.append(FIRST)
    with archive.path.open("ab") as file:
        file.write(TORN.line()[:-1])
    assert archive.append(TORN) == TORN
    assert archive.path.read_bytes() == FIRST.line() + TORN.line()
    assert not archive.quarantine.exists()
    assert any("it got its newline" in line for line in log)


def test_a_huge_tail_is_set_aside_whole(archive: Archive) -> None:
    archive.append(FIRST)
    tail = os.urandom(3 << 20).replace(b"\n", b"x")
    with archive.path.open("ab") as file:
        file.write(tail)
    archive.append(NEXT)
    assert archive.path.read_bytes() == FIRST.line() + NEXT.line()
    (aside,) = archive.quarantine.iterdir()
    assert aside.read_bytes() == tail


def test_an_over_long_record_without_newline_is_no_record(archive: Archive) -> None:
    archive.append(FIRST)
    with archive.path.open("ab") as file:
        file.write(TORN.line()[:-2] + b',"x":"' + b"y" * MAX_LINE + b'"}')
    archive.append(NEXT)
    assert archive.path.read_bytes() == FIRST.line() + NEXT.line()


def test_a_quarantine_that_cannot_be_written_blocks_nothing(archive: Archive, log: list[str]) -> None:
    archive.append(FIRST)
    archive.quarantine.write_bytes(b"a file where the folder should be")
    with archive.path.open("ab") as file:
        file.write(b"torn")
    archive.append(NEXT)
    assert archive.path.read_bytes() == FIRST.line() + b"torn\n" + NEXT.line()
    assert [entry.record for entry in archive.entries()] == [FIRST, None, NEXT]
    assert any("a line of its own" in line for line in log)


def test_reading_leaves_a_torn_tail_alone_and_tells_it(archive: Archive) -> None:
    archive.append(FIRST)
    with archive.path.open("ab") as file:
        file.write(TORN.line()[:50])
    before = archive.path.read_bytes()
    first, torn = archive.entries()
    assert first.record == FIRST
    assert torn.torn
    assert torn.record is None
    assert archive.find(*TORN.key) is None
    assert archive.total().records == 1
    assert archive.check().torn == 50
    assert archive.path.read_bytes() == before


def test_settling_heals_both_files(archive: Archive) -> None:
    archive.append(FIRST)
    archive.migrated_path.write_bytes(b"torn")
    with archive.path.open("ab") as file:
        file.write(TORN.line()[:-1])
    archive.settle()
    assert archive.path.read_bytes() == FIRST.line() + TORN.line()
    assert archive.migrated_path.read_bytes() == b""
    assert len(list(archive.quarantine.iterdir())) == 1


def _heal_and_append(folder: Path, tail: bytes) -> None:
    """Nothing that was a record is lost, nothing that was there is gone, and what is appended is a line."""
    folder.mkdir(parents=True)
    archive = Archive(folder)
    before = FIRST.line() + tail
    archive.path.write_bytes(before)
    expected = [FIRST, *(each for each in map(_record, tail.split(b"\n")) if each), NEXT]
    assert archive.append(NEXT) == NEXT
    after = archive.path.read_bytes()
    assert [entry.record for entry in archive.entries() if entry.record] == expected
    assert after.endswith(b"\n" + NEXT.line())
    aside = b"".join(file.read_bytes() for file in archive.quarantine.iterdir()) if archive.quarantine.exists() else b""
    kept = after[: -len(NEXT.line())]
    assert kept in (before, before + b"\n", before[: len(before) - len(aside)])
    assert kept + aside in (before, before + b"\n")


def _record(line: bytes) -> object:
    try:
        return parse_line(line)
    except InvalidLine:
        return None
