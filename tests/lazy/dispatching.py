"""A dispatch on a real ledger, whose threads do their tasks when a test tells them to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any, ClassVar

import pytest

from encoder_pin_plugin.clock import EvenClock
from encoder_pin_plugin.lazy.dispatch import Dispatch
from encoder_pin_plugin.lazy.ledger import Ledger
from encoder_pin_plugin.lazy.pins import LazyPin
from encoder_pin_plugin.lazy.ports import Result
from encoder_pin_plugin.lazy.retry import Breaker
from encoder_pin_plugin.settings import load_settings
from tests.fakes.memory_node import MemoryNode
from tests.lazy.booking import add
from tests.lazy.conftest import Passing


class Hands:
    """In the place of a pool."""

    made: ClassVar[dict[str, Hands]] = {}

    def __init__(self, name: str, size: int) -> None:
        self.size, self.given_up, self.closed, self.refuses = size, 0, False, False
        self.tasks: list[Callable[[], None]] = []
        self.made[name] = self

    def submit(self, task: Callable[[], None]) -> None:
        if self.refuses:
            raise RuntimeError("no thread can be started")
        self.tasks.append(task)

    def abandon(self) -> None:
        self.given_up += 1

    def close(self) -> None:
        self.closed = True

    def work(self) -> None:
        """Do what waits."""
        tasks, self.tasks = self.tasks, []
        for task in tasks:
            task()


class Asked:
    """In the place of attempts, of fallbacks, of who holds and releases: notes what it is asked."""

    def __init__(self) -> None:
        self.pins: list[LazyPin] = []
        self.held: list[list[str]] = []
        self.released: list[list[str]] = []
        self.fails: Exception | None = None
        self.closed = False

    def close(self) -> None:
        self.closed = True

    def run(self, pin: LazyPin) -> None:
        self.pins.append(pin)

    def hold(self, pins: Sequence[LazyPin]) -> None:
        self.held.append([pin.job.job_id for pin in pins])

    def release(self, pins: Sequence[LazyPin]) -> None:
        self.released.append([pin.job.job_id for pin in pins])
        if self.fails:
            raise self.fails


class Desk:
    """The dispatch, and everything around it."""

    def __init__(
        self, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, *, supernode: bool = True, local: bool = True,
        **settings: Any,
    ) -> None:  # fmt: skip
        monkeypatch.setattr(Hands, "made", {})
        monkeypatch.setattr("encoder_pin_plugin.lazy.dispatch.Pool", Hands)
        options = {"data_dir": ledger.path.parent, "lazy_pin_concurrency": 4} | settings
        self.ledger, self.time, self.posted = ledger, Passing(), list[Result]()
        self.settings = load_settings({}, ledger.path.parent, **options)
        self.breaker = Breaker(Random(1), failures=1)
        self.node = MemoryNode()
        self.attempts, self.fallbacks, self.holder = Asked(), Asked(), Asked()
        self.dispatch = Dispatch(
            self.settings, self.node if supernode else None, self.breaker, clock=EvenClock(self.time), owner="w1",
            post=self.posted.append, attempts=self.attempts if supernode else None,  # type: ignore[arg-type]
            fallbacks=self.fallbacks, holder=self.holder if local else None,  # type: ignore[arg-type]
        )  # fmt: skip
        self.pools = dict(Hands.made)

    def claim(self) -> None:
        self.dispatch.claim(self.ledger)

    def attempted(self) -> list[str]:
        """Claim; the ids of the jobs that threads began to attempt since the last time."""
        return self._done("lazy-pin", self.attempts)

    def fell_back(self) -> list[str]:
        """Claim; the ids of the jobs that threads began to fall back with since the last time."""
        return self._done("local-fallback", self.fallbacks)

    def _done(self, pool: str, asked: Asked) -> list[str]:
        before = len(asked.pins)
        self.claim()
        self.pools[pool].work()
        return [pin.job.job_id for pin in asked.pins[before:]]

    def beside(self) -> None:
        """Claim, and have done what is done beside the work."""
        self.claim()
        self.pools["lazy-pin-side"].work()

    @property
    def side(self) -> Hands:
        return self.pools["lazy-pin-side"]


def many(ledger: Ledger, count: int, name: str = "job", **fields: Any) -> list[str]:
    """Submit so many jobs; their ids."""
    jobs = [f"{name} {number:02}" for number in range(count)]
    add(ledger, *jobs, **fields)
    return jobs


def put(ledger: Ledger, what: str, where: str = "1") -> None:
    """Write columns of rows."""
    with ledger.transaction() as db:
        db.execute(f"UPDATE job SET {what} WHERE {where}")
