"""Who may write to the archive: one thread of one process at a time.

The lock is a file of its own beside the data, because a data file that is moved, replaced or collected would take its
lock along. It is never deleted: two processes would then hold two locks of one name. A holder that dies lets go by
dying, so a lock file that lies around means nothing.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from encoder_pin_plugin.durable import make_file, make_folder, storage_errors, unlock
from encoder_pin_plugin.errors import LockBusy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_POLL = 0.005
"""Seconds between two looks at a lock that another process holds. An append holds it for a millisecond or less."""


class ArchiveLock:
    """Excludes threads by a mutex and processes by a filelock; both within one time limit.

    Args:
        path: the lock file. Its folder is created where it is missing.
        timeout: seconds to wait before `LockBusy`.
    """

    def __init__(self, path: Path, timeout: float) -> None:
        self.path = path
        self.timeout = timeout
        self._mutex = threading.Lock()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock. Raises `LockBusy` where it is not had in time, `StorageError` where there can be no lock:
        without it nothing is written."""
        deadline = time.monotonic() + self.timeout
        if not self._mutex.acquire(timeout=self.timeout):
            raise LockBusy(self._busy("another thread of this process"))
        try:
            lock = self._between_processes(max(0.0, deadline - time.monotonic()))
            try:
                yield
            finally:
                unlock(lock)
        finally:
            self._mutex.release()

    def _between_processes(self, timeout: float) -> FileLock:
        with storage_errors("lock", self.path):
            if not self.path.exists():
                make_folder(self.path.parent)
                make_file(self.path)
            lock = FileLock(self.path, timeout=timeout, poll_interval=_POLL, fallback_to_soft=False)
            try:
                lock.acquire()
            except Timeout:
                raise LockBusy(self._busy("another process")) from None
        return lock

    def _busy(self, holder: str) -> str:
        return (
            f"{self.path} was held by {holder} for {self.timeout:g} seconds: nothing was written. Try again; if it"
            " stays so, find the holder with `fuser` or `lsof`, and never delete the lock file"
        )
