"""The folder of job files, without a worker: what is durable when a call returns, and what each disk error leaves."""

from __future__ import annotations

import errno
import os
import re
import shlex
from pathlib import Path

import pytest

from encoder_hookspecs.events import CompletedJob
from encoder_pin_plugin.errors import InvalidJobFile, NotRecorded, StorageError
from encoder_pin_plugin.lazy.jobfile import MAX_BYTES, new_submission
from encoder_pin_plugin.lazy.spool import Spool, not_recorded
from tests.conftest import Said, failing, names_in
from tests.lazy.intaking import submission
from tests.lazy.spooling import CID, JOB, files


def test_the_folders_stand_below_the_data_folder(tmp_path: Path) -> None:
    Spool(tmp_path).create()
    assert names_in(tmp_path / "spool") == ["new", "open", "rejected", "tmp"]


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
        "encoder-pin", "--data-dir", str(spool.folder.parent), "submit", CID, "--job-id", "a b", "--size-mb", "2.0",
        "--type", "file", "--node-id", "node", "--completed-at", "2025-10-28T10:30:00.000+00:00",
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
    command = f"{CID} --job-id job-1 --size-mb 25.5 --completed-at 2025-10-28T10"
    with pytest.raises(NotRecorded, match=re.escape(command)):
        spool.record(JOB)


def test_where_no_data_folder_is_known_the_command_names_none() -> None:
    told = str(not_recorded(JOB, "DATA_DIR is no path"))
    assert "is not recorded: DATA_DIR is no path, then submit it again with: encoder-pin submit " in told


def test_a_rename_that_failed_is_told_also_where_its_file_is_gone(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
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
    (spool.new / "job").touch()
    assert spool.arrivals(1) == [spool.new / "job"], "what is hidden takes nobody's place"


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
    bad = {"link": "it is a symbolic link", "folder": "it is no regular file", "large": "it is larger"}
    for name, why in bad.items():
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
    synced = [call for call in said if call[0] == "fsync"]
    assert synced == said[-2:] == [("fsync", "data/spool/open"), ("fsync", "data/spool/new")]


def test_a_move_that_the_disk_refuses_is_named(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    submission = spool.record(JOB)
    monkeypatch.setattr(os, "fsync", failing(errno.EIO))
    with pytest.raises(StorageError, match=f"cannot move job files into {spool.open}: "):
        spool.move_to_open([(spool.new / submission.name, submission)])


def test_a_lost_file_is_written_again(spool: Spool, said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    lost = submission("a")
    spool.restore(lost.name, lost.body)
    assert (spool.open / lost.name).read_bytes() == lost.body
    assert said[-1] == ("fsync", "data/spool/open")
    monkeypatch.setattr(os, "rename", failing(errno.EIO))
    with pytest.raises(StorageError, match=f"cannot write again the job file {spool.open}/{lost.name}: "):
        spool.restore(lost.name, lost.body)
    assert files(spool)["open"] == [lost.name]


@pytest.mark.parametrize(
    ("job", "body", "why"), [("b", None, "belongs to another job"), ("a", b"{}", "no .cid"), ("a", b"", "is empty")]
)
def test_a_lost_file_is_not_written_again_as_what_it_is_not(
    spool: Spool, job: str, body: bytes | None, why: str
) -> None:
    with pytest.raises(InvalidJobFile, match=why):
        spool.restore(submission(job).name, submission("a").body if body is None else body)
    assert files(spool)["open"] == []


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
