"""A process that stops itself before one of its own calls, until somebody lets it go on.

So the window between two calls is as wide as it needs to be, and nothing hangs on how quick anybody is.
"""

from __future__ import annotations

import fcntl
import functools
import os
import signal
import sqlite3
import time
from collections.abc import Callable, Sequence
from typing import Any

import filelock

from tests.faults.forkserver import Child
from tests.faults.stepping import state_of

WRITING = ("write", "fsync", "ftruncate", "rename", "replace", "unlink", "link")
"""The functions of `os` that change what is on the disk."""

SEEN = ("write", "ftruncate", "rename", "replace", "unlink", "link", "symlink")
"""Those after which another process sees something else: not fsync; and a pin of a node that is a folder is a link."""


class Stops:
    """Counts calls, and stops this process before the one with number `at`; before none where that is None."""

    def __init__(self, at: int | None) -> None:
        self.count, self._at = 0, at

    def watch(self, names: Sequence[str]) -> None:
        """Count these functions of `os`."""
        for name in names:
            setattr(os, name, self._counting(getattr(os, name)))

    def watch_locks(self) -> None:
        """Count each taking of a lock: what was looked at before may have changed by the time it is had."""
        take, lock = self._counting(fcntl.flock), fcntl.flock
        fcntl.flock = lambda file, how: (take if how & fcntl.LOCK_EX else lock)(file, how)  # type: ignore[assignment]

    def watch_transactions(self) -> None:
        """Count each beginning of a transaction of the ledger, and each end, before which nobody else can write."""
        stops, connect = self, sqlite3.connect

        class Connection(sqlite3.Connection):
            def execute(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
                if sql.startswith(("BEGIN", "COMMIT")):
                    stops.before()
                return super().execute(sql, *arguments)

        sqlite3.connect = functools.partial(connect, factory=Connection)  # type: ignore[assignment]

    def before(self) -> None:
        """Count a call that is to be made; stop here where it is the one."""
        self.count += 1
        if self.count - 1 == self._at:
            os.kill(os.getpid(), signal.SIGSTOP)

    def _counting(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def counted(*arguments: Any, **options: Any) -> Any:
            self.before()
            return function(*arguments, **options)

        return counted


def until_stopped(child: Child) -> bool:
    """Wait until a child has stopped itself; False where it has ended."""
    while child.poll() is None:
        if state_of(child.pid) == "T":
            return True
        time.sleep(0.001)
    return False


def impatient(seconds: float) -> None:
    """Have this process wait for no lock, and for no transaction, for longer: who holds one is stopped."""
    acquire, connect = filelock.BaseFileLock.acquire, sqlite3.connect

    def quickly(self: filelock.BaseFileLock, timeout: float | None = None, *rest: Any, **options: Any) -> Any:
        wanted = self.timeout if timeout is None else timeout
        return acquire(self, min(wanted, seconds) if wanted >= 0 else seconds, *rest, **options)

    filelock.BaseFileLock.acquire = quickly  # type: ignore[method-assign]
    sqlite3.connect = lambda *a, timeout=5.0, **options: connect(*a, timeout=min(timeout, seconds), **options)  # type: ignore[assignment]
