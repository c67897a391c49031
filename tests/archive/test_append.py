"""An append returns when the line is whole, durable, alone of its key, and in the file that has the name."""

from __future__ import annotations

import os
import stat
import threading
from typing import TYPE_CHECKING

import pytest

from encoder_pin_plugin.archive.jsonl import Archive
from encoder_pin_plugin.archive.record import parse_line
from encoder_pin_plugin.errors import ArchiveError, StorageError
from tests.archive.lines import migrated, record

if TYPE_CHECKING:
    from pathlib import Path


def test_nothing_is_touched_before_the_first_append(archive: Archive) -> None:
    assert list(archive.entries()) == []
    assert archive.find("x", "y") is None
    assert archive.total().records == 0
    assert archive.check().good
    assert archive.settle().removed == 0
    assert not archive.path.parent.exists()


def test_an_append_is_found_and_read(archive: Archive) -> None:
    assert archive.append(record(1)) == record(1)
    archive.append(record(2))
    assert archive.path.read_bytes() == record(1).line() + record(2).line()
    assert archive.find(*record(1).key) == record(1)
    assert archive.where(*record(1).key) == archive.path
    assert [entry.record for entry in archive.entries()] == [record(1), record(2)]


def test_files_are_for_their_owner_until_the_owner_says_otherwise(archive: Archive) -> None:
    archive.append(record(1))
    assert stat.S_IMODE(archive.path.stat().st_mode) == 0o600
    archive.path.chmod(0o640)
    archive.append(record(2))
    archive.compact([record(1).key], [migrated(1)])
    assert stat.S_IMODE(archive.path.stat().st_mode) == 0o640


def test_a_key_is_written_once_and_its_first_line_stands(archive: Archive) -> None:
    archive.append(record(1))
    assert archive.append(record(1, size_mb=99)) == record(1)
    assert Archive(archive.path.parent).append(record(1)) == record(1)
    assert archive.path.read_bytes() == record(1).line()


def test_the_same_content_of_another_job_is_another_line(archive: Archive) -> None:
    archive.append(record(1))
    archive.append(record(1, job_id="another"))
    assert archive.total().records == 2


def test_a_key_among_the_migrated_is_not_written_again(archive: Archive) -> None:
    archive.path.parent.mkdir()
    archive.migrated_path.write_bytes(migrated(1))
    assert archive.append(record(1)) == parse_line(migrated(1))
    assert archive.where(*record(1).key) == archive.migrated_path
    assert not list(archive.entries())


def test_a_job_id_that_needs_escapes_is_a_key_like_any_other(archive: Archive) -> None:
    odd = record(1, job_id='"é\n\\🎬')
    archive.append(odd)
    assert archive.append(odd) == odd
    raw = archive.path.read_bytes().replace(b"\\u00e9", "é".encode())  # another program's way to write it
    archive.path.write_bytes(raw)
    assert Archive(archive.path.parent).append(odd) == odd
    assert archive.path.read_bytes() == raw


def test_every_append_is_one_log_line_that_operators_grep(archive: Archive, log: list[str]) -> None:
    archive.append(record(1, job_id="{job} \x1b[31m\n<red>"))
    assert [line.startswith("INFO BATCH DATABASE: ") for line in log] == [True]
    assert log[0].count("\n") == 1
    assert "\x1b" not in log[0]


def test_a_record_that_would_read_back_otherwise_is_not_written(archive: Archive) -> None:
    for odd in (record(hash="not a CID"), record(job_id=""), record(size_mb=-1), record(type="video")):
        with pytest.raises(ArchiveError):
            archive.append(odd)
    assert not archive.path.exists()


def test_a_file_that_was_moved_away_is_begun_anew(archive: Archive, tmp_path: Path) -> None:
    archive.append(record(1))
    archive.path.rename(tmp_path / "collected.jsonl")
    archive.append(record(2))
    assert (tmp_path / "collected.jsonl").read_bytes() == record(1).line()
    assert archive.path.read_bytes() == record(2).line()
    archive.append(record(1))
    assert archive.path.read_bytes() == record(2).line() + record(1).line()


def test_a_file_that_was_emptied_or_changed_in_place_is_read_anew(archive: Archive) -> None:
    archive.append(record(1))
    os.truncate(archive.path, 0)
    archive.append(record(1))
    assert archive.path.read_bytes() == record(1).line()
    archive.path.write_bytes(record(3).line() + record(4).line())  # the same inode, longer than what was read
    archive.append(record(1))
    archive.append(record(4))
    assert archive.path.read_bytes() == record(3).line() + record(4).line() + record(1).line()


def test_lines_appended_while_the_file_is_moved_again_and_again_are_all_somewhere(
    archive: Archive, tmp_path: Path
) -> None:
    done = threading.Event()

    def collect() -> None:
        number = 0
        while not done.is_set():
            if archive.path.exists():
                archive.path.rename(tmp_path / f"collected-{number}")
                number += 1
            done.wait(0.005)

    collector = threading.Thread(target=collect)
    collector.start()
    returned = []
    for number in range(300):
        try:
            returned.append(archive.append(record(number)))
        except ArchiveError as error:
            assert "moved away" in str(error)  # noqa: PT017 - both outcomes are right
    done.set()
    collector.join()
    files = [*tmp_path.glob("collected-*"), *([archive.path] if archive.path.exists() else [])]
    lines = {line for file in files for line in file.read_bytes().splitlines(keepends=True)}
    assert len(returned) > 100
    assert {each.line() for each in returned} <= lines
    assert all(parse_line(line) for line in lines)


@pytest.mark.parametrize("stands", ["link", "dangling link", "pipe", "folder"])
def test_what_is_no_plain_file_is_refused_at_once(archive: Archive, tmp_path: Path, stands: str) -> None:
    archive.path.parent.mkdir()
    elsewhere = tmp_path / "elsewhere"
    if stands == "link":
        elsewhere.write_bytes(b"precious")
    match stands:
        case "link" | "dangling link":
            archive.path.symlink_to(elsewhere)
        case "pipe":
            os.mkfifo(archive.path)
        case "folder":
            archive.path.mkdir()
    for act in (lambda: archive.append(record(1)), lambda: list(archive.entries()), archive.total, archive.check):
        with pytest.raises((ArchiveError, StorageError), match=str(archive.path)):
            act()
    assert not elsewhere.exists() or elsewhere.read_bytes() == b"precious"


def test_the_folder_can_be_gone_and_come_back(archive: Archive, tmp_path: Path) -> None:
    archive.append(record(1))
    archive.path.parent.rename(tmp_path / "away")
    archive.append(record(2))
    assert archive.path.read_bytes() == record(2).line()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_a_clear_error(archive: Archive) -> None:
    archive.path.parent.mkdir(mode=0o500)
    with pytest.raises(StorageError, match="let the user that runs the encoder write there"):
        archive.append(record(1))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_root_creates_belongs_to_the_owner_of_the_folder(archive: Archive) -> None:
    archive.path.parent.mkdir()
    os.chown(archive.path.parent, 1234, 1234)
    archive.append(record(1))
    archive.append(record(2))
    archive.compact([record(1).key], [migrated(1)])
    with archive.path.open("ab") as file:
        file.write(b"torn")
    archive.append(record(3))
    files = list(archive.path.parent.rglob("*"))
    assert {path.stat().st_uid for path in files} == {1234}
    assert len(files) == 5


def test_restoring_appends_what_is_missing_with_one_write(archive: Archive, log: list[str]) -> None:
    archive.append(record(1))
    archive.compact([record(1).key], [migrated(1)])
    archive.append(record(2))
    assert archive.restore([record(1), record(2), record(3), record(4), record(3)]) == (record(3), record(4))
    assert archive.restore([record(3)]) == ()
    assert [entry.record for entry in archive.entries()] == [record(2), record(3), record(4)]
    assert sum("BATCH DATABASE" in line for line in log) == 4


def test_a_forked_child_appends_too(archive: Archive) -> None:
    archive.append(record(1))
    child = os.fork()
    if child == 0:
        try:
            archive.append(record(2))
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    archive.append(record(3))
    assert [entry.record for entry in archive.entries()] == [record(1), record(2), record(3)]
