"""One migration at a time on one archive: who comes second is told who is at it, and may wait."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from encoder_pin_plugin.archive.record import utc_text
from encoder_pin_plugin.durable import make_file, make_folder, read_note, replace_file, storage_errors, unlock
from encoder_pin_plugin.errors import LockBusy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOCK_NAME = "migration.lock"
HOLDER_NAME = "migration.holder.json"

_ASKED = 0.5
"""Seconds after which whoever merely asked, see `migrating`, has let go of the lock."""


@contextmanager
def migration_lock(data_dir: Path, doing: str, *, wait: bool = False) -> Iterator[None]:
    """Hold the lock of this data folder's migrations.

    Args:
        data_dir: the data folder.
        doing: what is done, for whoever comes second.
        wait: wait for another one to end, however long that takes.

    Raises:
        LockBusy: another migration is at work, named as it named itself.
        StorageError: there can be no lock.
    """
    path = data_dir / LOCK_NAME
    with storage_errors("lock", path):
        make_folder(data_dir)
        make_file(path)  # of the folder's owner, also where root is the first to migrate
        lock = _lock(path)
        try:
            lock.acquire(timeout=-1 if wait else _ASKED)
        except Timeout:
            raise LockBusy(f"{_holder(data_dir)}; wait for it with --wait, or end it (Ctrl-C, SIGTERM)") from None
    try:
        _sign(data_dir, doing)
        yield
    finally:
        unlock(lock)


def migrating(data_dir: Path) -> str:
    """Who migrates the archive of this data folder now, in words; empty where nobody does. Raises StorageError."""
    path = data_dir / LOCK_NAME
    if not path.exists():
        return ""
    lock = _lock(path)
    with storage_errors("lock", path):
        try:
            lock.acquire(blocking=False)
        except Timeout:
            return _holder(data_dir)
    unlock(lock)
    return ""


def _lock(path: Path) -> FileLock:
    return FileLock(path, fallback_to_soft=False, poll_interval=0.2, thread_local=False)


def _sign(data_dir: Path, doing: str) -> None:
    holder = {"pid": os.getpid(), "since": utc_text(datetime.now(UTC)), "doing": doing}
    with storage_errors("write", data_dir / HOLDER_NAME):
        replace_file(data_dir / HOLDER_NAME, json.dumps(holder).encode("ascii"))


def _holder(data_dir: Path) -> str:
    holder = read_note(data_dir / HOLDER_NAME)
    pid, since, doing = (holder.get(name) for name in ("pid", "since", "doing"))
    if isinstance(pid, int) and isinstance(since, str) and isinstance(doing, str):
        return f"process {pid} has been migrating this archive since {since} ({doing})"
    return f"another migration holds {data_dir / LOCK_NAME}"
