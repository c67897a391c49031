"""The archive's lock: private, durable, never soft, and an error in words where it cannot be had."""

from __future__ import annotations

import errno
import fcntl
import stat
import threading
from pathlib import Path

import pytest
from filelock import FileLock

from encoder_pin_plugin.archive.locking import ArchiveLock
from encoder_pin_plugin.errors import LockBusy, StorageError
from tests.conftest import Said, failing

pytestmark = pytest.mark.usefixtures("open_files")


def test_the_lock_file_is_made_private_and_durable_in_its_folder_and_stays(tmp_path: Path, said: Said) -> None:
    path = tmp_path / "data" / "lock"
    with ArchiveLock(path, 1).held():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.exists()
    assert said == [("fsync", "."), ("fsync", "data/lock", "0")]
    with ArchiveLock(path, 1).held():
        pass
    assert len(said) == 2


def test_another_process_is_waited_for_so_long_and_then_named(tmp_path: Path) -> None:
    other = FileLock(tmp_path / "lock")
    other.acquire()
    lock = ArchiveLock(tmp_path / "lock", 0.1)
    with pytest.raises(LockBusy, match=f"^{tmp_path}/lock was held by another process for 0.1 seconds: "), lock.held():
        pass
    other.release()
    with lock.held():
        pass


def test_another_thread_is_waited_for_likewise(tmp_path: Path) -> None:
    lock, told = ArchiveLock(tmp_path / "lock", 0.1), []

    def wait() -> None:
        with (
            pytest.raises(LockBusy, match=r"by another thread of this process for 0\.1 seconds") as caught,
            lock.held(),
        ):
            pass
        told.append(caught.value)

    with lock.held():
        thread = threading.Thread(target=wait)
        thread.start()
        thread.join(20)
    assert len(told) == 1
    with lock.held():
        pass


def test_a_lock_is_let_go_whatever_happens_under_it(tmp_path: Path) -> None:
    lock = ArchiveLock(tmp_path / "lock", 0.1)
    with pytest.raises(KeyboardInterrupt), lock.held():
        raise KeyboardInterrupt
    with lock.held():
        pass


def test_where_there_are_no_locks_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "flock", failing(errno.ENOSYS))
    with (
        pytest.raises(StorageError, match=f"^cannot lock {tmp_path}/lock: "),
        ArchiveLock(tmp_path / "lock", 0.1).held(),
    ):
        pytest.fail("held")


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"in the way")
    with (
        pytest.raises(StorageError, match=f"^cannot lock {tmp_path}/data/lock: "),
        ArchiveLock(tmp_path / "data" / "lock", 0.1).held(),
    ):
        pass
