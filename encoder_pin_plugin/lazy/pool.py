"""A handful of daemon threads that do what may take long, so that a host can always exit at once.

The standard library's executor joins its threads when the interpreter exits, and would keep a host alive for as long as
a node hangs. Losing these threads at exit is harmless: leases and job files bring their work back.
"""

from __future__ import annotations

import queue
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from loguru import logger

if TYPE_CHECKING:
    from collections.abc import Callable


class Pool:
    """Runs tasks on up to `size` threads, started when there is something to do.

    Args:
        name: of the threads.
        size: how many at most.
    """

    def __init__(self, name: str, size: int) -> None:
        self._name = name
        self._size = size
        self._tasks: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._started = 0
        self._busy = 0
        self._lock = threading.Lock()

    def submit(self, task: Callable[[], None]) -> None:
        """Run `task` on one of the threads. Raises RuntimeError where there is none and none can be started."""
        with self._lock:
            if self._busy >= self._started and self._started < self._size:
                self._start()
            if self._started == 0:
                raise RuntimeError(
                    f"no thread can be started for {self._name}: has the system reached a limit of threads?"
                )
            self._busy += 1
            self._tasks.put(task)

    def abandon(self) -> None:
        """One thread hangs in a task that is given up: another one takes its place, at once, for tasks may wait."""
        with self._lock:
            self._size += 1
            self._start()

    def close(self) -> None:
        """Begin nothing more; the threads end as they become idle."""
        with suppress(queue.Empty):
            while True:
                self._tasks.get_nowait()
        for _ in range(self._started):
            self._tasks.put(None)

    def _start(self) -> None:
        """Start a thread where the system has one to give; a later task tries again where it has none."""
        try:
            threading.Thread(target=self._work, name=f"{self._name}-{self._started}", daemon=True).start()
        except RuntimeError as error:
            logger.warning("{} has {} threads: {}", self._name, self._started, error)
        else:
            self._started += 1

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            try:
                task()
            except Exception:  # noqa: BLE001 - a bug in one task must not take the thread, nor its jobs, along
                logger.exception("a worker thread's task failed")
            with self._lock:
                self._busy -= 1
