"""One migration at a time: who comes second is told who is first, or waits, and nobody is locked out for good."""

from __future__ import annotations

import errno
import json
import os
import re
import stat
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from filelock import BaseFileLock, FileLock

from encoder_pin_plugin.archive import migration_lock as module
from encoder_pin_plugin.archive.migration_lock import HOLDER_NAME, LOCK_NAME, migrating, migration_lock
from encoder_pin_plugin.durable import make_file, make_folder
from encoder_pin_plugin.errors import LockBusy, StorageError
from tests.conftest import failing


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(module, "_ASKED", 0.0)
    return tmp_path / "data"


def second(data: Path) -> str:
    """What whoever comes second is told."""
    with pytest.raises(LockBusy) as busy, migration_lock(data, "again"):
        pass
    return str(busy.value)


def test_who_comes_second_is_told_who_is_at_what_since_when(data: Path) -> None:
    before = datetime.now(UTC)
    with migration_lock(data, "to kubo+http://x"):
        said = second(data)
    match = re.fullmatch(r"process (\d+) has been migrating this archive since (\S+) \((.*)\); wait for it .*", said)
    assert match
    assert (int(match[1]), match[3]) == (os.getpid(), "to kubo+http://x")
    assert abs((datetime.fromisoformat(match[2]) - before).total_seconds()) < 60


def test_whether_somebody_migrates_can_be_asked_and_nothing_is_made_or_kept_for_that(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BaseFileLock, "__del__", lambda _: None)  # it is not left to the garbage collector
    assert migrating(data) == ""
    assert not data.exists()
    with migration_lock(data, "to kubo+http://x"):
        assert "to kubo+http://x" in migrating(data)
    assert migrating(data) == ""
    with migration_lock(data, "next"):
        pass


def test_who_merely_asked_keeps_no_migration_from_beginning(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ASKED", 60.0)
    with migration_lock(data, "first"):
        pass
    asking = FileLock(data / LOCK_NAME, thread_local=False)
    asking.acquire()
    over = threading.Timer(0.1, asking.release)
    over.start()
    with migration_lock(data, "then"):
        assert "then" in migrating(data)
    over.join()


@pytest.mark.parametrize(
    "note",
    [b"", b"[]", b'{"since":"s","doing":"d"}', b'{"pid":1,"doing":"d"}', b'{"pid":1,"since":"s"}',
     b'{"pid":"1","since":"s","doing":"d"}', b'{"pid":1,"since":2,"doing":"d"}', b'{"pid":1,"since":"s","doing":3}'],
)  # fmt: skip
def test_where_the_first_left_no_word_of_itself_the_lock_is_named(data: Path, note: bytes) -> None:
    with migration_lock(data, "x"):
        (data / HOLDER_NAME).write_bytes(note)
        assert second(data).startswith(f"another migration holds {data / LOCK_NAME}; wait for it with --wait")


def test_the_next_one_names_itself(data: Path) -> None:
    for doing in ("first", "then"):
        with migration_lock(data, doing):
            assert json.loads((data / HOLDER_NAME).read_bytes())["doing"] == doing


def test_the_lock_is_ours_alone_in_a_folder_that_is_made(data: Path) -> None:
    with migration_lock(data, "x"):
        assert stat.S_IMODE((data / LOCK_NAME).stat().st_mode) == 0o600
        assert stat.S_IMODE(data.stat().st_mode) == 0o700


def test_whoever_waits_comes_next(data: Path) -> None:
    done: list[str] = []

    def wait() -> None:
        with migration_lock(data, "second", wait=True):
            done.append("second")

    waiting = threading.Thread(target=wait, daemon=True)
    with migration_lock(data, "first"):
        waiting.start()
        waiting.join(timeout=1.3)
        assert waiting.is_alive(), "it waits"
        done.append("first")
    waiting.join(timeout=20)
    assert done == ["first", "second"]


def test_it_is_let_go_whatever_happens_and_by_any_thread(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BaseFileLock, "__del__", lambda _: None)  # it is not left to the garbage collector
    with pytest.raises(KeyError), migration_lock(data, "x"):
        raise KeyError
    lock = migration_lock(data, "x")
    lock.__enter__()
    ending = threading.Thread(target=lambda: lock.__exit__(None, None, None))
    ending.start()
    ending.join()
    with migration_lock(data, "next"):
        pass


def test_where_nobody_can_sign_the_lock_is_let_go(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(module, "replace_file", failing(errno.ENOSPC))
        with pytest.raises(StorageError, match=f"^cannot write {data / HOLDER_NAME}: "), migration_lock(data, "x"):
            pass
    with migration_lock(data, "next"):
        pass


def test_where_there_can_be_no_lock_it_is_said_and_nothing_stands_in_for_one(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_folder(data)
    make_file(data / LOCK_NAME)
    monkeypatch.setattr("fcntl.flock", failing(errno.ENOSYS))
    with pytest.raises(StorageError, match=f"^cannot lock {data / LOCK_NAME}: "):
        migrating(data)
    with pytest.raises(StorageError, match=f"^cannot lock {data / LOCK_NAME}: "), migration_lock(data, "x"):
        pass
