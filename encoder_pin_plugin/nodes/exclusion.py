"""One at a time for each CID on the local node: pin, proof, append and unpin exclude each other across all processes.

Without it, one job could unpin a CID between another job's proof and its line in the archive. The locks are files of
one data folder, a fixed number of them: CIDs that share one wait for each other, which costs little and never
deadlocks, because several are always taken in the same order.
"""

from __future__ import annotations

import zlib
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from encoder_pin_plugin import durable
from encoder_pin_plugin.errors import LockBusy

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

STRIPES = 256


class Exclusion:
    """The locks of one data folder."""

    def __init__(self, data_dir: Path) -> None:
        self._folder = data_dir / "locks"

    @contextmanager
    def hold(self, cids: Iterable[str], *, timeout: float = 60.0) -> Iterator[None]:
        """Hold the locks of `cids`.

        Args:
            cids: in canonical form.
            timeout: seconds to wait for each lock.

        Raises:
            LockBusy: another worker or command is at work on one of them for longer than that.
            StorageError: the lock files cannot be made.
        """
        with durable.storage_errors("create the folder", self._folder):
            durable.make_folder(self._folder)
        with ExitStack() as stack:
            for stripe in sorted({zlib.crc32(cid.encode()) % STRIPES for cid in cids}):
                stack.enter_context(self._stripe(stripe, timeout))
            yield

    @contextmanager
    def _stripe(self, stripe: int, timeout: float) -> Iterator[None]:
        path = self._folder / f"cid-{stripe:02x}.lock"
        lock = FileLock(path, timeout=timeout, mode=durable.FILE_MODE, fallback_to_soft=False, thread_local=False)
        with durable.storage_errors("lock", path):
            if not path.exists():
                durable.make_file(path)
            try:
                lock.acquire()
            except Timeout as error:
                raise LockBusy(f"{path} is held by another worker or command for more than {timeout:.0f} s") from error
        try:
            yield
        finally:
            durable.unlock(lock)
