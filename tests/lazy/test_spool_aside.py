"""What is set aside from the spool, and what a killed writer left there: kept, named, and durable where it then is."""

from __future__ import annotations

import errno
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from encoder_pin_plugin.errors import InvalidJobFile, StorageError
from encoder_pin_plugin.lazy.jobfile import new_submission
from encoder_pin_plugin.lazy.spool import Spool
from tests.conftest import Said, failing
from tests.lazy.spooling import JOB, files


def test_a_rejected_file_stands_beside_its_reason_which_is_there_first(spool: Spool, said: Said) -> None:
    (spool.new / "bad").write_bytes(b"bytes")
    assert spool.reject(spool.new / "bad", "because é\ud800") == spool.rejected / "bad"
    assert (spool.rejected / "bad").read_bytes() == b"bytes"
    assert (spool.rejected / "bad.why").read_bytes() == "because é?\n".encode()
    assert spool.why(spool.rejected / "bad") == "because é?"
    renames = [call[2] for call in said if call[0] == "rename"]
    assert renames == ["data/spool/rejected/bad.why", "data/spool/rejected/bad"]
    assert said[-2:] == [("fsync", "data/spool/rejected"), ("fsync", "data/spool/new")]


def test_no_rejected_file_takes_the_place_of_another(spool: Spool) -> None:
    for number in range(3):
        (spool.new / "bad").write_text(str(number))
        spool.reject(spool.new / "bad", f"reason {number}")
    (spool.rejected / "link").symlink_to("nowhere")
    (spool.new / "link").write_text("3")
    spool.reject(spool.new / "link", "reason 3")
    told = {path.read_text(): spool.why(path) for path in spool.rejects() if not path.is_symlink()}
    assert told == {str(number): f"reason {number}" for number in range(4)}
    assert all(re.fullmatch(r"(bad|link)(\.[0-9a-f]{6})?", path.name) for path in spool.rejects())


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("a.why", "a"),
        ("x" * 255, "x" * 120),
        ("é" * 100, "é" * 60),
        ("x" + "é" * 60, os.fsdecode(b"x" + "é".encode() * 59 + b"\xc3")),
    ],
)
def test_a_rejected_name_leaves_room_for_what_is_put_to_it(spool: Spool, name: str, kept: str) -> None:
    (spool.new / name).touch()
    assert spool.reject(spool.new / name, "because") == spool.rejected / kept
    assert spool.rejects() == [spool.rejected / kept]


def test_a_file_that_another_worker_took_is_not_rejected(spool: Spool) -> None:
    with pytest.raises(FileNotFoundError, match=f"{spool.new}/gone"):
        spool.reject(spool.new / "gone", "because")
    assert files(spool)["rejected"] == []


@pytest.mark.parametrize("refused", ["bad", "bad.why"])
def test_a_rejection_that_the_disk_refuses_leaves_the_file_where_it_was(
    spool: Spool, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    (spool.new / "bad").touch()
    refuse = failing(errno.EIO, when=lambda _, target: Path(target).name == refused, real=os.rename)
    monkeypatch.setattr(os, "rename", refuse)
    with pytest.raises(StorageError, match=f"cannot set aside the job file {spool.new}/bad: "):
        spool.reject(spool.new / "bad", "because")
    assert (files(spool)["new"], files(spool)["rejected"]) == (["bad"], [])


def test_a_rejection_whose_last_sync_fails_keeps_the_reason(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    (spool.new / "bad").touch()
    synced = os.fsync
    moved = lambda _: (spool.rejected / "bad").exists()  # noqa: E731
    monkeypatch.setattr(os, "fsync", failing(errno.EIO, when=moved, real=synced))
    with pytest.raises(FileNotFoundError):
        spool.reject(spool.new / "bad", "because")
    assert files(spool)["rejected"] == ["bad", "bad.why"]


def test_the_folder_of_rejected_files_is_made_where_it_is_missing(spool: Spool) -> None:
    (spool.new / "bad").touch()
    spool.rejected.rmdir()
    assert spool.reject(spool.new / "bad", "because") == spool.rejected / "bad"


def test_a_rejected_job_is_submitted_again_and_its_reason_goes(spool: Spool, said: Said) -> None:
    first = spool.record(JOB)
    spool.new.joinpath(first.name).rename(spool.rejected / "by hand")
    (spool.rejected / "by hand.why").touch()
    spool.new.rmdir()
    said.clear()
    again = spool.submit_again(spool.rejected / "by hand")
    assert (again.job, again.key, again.nonce != first.nonce) == (first.job, first.key, True)
    assert spool.read(spool.new / again.name).job == JOB
    assert files(spool)["rejected"] == []
    kinds = [call[0] for call in said]
    assert kinds[kinds.index("rename") :] == ["rename", "fsync", "fsync", "unlink"]
    spool.new.joinpath(again.name).rename(spool.rejected / "without a reason")
    assert spool.submit_again(spool.rejected / "without a reason").job == JOB


def test_what_holds_no_job_or_cannot_be_moved_stays_rejected(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    (spool.rejected / "no job").touch()
    with pytest.raises(InvalidJobFile, match="it is empty"):
        spool.submit_again(spool.rejected / "no job")
    path = spool.rejected / new_submission(JOB).name
    path.write_bytes(new_submission(JOB).body)
    monkeypatch.setattr(os, "rename", failing(errno.EIO))
    with pytest.raises(StorageError, match=f"^cannot submit again the job file {path}: "):
        spool.submit_again(path)
    assert files(spool)["rejected"] == sorted(["no job", path.name])


def test_what_somebody_else_submits_again_meanwhile_is_gone(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    path = spool.rejected / new_submission(JOB).name
    path.write_bytes(new_submission(JOB).body)
    moved = os.rename

    def late(source: Path, target: Path) -> None:
        path.unlink()
        moved(source, target)

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(os, "rename", late)
        with pytest.raises(FileNotFoundError, match=str(path)):
            spool.submit_again(path)
    with pytest.raises(FileNotFoundError):
        spool.submit_again(path)


def test_one_that_is_moved_and_not_synced_is_no_file_that_is_gone(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    path = spool.rejected / new_submission(JOB).name
    path.write_bytes(new_submission(JOB).body)
    monkeypatch.setattr(os, "fsync", failing(errno.EIO, when=lambda _: not path.exists(), real=os.fsync))
    with pytest.raises(StorageError, match="cannot submit again"):
        spool.submit_again(path)
    assert len(files(spool)["new"]) == 1


def test_a_reason_that_is_lost_is_said_to_be(spool: Spool) -> None:
    (spool.rejected / "a").touch()
    assert spool.why(spool.rejected / "a") == "no reason was kept"
    (spool.rejected / "a.why").write_bytes(b"\xff\n")
    assert spool.why(spool.rejected / "a") == "\ufffd"


def left_behind(spool: Spool, name: str, body: bytes, *, age: float = 601.0) -> Path:
    path = spool.tmp / name
    path.write_bytes(body)
    os.utime(path, (time.time() - age,) * 2)
    return path


def test_a_whole_file_that_a_killed_host_left_becomes_a_submission(spool: Spool, said: Said, log: list[str]) -> None:
    submission = new_submission(JOB)
    left_behind(spool, submission.name, submission.body)
    spool.recover_unfinished()
    assert spool.read(spool.new / submission.name) == submission
    assert files(spool)["tmp"] == []
    assert said[-2:] == [("fsync", "data/spool/new"), ("fsync", "data/spool/tmp")]
    assert log[0].startswith("WARNING recovered job job-1 from ")


def test_a_torn_file_goes_and_one_of_the_future_is_seen_to_as_well(spool: Spool, log: list[str]) -> None:
    submission = new_submission(JOB)
    left_behind(spool, "torn", submission.body[:50])
    left_behind(spool, "ahead", submission.body, age=-700)
    spool.recover_unfinished()
    assert (len(files(spool)["new"]), files(spool)["tmp"]) == (1, [])
    assert any(line.startswith("WARNING removed ") for line in log)


def test_a_torn_file_that_another_worker_removes_first_is_no_trouble(
    spool: Spool, monkeypatch: pytest.MonkeyPatch, log: list[str]
) -> None:
    left_behind(spool, "torn", b"torn")
    real = os.unlink

    def twice(path: Path) -> None:
        real(path)
        real(path)

    monkeypatch.setattr(os, "unlink", twice)
    spool.recover_unfinished()
    assert [line for line in log if "stays" in line] == []


@pytest.mark.parametrize("age", [0, 590, -590])
def test_a_file_that_may_have_a_writer_is_left_alone(spool: Spool, age: float) -> None:
    left_behind(spool, "a", b"", age=age)
    spool.recover_unfinished()
    assert files(spool)["tmp"] == ["a"]


def test_what_cannot_be_seen_to_stays_and_the_next_one_is_seen_to(
    spool: Spool, monkeypatch: pytest.MonkeyPatch, log: list[str]
) -> None:
    for name in ("a", "b", "c"):
        left_behind(spool, name, b"torn")
    refuse = failing(errno.EIO, when=lambda path: Path(path).name == "b", real=os.unlink)
    monkeypatch.setattr(os, "unlink", refuse)
    spool.recover_unfinished()
    assert files(spool)["tmp"] == ["b"]
    assert [line for line in log if line.startswith(f"WARNING cannot remove {spool.tmp}/b: ")]
    monkeypatch.setattr(os, "rename", failing(errno.EIO))
    whole = left_behind(spool, "d", new_submission(JOB).body)
    spool.recover_unfinished()
    assert files(spool)["tmp"] == ["b", "d"]
    assert [line for line in log if line.startswith(f"WARNING cannot recover {whole}: ")]


def test_a_file_that_goes_while_it_is_looked_at_is_no_harm(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    left_behind(spool, "a", b"torn")
    real = os.scandir
    with monkeypatch.context() as patched:
        patched.setattr(os, "scandir", lambda folder: _Vanishing(real(folder), spool.tmp / "a"))
        spool.recover_unfinished()
    assert files(spool)["tmp"] == []


class _Vanishing:
    """A listing whose file is gone when it has been read."""

    def __init__(self, entries: Iterator[os.DirEntry[str]], path: Path) -> None:
        self._entries, self._path = entries, path

    def __enter__(self) -> Iterator[os.DirEntry[str]]:
        names = list(self._entries)
        self._path.unlink()
        return iter(names)

    def __exit__(self, *_: object) -> None:
        pass
