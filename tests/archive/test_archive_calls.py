"""The archive, call by call: what each returns, logs and heals, and that none waits for what a fork has left behind."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from encoder_pin_plugin.archive.jsonl import Archive
from encoder_pin_plugin.archive.record import WITHDRAWN
from encoder_pin_plugin.errors import ArchiveError, StorageError
from tests.archive.lines import migrated, record
from tests.conftest import names_in

A, B, C = record(1), record(2), record(3)

CALLS: dict[str, Callable[[Archive], object]] = {
    "append": lambda archive: archive.append(C),
    "find": lambda archive: archive.find(*A.key),
    "find_waiting": lambda archive: archive.find_waiting([A.key]),
    "where": lambda archive: archive.where(*A.key),
    "restore": lambda archive: archive.restore([C]),
    "repair": lambda archive: archive.repair(),
    "compact": lambda archive: archive.compact([A.key], [migrated(1)]),
    "take_back": lambda archive: archive.take_back(C, "lost"),
    "settle": lambda archive: archive.settle(),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_forked_child_does_not_wait_for_a_thread_of_its_parent(tmp_path: Path, name: str) -> None:
    archive = Archive(tmp_path, lock_timeout=0.3)
    archive.append(A)
    archive.append(B)
    with archive._lock._mutex:  # a thread of the parent is about to write
        child = os.fork()
        if child == 0:
            try:
                CALLS[name](archive)
                os._exit(0)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    CALLS[name](archive)  # and the parent goes on


def test_one_process_keeps_what_it_has_read(archive: Archive) -> None:
    waiting = archive._waiting
    archive.append(A)
    archive.find(*A.key)
    assert archive._waiting is waiting


def test_what_waits_is_found_and_what_was_migrated_is_not(archive: Archive) -> None:
    for each in (A, B):
        archive.append(each)
    archive.compact([A.key], [migrated(1)])
    assert archive.find_waiting([A.key, B.key, C.key]) == {B.key: B}
    assert archive.where(*A.key) == archive.migrated_path
    assert archive.where(*B.key) == archive.path
    assert archive.where(*C.key) is None


def test_each_append_says_what_it_did(archive: Archive, log: list[str]) -> None:
    small, unknown = record(1, job_id="it's", size_mb=2.5), record(2, size_mb=None)
    archive.append(small)
    archive.append(small)
    archive.restore([unknown])
    archive.take_back(C, "lost")
    assert log == [
        f"""INFO BATCH DATABASE: {small.hash} of job "it's" (2.5 MB) recorded in {archive.path}\n""",
        f"""INFO BATCH DATABASE: {small.hash} of job "it's" (2.5 MB) was already recorded in {archive.path}\n""",
        f"INFO BATCH DATABASE: {unknown.hash} of job 'job-2' (unknown size) recorded in {archive.path}\n",
        f"INFO BATCH DATABASE: {C.hash} of job 'job-3' (3.5 MB) recorded in {archive.path}\n",
    ]


TORN: dict[str, Callable[[Archive], object]] = {
    "append": lambda archive: archive.append(B),
    "restore": lambda archive: archive.restore([B]),
    "take_back": lambda archive: archive.take_back(B, "lost"),
}


@pytest.mark.parametrize("name", TORN)
def test_a_record_that_only_lacked_its_newline_is_not_written_again(archive: Archive, name: str) -> None:
    archive.append(A)
    with archive.path.open("ab") as file:
        file.write(B.line()[:-1])
    TORN[name](archive)
    assert archive.path.read_bytes() == A.line() + B.line()


def test_a_migrated_line_that_only_lacked_its_newline_is_not_written_again(archive: Archive) -> None:
    archive.append(A)
    archive.migrated_path.write_bytes(migrated(1)[:-1])
    assert archive.compact([A.key], [migrated(1)]).removed == 1
    assert archive.migrated_path.read_bytes() == migrated(1)


def test_a_migrated_line_that_only_lacked_its_newline_is_withdrawn(archive: Archive) -> None:
    archive.path.parent.mkdir()
    archive.migrated_path.write_bytes(migrated(1)[:-1])
    archive.take_back(A, "lost")
    stands, withdrawal = archive.migrated_path.read_bytes().splitlines(keepends=True)
    assert stands == migrated(1)
    assert WITHDRAWN in json.loads(withdrawal)


def test_nobody_looks_at_what_waits_where_nothing_is_to_leave(archive: Archive) -> None:
    archive.append(A)
    done = archive.compact([], [migrated(2)])
    assert (done.removed, done.kept) == (0, None)
    assert archive.migrated_path.read_bytes() == migrated(2)


@pytest.mark.parametrize("between", [b",\n", b",\r\n", b"\n,"])
def test_a_record_over_two_lines_is_not_one(archive: Archive, between: bytes) -> None:
    archive.append(A)
    line = migrated(1).replace(b",", between, 1)
    with pytest.raises(ArchiveError, match=r"^this is not one line: b'\{"):
        archive.compact([A.key], [line])
    assert archive.path.read_bytes() == A.line()
    assert not archive.migrated_path.exists()


def test_a_refusal_shows_the_beginning_of_the_line(archive: Archive) -> None:
    with pytest.raises(ArchiveError, match=f"^this is not one line: b'{'x' * 300}'$"):
        archive.compact([], [b"x" * 1000])
    odd = record(size_mb=-1, node_id="y" * 1000)
    with pytest.raises(
        ArchiveError, match=rf"^the record of {odd.hash} would not be read back as it is: b'{{"
    ) as caught:
        archive.append(odd)
    assert str(caught.value).endswith(f"{odd.line()[:300].decode()}'")


def test_what_is_taken_back_says_when_and_why(archive: Archive, in_tokyo: None) -> None:
    archive.append(A)
    archive.compact([A.key], [migrated(1)])
    (moved,) = [entry.record for entry in archive.migrated() if entry.record]
    archive.take_back(moved, "the target lost it")
    *_, withdrawal = map(json.loads, archive.migrated_path.read_bytes().splitlines())
    assert list(withdrawal)[8:] == [WITHDRAWN, "why"]
    assert withdrawal["why"] == "the target lost it"
    moment = datetime.fromisoformat(withdrawal[WITHDRAWN])
    assert abs(datetime.now(UTC) - moment) < timedelta(minutes=5)


def test_settling_makes_no_archive_where_there_was_none(archive: Archive) -> None:
    archive.path.parent.mkdir()
    archive.migrated_path.write_bytes(migrated(1)[:-1])
    assert archive.settle().removed == 0
    assert archive.migrated_path.read_bytes() == migrated(1)
    assert names_in(archive.path.parent) == sorted([archive.migrated_path.name, f"{archive.path.name}.lock"])


def test_a_folder_that_cannot_be_tidied_is_named(archive: Archive) -> None:
    archive.append(A)
    archive.path.with_name(f".{archive.path.name}.1.00.tmp").symlink_to("/etc/passwd")
    with pytest.raises(StorageError, match=f"^cannot tidy {archive.path.parent}: "):
        archive.settle()
