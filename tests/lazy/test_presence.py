"""Who is alive: a worker that holds its lock, and nobody else; and what a host sees that may take no locks."""

from __future__ import annotations

import fcntl
import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from encoder_pin_plugin.errors import StorageError
from encoder_pin_plugin.lazy import presence
from encoder_pin_plugin.lazy.presence import FRESH, Presence, live_workers, seems_alive
from tests.conftest import names_in


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Presence]:
    """A worker that lives."""
    worker = Presence(tmp_path)
    worker.begin()
    yield worker
    worker.end()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where workers show that they live."""
    (tmp_path / "workers").mkdir(exist_ok=True)
    return tmp_path / "workers"


def test_a_worker_is_named_after_its_machine_and_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "h" * 64)
    one, another = Presence(tmp_path), Presence(tmp_path)
    assert re.fullmatch(rf"h{{40}}-{os.getpid()}-[0-9a-f]{{8}}", one.name)
    assert one.name != another.name


def test_a_worker_lives_from_begin_to_end(tmp_path: Path, open_files: None) -> None:
    worker = Presence(tmp_path)
    assert (live_workers(tmp_path), seems_alive(tmp_path)) == ([], False)
    worker.begin()
    assert (live_workers(tmp_path), seems_alive(tmp_path)) == ([worker.name], True)
    assert (tmp_path / "workers").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "workers" / worker.name).stat().st_mode & 0o777 == 0o600
    worker.end()
    assert (live_workers(tmp_path), seems_alive(tmp_path)) == ([], False)
    assert names_in(tmp_path / "workers") == []
    worker.end()


def test_another_thread_may_end_it(tmp_path: Path, worker: Presence) -> None:
    (tmp_path / "same").hardlink_to(tmp_path / "workers" / worker.name)
    thread = threading.Thread(target=worker.end)
    thread.start()
    thread.join()
    with FileLock(tmp_path / "same", timeout=0):
        assert live_workers(tmp_path) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_its_file_belongs_to_whom_the_folder_belongs_to(tmp_path: Path, folder: Path) -> None:
    os.chown(folder, 1234, 5678)
    worker = Presence(tmp_path)
    worker.begin()
    assert (folder / worker.name).stat().st_uid == 1234
    worker.end()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "workers").write_bytes(b"in the way")
    worker = Presence(tmp_path)
    with pytest.raises(StorageError, match=f"^cannot create {tmp_path}/workers/{worker.name}: "):
        worker.begin()


def test_who_looks_whether_it_lives_holds_up_no_worker(tmp_path: Path, folder: Path) -> None:
    worker = Presence(tmp_path)
    look = FileLock(folder / worker.name, thread_local=False)
    look.acquire()
    threading.Timer(0.2, look.release).start()
    worker.begin()
    assert live_workers(tmp_path) == [worker.name]
    worker.end()


def test_a_lock_that_somebody_keeps_is_said(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence, "PATIENCE", 0.1)
    worker = Presence(tmp_path)
    with FileLock(folder / worker.name), pytest.raises(StorageError, match="could not be acquired"):
        worker.begin()


def test_a_touch_shows_that_the_loop_turns(tmp_path: Path, worker: Presence) -> None:
    os.utime(tmp_path / "workers" / worker.name, (1, 1))
    assert not seems_alive(tmp_path)
    worker.touch()
    assert seems_alive(tmp_path)


def test_a_file_that_somebody_has_deleted_is_there_again_and_held(
    tmp_path: Path, worker: Presence, open_files: None
) -> None:
    (tmp_path / "workers" / worker.name).unlink()
    worker.touch()
    assert live_workers(tmp_path) == [worker.name]
    worker.touch()
    assert live_workers(tmp_path) == [worker.name]
    worker.end()
    (tmp_path / "workers" / worker.name).touch()
    assert live_workers(tmp_path) == []
    worker.begin()  # as many descriptors as before


def test_a_disk_that_does_not_take_the_time_ends_no_worker(
    tmp_path: Path, worker: Presence, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "utime", refuse)
    worker.touch()
    assert live_workers(tmp_path) == [worker.name]


def test_a_folder_that_is_gone_keeps_nobody_from_leaving(tmp_path: Path, worker: Presence, open_files: None) -> None:
    (tmp_path / "workers").rename(tmp_path / "elsewhere")
    (tmp_path / "workers").write_bytes(b"in the way")
    worker.end()
    (tmp_path / "workers").unlink()
    (tmp_path / "elsewhere").rename(tmp_path / "workers")
    assert live_workers(tmp_path) == []
    worker.begin()  # as many descriptors as before


def test_a_lock_that_cannot_be_let_go_keeps_nobody_from_leaving(
    tmp_path: Path, worker: Presence, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = fcntl.flock

    def refuse(descriptor: int, operation: int) -> None:
        if operation & fcntl.LOCK_UN:
            raise OSError("refused")
        real(descriptor, operation)

    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", refuse)
        worker.end()
    assert live_workers(tmp_path) == []


def test_the_dead_are_those_whose_lock_nobody_holds(tmp_path: Path, worker: Presence) -> None:
    another = Presence(tmp_path)
    another.begin()
    (tmp_path / "workers" / "killed").touch()
    asked = {worker.name, another.name, "killed", "gone"}
    for _ in range(2):
        assert worker.dead(asked) == {"killed", "gone"}
        assert names_in(tmp_path / "workers") == sorted([worker.name, another.name, "killed"])
    (tmp_path / "workers" / worker.name).unlink()
    assert worker.name not in worker.dead(asked), "nobody calls itself dead"
    another.end()
    assert worker.dead(asked) == {another.name, "killed", "gone"}


def test_of_whom_it_is_not_known_counts_as_alive(tmp_path: Path, worker: Presence) -> None:
    (tmp_path / "workers" / "odd").mkdir()
    assert worker.dead({"odd"}) == set()
    assert sorted(live_workers(tmp_path)) == sorted(["odd", worker.name])


def test_a_file_that_goes_while_it_is_looked_at_comes_back_private(
    worker: Presence, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Path, "exists", lambda _: True)
        assert worker.dead({"gone"}) == {"gone"}
    assert (folder / "gone").stat().st_mode & 0o777 == 0o600


def test_whoever_lists_the_living_removes_what_the_dead_have_left(
    tmp_path: Path, worker: Presence, open_files: None
) -> None:
    for name in ("killed", ".hidden"):
        (tmp_path / "workers" / name).touch()
    assert live_workers(tmp_path) == [worker.name]
    assert names_in(tmp_path / "workers") == sorted([".hidden", worker.name])


def test_what_cannot_be_removed_is_dead_all_the_same(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, open_files: None
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    (folder / "killed").touch()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refuse)
        assert live_workers(tmp_path) == []
    assert names_in(folder) == ["killed"]


@pytest.mark.parametrize(
    ("age", "alive"), [(0, True), (FRESH - 1, True), (FRESH, False), (1 - FRESH, True), (-FRESH, False)]
)
def test_a_file_that_was_touched_lately_speaks_for_a_worker(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, age: float, alive: bool
) -> None:
    monkeypatch.setattr(time, "time", lambda: 1_800_000_000.0)
    for name, moment in (("long gone", 1.0), ("lately", 1_800_000_000.0 - age)):
        (folder / name).touch()
        os.utime(folder / name, (1, moment))
    assert seems_alive(tmp_path) is alive


def test_what_cannot_be_looked_at_speaks_for_nobody(tmp_path: Path, folder: Path) -> None:
    (folder / "nowhere").symlink_to(folder / "gone")
    (folder / ".hidden").touch()
    assert not seems_alive(tmp_path)


def test_where_there_are_no_locks_nobody_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)
    worker = Presence(tmp_path)
    with pytest.raises(StorageError, match="Function not implemented"):
        worker.begin()
    assert names_in(tmp_path / "workers") == [worker.name]
