"""Who is alive: each worker holds a lock on a file of its own, which the kernel lets go the moment it dies.

So another worker takes a killed one's jobs over at once, without waiting for a lease to run out, and a host is told
when it records jobs that nobody works on. The file's time is touched as well, for those who may not take locks.
"""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from filelock import FileLock

from encoder_pin_plugin import durable
from encoder_pin_plugin.errors import StorageError

if TYPE_CHECKING:
    from pathlib import Path

FRESH = 60.0
"""Seconds for which a touched file speaks for a live worker."""

PATIENCE = 5.0
"""Seconds to wait for one's own lock."""


class Presence:
    """This worker's sign of life in one data folder."""

    def __init__(self, data_dir: Path) -> None:
        self._folder = data_dir / "workers"
        self.name = f"{socket.gethostname()[:40]}-{os.getpid()}-{os.urandom(4).hex()}"
        self._lock = _lock(self._folder / self.name)

    def begin(self) -> None:
        """Take the lock. Raises StorageError."""
        with durable.storage_errors("create", self._folder / self.name):
            durable.make_folder(self._folder)
            durable.make_file(self._folder / self.name)
            self._lock.acquire(timeout=PATIENCE)  # who looks whether we live holds it for an instant

    def touch(self) -> None:
        """Show that the worker's loop turns; where somebody has deleted the file, there is a new one."""
        try:
            os.utime(self._folder / self.name)
        except FileNotFoundError:
            durable.unlock(self._lock)
            self.begin()
        except OSError:
            return  # the lock says the same

    def end(self) -> None:
        """Leave."""
        with suppress(OSError):
            (self._folder / self.name).unlink()
        with suppress(StorageError):  # it ends with this process
            durable.unlock(self._lock)

    def dead(self, names: set[str]) -> set[str]:
        """Those of `names` whose worker is gone."""
        return {name for name in names - {self.name} if not _alive(self._folder / name)}


def live_workers(data_dir: Path) -> list[str]:
    """The names of the workers that live, found by trying their locks; dead ones' files are removed."""
    return [path.name for path in _files(data_dir) if _alive(path, tidy=True)]


def seems_alive(data_dir: Path) -> bool:
    """Whether a worker's file was touched lately: no lock is taken, for use in the host's thread."""
    now = time.time()
    for path in _files(data_dir):
        with suppress(OSError):
            if abs(now - path.stat().st_mtime) < FRESH:
                return True
    return False


def _files(data_dir: Path) -> list[Path]:
    try:
        return [path for path in (data_dir / "workers").iterdir() if not path.name.startswith(".")]
    except OSError:
        return []


def _alive(path: Path, *, tidy: bool = False) -> bool:
    """Whether somebody holds the lock; `tidy` removes the file of one who does not, while nobody else can take it."""
    if not path.exists():
        return False
    lock = _lock(path)
    try:
        lock.acquire(timeout=0)
    except OSError:  # Timeout is one: somebody holds it
        return True  # and unknown is not dead
    if tidy:
        with suppress(OSError):
            path.unlink()
    durable.unlock(lock)
    return False


def _lock(path: Path) -> FileLock:
    return FileLock(path, mode=durable.FILE_MODE, fallback_to_soft=False, thread_local=False)
