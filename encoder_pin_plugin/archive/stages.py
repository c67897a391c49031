"""A pipeline of stages: each takes what waits for it in groups, works on some at once, and posts what came of it.

Only the thread that owns the stages decides and counts; the stages' own threads call nodes, and nothing else.
"""

from __future__ import annotations

import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from queue import SimpleQueue

    from encoder_pin_plugin.archive.waiting import Item

R = TypeVar("R")

LINGER = 1.0
"""Seconds that an incomplete group waits for more."""


@dataclass(frozen=True, kw_only=True)
class Work(Generic[R]):
    """What a stage does.

    Args:
        name: of its threads.
        do: the work on one group, in a thread of the stage; what it raises is raised in the owner's.
        after: what the owner makes of the result.
        at_once: groups worked on at the same time.
        group: items in a group.
        take: removes one group from what waits; None for the first `group` of them.
    """

    name: str
    do: Callable[[list[Item]], R]
    after: Callable[[list[Item], R], None]
    at_once: int
    group: int = 1
    take: Callable[[deque[Item]], list[Item]] | None = None


class Stage(Generic[R]):
    """One stage, owned by one thread."""

    def __init__(self, work: Work[R], inbox: SimpleQueue[Callable[[], None]]) -> None:
        self._work, self._inbox = work, inbox
        self._threads = ThreadPoolExecutor(work.at_once, f"encoder-pin-{work.name}")
        self._running = 0
        self._since = 0.0
        self.waiting: deque[Item] = deque()

    @property
    def running(self) -> bool:
        return self._running > 0

    @property
    def busy(self) -> bool:
        return bool(self.waiting) or self.running

    def add(self, items: Iterable[Item]) -> None:
        """More to do."""
        if not self.waiting:
            self._since = time.monotonic()
        self.waiting.extend(items)

    def start(self, *, flush: bool = True) -> None:
        """Start what may run now; incomplete groups only with `flush`, or when they have waited for long enough."""
        while self.waiting and self._running < self._work.at_once:
            late = time.monotonic() - self._since > LINGER
            if not (flush or late or len(self.waiting) >= self._work.group):
                return
            self._running += 1
            self._threads.submit(self._do, self._group())
            self._since = time.monotonic()

    def close(self) -> None:
        """Wait for what is in flight; nothing more is started."""
        self._threads.shutdown(cancel_futures=True)

    def _group(self) -> list[Item]:
        if self._work.take is not None:
            return self._work.take(self.waiting)
        return [self.waiting.popleft() for _ in range(min(self._work.group, len(self.waiting)))]

    def _do(self, group: list[Item]) -> None:
        try:
            result = self._work.do(group)
        except BaseException as error:  # noqa: BLE001 - it is raised again in the owner's thread
            failure = error
            self._inbox.put(lambda: self._failed(failure))
        else:
            self._inbox.put(lambda: self._done(group, result))

    def _done(self, group: list[Item], result: R) -> None:
        self._running -= 1
        self._work.after(group, result)

    def _failed(self, error: BaseException) -> None:
        self._running -= 1
        raise error
