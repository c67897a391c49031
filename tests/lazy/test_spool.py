"""The folder of job files, without a worker: what is durable when a call returns, and what each disk error leaves."""

from __future__ import annotations

import errno
import os
import re
import shlex
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from loguru import logger

from encoder_hookspecs.events import CompletedJob
from encoder_pin_plugin.errors import InvalidJobFile, NotRecorded, StorageError
from encoder_pin_plugin.lazy.jobfile import MAX_BYTES, new_submission
from encoder_pin_plugin.lazy.spool import Spool
from tests.conftest import Said
from tests.lazy.conftest import cid_of

CID = cid_of("a video")
JOB = CompletedJob(cid=CID, job_id="job-1", size_mb=25.5, completed_at=datetime(2025, 10, 28, 10, 30, tzinfo=UTC))


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    """A spool whose folders are there."""
    spool = Spool(tmp_path / "data")
    spool.create()
    return spool


@pytest.fixture
def log() -> Iterator[list[str]]:
    lines: list[str] = []
    sink = logger.add(lines.append, format="{level} {message}")
    yield lines
    logger.remove(sink)


def failing(number: int, *, when: Callable[..., bool] = lambda *_: True, real: Callable[..., None] | None = None) -> Callable[..., None]:
    def act(*paths: object) -> None:
        if when(*paths):
            raise OSError(number, os.strerror(number))
        assert real is not None
        real(*paths)

    return act


def files(spool: Spool) -> dict[str, list[str]]:
    return {folder.name: sorted(os.listdir(folder)) for folder in (spool.tmp, spool.new, spool.open, spool.rejected)}


def test_the_folders_stand_below_the_data_folder(tmp_path: Path) -> None:
    Spool(tmp_path).create()
    assert sorted(os.listdir(tmp_path / "spool")) == ["new", "open", "rejected", "tmp"]


def test_folders_that_cannot_be_made_are_named(tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("in the way")
    with pytest.raises(StorageError, match=f"cannot create the folder {tmp_path}/spool/tmp: "):
        Spool(tmp_path).create()


def test_a_job_is_written_in_tmp_synced_renamed_and_its_new_name_synced(spool: Spool, said: Said) -> None:
    written = spool.record(JOB)
    name, tmp, new = written.name, "data/spool/tmp", "data/spool/new"
    synced = ("fsync", f"{tmp}/{name}", str(len(written.body)))
    assert said == [synced, ("rename", f"{tmp}/{name}", f"{new}/{name}"), ("fsync", new)]
    assert files(spool) == {"tmp": [], "new": [name], "open": [], "rejected": []}


@pytest.mark.parametrize("missing", [["spool"], ["spool/tmp"], ["spool/new"], ["spool/tmp", "spool/new"]], ids=str)
def test_folders_that_are_gone_come_back_with_the_next_job(spool: Spool, tmp_path: Path, missing: list[str]) -> None:
    for folder in missing:
        (tmp_path / "data" / folder).rename(tmp_path / folder.replace("/", "-"))
    submission = spool.record(JOB)
    assert spool.arrivals(9) == [spool.new / submission.name]
    assert spool.read(spool.arrivals(9)[0]) == submission


@pytest.mark.parametrize("call", ["write", "fsync", "rename"])
def test_a_job_that_could_not_be_recorded_leaves_nothing_and_is_told_with_its_command(
    spool: Spool, monkeypatch: pytest.MonkeyPatch, log: list[str], call: str
) -> None:
    job = CompletedJob(cid=CID, job_id="a b", size_mb=2, type="file", node_id="node", completed_at=JOB.completed_at)
    with monkeypatch.context() as broken, pytest.raises(NotRecorded) as caught:
        broken.setattr(os, call, failing(errno.ENOSPC))
        spool.record(job)
    assert files(spool)["tmp"] == files(spool)["new"] == []
    command = shlex.join([
        "encoder-pin", "submit", CID, "--job-id", "a b", "--size-mb", "2.0", "--type", "file", "--node-id", "node",
        "--completed-at", "2025-10-28T10:30:00.000+00:00",
    ])  # fmt: skip
    assert str(caught.value) == (
        f"job a b with CID {CID} is not recorded: cannot write below {spool.folder}: No space left on device;"
        f" free some space on that disk, then submit it again with: {command}"
    )
    (line,) = log
    assert line.startswith("CRITICAL NOT RECORDED: job a b ")
    assert line.endswith(f"{command}\n")


def test_a_command_names_only_what_is_known(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", failing(errno.EIO))
    with pytest.raises(NotRecorded, match=re.escape(f"{CID} --job-id job-1 --size-mb 25.5 --completed-at 2025-10-28T10")):
        spool.record(JOB)


def test_a_rename_that_failed_is_told_also_where_its_file_is_gone(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    def lose(source: Path, _: Path) -> None:
        Path(source).unlink()
        failing(errno.EIO)()

    monkeypatch.setattr(os, "rename", lose)
    with pytest.raises(NotRecorded, match=os.strerror(errno.EIO)):
        spool.record(JOB)


def test_arrivals_are_those_without_a_dot_up_to_a_limit(spool: Spool) -> None:
    for number in range(5):
        (spool.new / f"job-{number}").touch()
    assert sorted(path.name for path in spool.arrivals(99)) == [f"job-{number}" for number in range(5)]
    assert len(spool.arrivals(3)) == 3
    for path in spool.arrivals(99):
        path.rename(spool.new / f".{path.name}")
    assert spool.arrivals(99) == []


def test_lists_are_empty_where_there_is_no_folder(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    assert (spool.arrivals(9), spool.opened(), spool.opened_names(), spool.rejects()) == ([], [], [], [])
    spool.recover_unfinished()


def test_a_folder_that_cannot_be_listed_is_named(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.folder.mkdir()
    for folder in (spool.tmp, spool.new, spool.open, spool.rejected):
        folder.write_text("a file")
    for act, folder in ((lambda: spool.arrivals(1), "new"), (spool.opened, "open"), (spool.opened_names, "open"),
                        (spool.rejects, "rejected"), (spool.recover_unfinished, "tmp")):  # fmt: skip
        with pytest.raises(StorageError, match=f"cannot list {spool.folder}/{folder}: "):
            act()


def test_what_is_open_and_what_is_rejected_is_listed(spool: Spool) -> None:
    (spool.open / "a").touch()
    (spool.open / ".tmp").touch()
    (spool.rejected / "b").touch()
    (spool.rejected / "b.why").touch()
    assert spool.opened() == [spool.open / "a"]
    assert spool.opened_names() == ["a"]
    assert spool.rejects() == [spool.rejected / "b"]


def test_a_dropped_file_that_was_written_anew_is_another_submission(spool: Spool) -> None:
    path = spool.new / "job.json"
    nonces = []
    for moment in (1, 1, 2):
        path.write_bytes(new_submission(JOB).body)
        os.utime(path, (moment, moment))
        nonces.append(spool.read(path).nonce)
    path.rename(spool.new / "other")
    path.write_bytes(new_submission(JOB).body)
    os.utime(path, (2, 2))
    assert len({*nonces[1:], spool.read(path).nonce}) == 3


def test_what_will_never_be_a_job_is_told_from_what_cannot_be_read_now(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    (spool.new / "link").symlink_to("/etc/passwd")
    (spool.new / "folder").mkdir()
    (spool.new / "large").write_bytes(b"x" * (MAX_BYTES + 1))
    (spool.new / "sound").write_bytes(new_submission(JOB).body)
    for name, why in (("link", "it is a symbolic link"), ("folder", "it is no regular file"), ("large", "it is larger")):
        with pytest.raises(InvalidJobFile, match=f"^{why}"):
            spool.read(spool.new / name)
    with pytest.raises(FileNotFoundError):
        spool.read(spool.new / "gone")
    monkeypatch.setattr(os, "dup", failing(errno.EMFILE))
    with pytest.raises(StorageError, match=f"^cannot read the job file {spool.new}/sound: Too many open files$"):
        spool.read(spool.new / "sound")


def test_indexed_files_move_to_open_and_both_folders_are_durable(spool: Spool, said: Said) -> None:
    taken = [(spool.new / it.name, it) for it in (spool.record(JOB), spool.record(JOB))]
    (spool.new / taken[1][1].name).rename(spool.new / "dropped")
    taken[1] = (spool.new / "dropped", taken[1][1])
    said.clear()
    spool.move_to_open([(spool.new / "gone", new_submission(JOB)), *taken])
    names = [submission.name for _, submission in taken]
    assert files(spool)["open"] == sorted(names)
    assert files(spool)["new"] == []
    assert [call for call in said if call[0] == "fsync"] == said[-2:] == [("fsync", "data/spool/open"), ("fsync", "data/spool/new")]


def test_a_move_that_the_disk_refuses_is_named(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    submission = spool.record(JOB)
    monkeypatch.setattr(os, "fsync", failing(errno.EIO))
    with pytest.raises(StorageError, match=f"cannot move job files into {spool.open}: "):
        spool.move_to_open([(spool.new / submission.name, submission)])


def test_a_lost_file_is_written_again(spool: Spool, said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    spool.restore("a.b", b"body")
    assert (spool.open / "a.b").read_bytes() == b"body"
    assert said[-1] == ("fsync", "data/spool/open")
    monkeypatch.setattr(os, "rename", failing(errno.EIO))
    with pytest.raises(StorageError, match=f"cannot write again the job file {spool.open}/a.b: "):
        spool.restore("a.b", b"other")
    assert files(spool)["open"] == ["a.b"]


def test_finished_files_go_durably_and_it_is_no_harm_where_they_are_gone(
    spool: Spool, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b", "c"):
        (spool.open / name).touch()
    spool.close(["gone", "a", "b"])
    assert files(spool)["open"] == ["c"]
    gone = [("unlink", f"data/spool/open/{name}") for name in ("gone", "a", "b")]
    assert said == [*gone, ("fsync", "data/spool/open")]
    monkeypatch.setattr(os, "unlink", failing(errno.EIO))
    with pytest.raises(StorageError, match=f"cannot remove finished job files from {spool.open}: "):
        spool.close(["c"])


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
    [("a.why", "a"), ("x" * 255, "x" * 120), ("é" * 100, "é" * 60), ("x" + "é" * 60, os.fsdecode(b"x" + "é".encode() * 59 + b"\xc3"))],
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
    monkeypatch.setattr(os, "scandir", lambda folder: _Vanishing(real(folder), spool.tmp / "a"))
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
