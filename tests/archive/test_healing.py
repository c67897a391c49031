"""A torn tail, byte by byte: completed where it is a record, else moved whole, and durable in either case."""

from __future__ import annotations

import errno
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from encoder_pin_plugin.archive import healing
from encoder_pin_plugin.archive.healing import Healed, heal, quarantine_file
from encoder_pin_plugin.archive.record import MAX_LINE
from tests.archive.lines import record
from tests.conftest import Said

pytestmark = pytest.mark.usefixtures("open_files")

A = record(1)
SIZE = len(A.line())


def torn(path: Path, data: bytes) -> Healed | None:
    """Heal a file that holds this, and look at what it holds then."""
    path.write_bytes(data)
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND)
    try:
        return heal(descriptor, path, path.parent / "quarantine")
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("data", [b"", b"\n", b"x\n"])
def test_a_file_that_ends_with_a_newline_needs_nothing(tmp_path: Path, said: Said, data: bytes) -> None:
    assert torn(tmp_path / "a", data) is None
    assert said == []


def test_a_record_that_lacks_its_newline_gets_it_durably(tmp_path: Path, said: Said, log: list[str]) -> None:
    healed = torn(tmp_path / "a", b"x\n" + A.line()[:-1])
    assert healed == Healed(what="a whole record, it got its newline", quarantined=None, size=SIZE - 1)
    assert (tmp_path / "a").read_bytes() == b"x\n" + A.line()
    assert said == [("fsync", "a", str(SIZE + 2))]
    assert log == [f"WARNING {tmp_path}/a ended with {SIZE - 1} bytes without a newline, at byte 2: {healed.what}\n"]


def test_a_record_is_completed_however_large_the_file_is(tmp_path: Path) -> None:
    before = b"y" * (2 * MAX_LINE) + b"\n"
    healed = torn(tmp_path / "a", before + A.line()[:-1])
    assert healed == Healed(what="a whole record, it got its newline", quarantined=None, size=SIZE - 1)
    assert (tmp_path / "a").read_bytes() == before + A.line()


def test_what_comes_while_a_tail_is_moved_is_moved_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_folder = healing.make_folder

    def be_late(folder: Path) -> None:
        with (tmp_path / "a").open("ab") as other:
            other.write(b" and more")
        make_folder(folder)

    monkeypatch.setattr(healing, "make_folder", be_late)
    healed = torn(tmp_path / "a", b"x\ntorn")
    assert healed is not None
    assert healed.quarantined is not None
    assert healed.quarantined.read_bytes() == b"torn and more"
    assert (tmp_path / "a").read_bytes() == b"x\n"


def test_the_longest_record_is_completed_and_a_longer_one_set_aside(tmp_path: Path) -> None:
    room = MAX_LINE - len(record(job_id="").line())
    longest = record(job_id="x" * room).line()
    assert torn(tmp_path / "a", longest[:-1]) == Healed(
        what="a whole record, it got its newline", quarantined=None, size=MAX_LINE - 1
    )
    longer = longest.replace(b"xx", b"xxx", 1)[:-1]
    healed = torn(tmp_path / "b", longer)
    assert healed is not None
    assert healed.quarantined is not None
    assert (healed.size, healed.quarantined.read_bytes()) == (MAX_LINE, longer)


@pytest.mark.parametrize("length", [1, healing._BLOCK - 1, healing._BLOCK, healing._BLOCK + 1, 3 * healing._BLOCK])
@pytest.mark.parametrize("before", [b"", b"\n", b"a\nb\n", b"y" * healing._BLOCK + b"\n"], ids=len)
def test_a_tail_of_any_length_is_moved_whole(tmp_path: Path, said: Said, before: bytes, length: int) -> None:
    tail = os.urandom(length).replace(b"\n", b"x")
    healed = torn(tmp_path / "a", before + tail)
    assert healed is not None
    assert healed.quarantined is not None
    assert (tmp_path / "a").read_bytes() == before
    assert healed.quarantined.read_bytes() == tail
    assert (healed.what, healed.size) == (f"no record, moved to {healed.quarantined}", length)
    assert healed.quarantined.name.endswith(f"Z-torn-at-{len(before)}")
    assert said[-1] == ("fsync", "a", str(len(before)))


def test_what_cannot_be_moved_becomes_a_line_of_its_own(tmp_path: Path, said: Said) -> None:
    (tmp_path / "quarantine").write_bytes(b"in the way")
    healed = torn(tmp_path / "a", b"x\ntorn")
    why = os.strerror(errno.ENOTDIR)
    assert healed == Healed(
        what=f"no record, and it could not be moved to {tmp_path}/quarantine ({why}): it is now a line of its own",
        quarantined=None, size=4,
    )  # fmt: skip
    assert (tmp_path / "a").read_bytes() == b"x\ntorn\n"
    assert said[-1] == ("fsync", "a", "7")


def test_what_is_set_aside_is_durable_under_a_name_that_says_when_and_what(
    tmp_path: Path, said: Said, in_tokyo: None
) -> None:
    path = quarantine_file(tmp_path / "quarantine", "torn-at-7", iter([b"a", b"b"]))
    assert path.read_bytes() == b"ab"
    assert path.parent == tmp_path / "quarantine"
    moment = datetime.strptime(path.name, "%Y%m%dT%H%M%S%fZ-torn-at-7").replace(tzinfo=UTC)
    assert abs(datetime.now(UTC) - moment) < timedelta(minutes=5)
    assert said == [("fsync", "."), ("fsync", f"quarantine/{path.name}", "2"), ("fsync", "quarantine")]
