"""What waits, by CID, and which lines wait right now, while others append to the archive or replace it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from encoder_pin_plugin.archive.jsonl import Archive
from encoder_pin_plugin.archive.waiting import Item, Waiting, WaitingLines
from encoder_pin_plugin.errors import StorageError
from tests.archive.lines import record
from tests.cids import directory_cid
from tests.conftest import failing

pytestmark = pytest.mark.usefixtures("open_files")

CID = directory_cid(1)


def line(job: str, cid: str = CID, **changes: object) -> bytes:
    return record(1, hash=cid, job_id=job, **changes).line()


def test_lines_of_one_cid_are_one_item_with_all_that_they_know() -> None:
    item = Item(cid=CID)
    moments = ["2025-10-28T10:30:00.000Z", "", "2025-10-27T10:30:00.000Z", "2025-10-29T10:30:00.000Z"]
    for number, (size, moment) in enumerate(zip([None, 2.5, 3.5, None], moments, strict=True)):
        item.take(
            record(1, hash=CID, job_id=str(number), size_mb=size, local_pin_timestamp=moment, node_id=f"node-{number}")
        )
    item.take(record(1, hash=CID, job_id="3", node_id="last"))
    assert item == Item(
        cid=CID, keys=[(CID, str(number)) for number in range(4)], size_mb=2.5, since=moments[2], node_id="last"
    )


def test_an_item_whose_lines_know_no_moment_has_none() -> None:
    item = Item(cid=CID)
    item.take(record(1, hash=CID, local_pin_timestamp=""))
    assert item.since == ""


def test_bad_lines_are_named_and_hold_up_no_other(archive: Archive) -> None:
    archive.path.parent.mkdir()
    unusable = record(2, hash="x" * 46).line()
    archive.path.write_bytes(line("a") + b"broken\n" + unusable + line("b") + line("c", directory_cid(2), size_mb=None))
    waiting = Waiting()
    waiting.read(archive.entries(), archive.path)
    assert (waiting.lines, list(waiting.items), waiting.mb) == (3, [CID, directory_cid(2)], 1.5)
    assert [where for where, _ in waiting.faults] == [f"{archive.path}, line 2", f"{archive.path}, line 3"]
    assert waiting.faults[0][1].startswith("it is not JSON")
    assert "is not a CID" in waiting.faults[1][1]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lines"


def lines_for(path: Path, *cids: str) -> WaitingLines:
    return WaitingLines(path, [Item(cid=cid, keys=[(cid, "a")]) for cid in cids or (CID,)])


def test_before_the_first_look_and_without_a_file_nothing_waits(path: Path) -> None:
    lines = lines_for(path)
    assert lines.keys(CID) == set()
    lines.refresh()
    assert lines.keys(CID) == set()


def test_only_wanted_cids_are_looked_for_in_whatever_form_they_are_written(path: Path) -> None:
    path.write_bytes(line("a") + line("b", CID.upper()) + line("c", directory_cid(2)) + b"no line\n")
    lines = WaitingLines(path, [Item(cid=CID, keys=[(CID, "a"), (CID.upper(), "b")])])
    lines.refresh()
    assert lines.keys(CID) == {(CID, "a"), (CID.upper(), "b")}
    assert lines.keys(directory_cid(2)) == set()


def test_a_line_that_nobody_understands_counts_as_waiting_without_a_job(path: Path) -> None:
    path.write_bytes(b"# about " + CID.encode() + b"\n" + line("x", directory_cid(2), node_id=CID))
    lines = lines_for(path)
    lines.refresh()
    assert lines.keys(CID) == {(CID, "")}


def test_a_later_look_reads_what_is_new_and_nothing_else(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_bytes(line("a"))
    lines = lines_for(path)
    lines.refresh()
    end = path.stat().st_size
    with path.open("ab") as file:
        file.write(line("b"))
    offsets: list[int] = []
    real = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, size, offset: offsets.append(offset) or real(fd, size, offset))
    lines.refresh()
    lines.refresh()
    assert lines.keys(CID) == {(CID, "a"), (CID, "b")}
    assert min(offsets) == end


@pytest.mark.parametrize(
    ("how", "after"),
    [
        ("replaced", line("c")),
        ("replaced", line("c") * 3),
        ("replaced", b""),
        ("in place", line("c")),
        ("in place", b""),
    ],
    ids=["shorter", "longer", "empty", "cut", "emptied"],
)
def test_a_file_that_is_another_one_is_read_anew(path: Path, how: str, after: bytes) -> None:
    path.write_bytes(line("a") + line("b"))
    lines = lines_for(path)
    lines.refresh()
    other = path if how == "in place" else path.with_name("other")
    other.write_bytes(after)
    other.rename(path)
    lines.refresh()
    assert lines.keys(CID) == ({(CID, "c")} if after else set())


def test_where_the_file_is_gone_nothing_waits_any_more(path: Path) -> None:
    path.write_bytes(line("a"))
    lines = lines_for(path)
    lines.refresh()
    path.unlink()
    lines.refresh()
    assert lines.keys(CID) == set()


def test_what_was_forgotten_is_read_again(path: Path) -> None:
    path.write_bytes(line("a"))
    lines = lines_for(path)
    lines.refresh()
    lines.forget()
    assert lines.keys(CID) == set()
    lines.refresh()
    assert lines.keys(CID) == {(CID, "a")}


def test_a_file_that_cannot_be_read_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_bytes(line("a"))
    with monkeypatch.context() as broken:
        broken.setattr(os, "pread", failing(errno.EIO))
        with pytest.raises(StorageError, match=f"^cannot read {path}: "):
            lines_for(path).refresh()
