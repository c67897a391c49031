"""A pool of daemon threads: as many as are needed and no more, and what becomes of its tasks in trouble."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from encoder_pin_plugin.lazy.pool import Pool
from tests.conftest import until


class Hands:
    """Tasks that go on when they are told to, and who does them."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.done: list[str] = []
        self.begun: list[str] = []

    def task(self) -> None:
        """Waits for `go`."""
        self.begun.append(threading.current_thread().name)
        assert self.go.wait(20)
        self.done.append(threading.current_thread().name)


@pytest.fixture
def hands() -> Iterator[Hands]:
    hands = Hands()
    yield hands
    hands.go.set()


@pytest.fixture
def make(hands: Hands, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], Pool]]:
    """Makes pools of a size; at the end they are closed, and no thread of theirs has died of an error."""
    pools: list[Pool] = []
    died: list[object] = []
    monkeypatch.setattr(threading, "excepthook", died.append)

    def make(size: int) -> Pool:
        pools.append(Pool("hand", size))
        return pools[-1]

    yield make
    hands.go.set()
    for pool in pools:
        pool.close()
    until(lambda: _threads() == [])
    assert died == []


@pytest.fixture
def no_threads(monkeypatch: pytest.MonkeyPatch) -> Callable[[], AbstractContextManager[None]]:
    """Within it the system has no thread to give."""

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    @contextmanager
    def none() -> Iterator[None]:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            yield

    return none


def _threads() -> list[threading.Thread]:
    return sorted((it for it in threading.enumerate() if it.name.startswith("hand-")), key=lambda it: it.name)


def _names() -> list[str]:
    return [it.name for it in _threads()]


def test_no_thread_is_started_before_there_is_something_to_do(make: Callable[[int], Pool]) -> None:
    make(3)
    assert _threads() == []


def test_tasks_run_at_the_same_time_up_to_the_size_and_the_rest_waits(
    make: Callable[[int], Pool], hands: Hands
) -> None:
    pool = make(2)
    for _ in range(3):
        pool.submit(hands.task)
    until(lambda: len(hands.begun) == 2)
    assert _names() == ["hand-0", "hand-1"]
    assert all(it.daemon for it in _threads())
    hands.go.set()
    until(lambda: len(hands.done) == 3)
    assert _names() == ["hand-0", "hand-1"]


def test_an_idle_thread_does_the_next_task(make: Callable[[int], Pool], hands: Hands) -> None:
    pool = make(3)
    hands.go.set()
    for number in (1, 2, 3):
        pool.submit(hands.task)
        until(lambda number=number: len(hands.done) == number and pool._busy == 0)
    assert hands.done == ["hand-0"] * 3


def test_a_task_that_fails_takes_neither_its_thread_nor_a_place_along(
    make: Callable[[int], Pool], hands: Hands, log: list[str]
) -> None:
    pool = make(2)

    def fail() -> None:
        raise ValueError("a bug")

    pool.submit(fail)
    until(lambda: pool._busy == 0)
    pool.submit(hands.task)
    until(lambda: hands.begun)
    assert _names() == ["hand-0"]
    assert "ValueError: a bug" in log[0]


def test_a_given_up_task_leaves_its_place_to_a_new_thread(make: Callable[[int], Pool], hands: Hands) -> None:
    pool = make(1)
    pool.submit(hands.task)
    until(lambda: hands.begun)
    done = threading.Event()
    pool.submit(done.set)
    pool.abandon()
    assert done.wait(20)
    assert _names() == ["hand-0", "hand-1"]


def test_while_one_hangs_as_many_others_as_ever_run_at_the_same_time(make: Callable[[int], Pool], hands: Hands) -> None:
    pool = make(3)
    pool.submit(hands.task)
    until(lambda: hands.begun)
    pool.abandon()
    for running in (2, 3, 4):
        pool.submit(hands.task)
        until(lambda running=running: len(hands.begun) == running)
    pool.submit(hands.task)
    assert _names() == ["hand-0", "hand-1", "hand-2", "hand-3"]


def test_one_that_was_given_up_and_comes_back_does_the_next_tasks(make: Callable[[int], Pool], hands: Hands) -> None:
    pool = make(3)
    pool.submit(hands.task)
    pool.abandon()
    hands.go.set()
    until(lambda: hands.done and pool._busy == 0)
    hands.go.clear()
    for _ in range(3):
        pool.submit(hands.task)
    until(lambda: len(hands.begun) == 4)
    assert _names() == ["hand-0", "hand-1", "hand-2"]


def test_after_closing_nothing_is_begun_and_every_thread_ends(make: Callable[[int], Pool], hands: Hands) -> None:
    pool = make(2)
    for _ in range(4):
        pool.submit(hands.task)
    until(lambda: len(hands.begun) == 2)
    pool.close()
    hands.go.set()
    until(lambda: _threads() == [])
    assert len(hands.done) == 2


def test_a_task_that_no_thread_would_do_is_refused_and_the_next_one_tries_again(
    make: Callable[[int], Pool], hands: Hands, log: list[str], no_threads: Callable[[], AbstractContextManager[None]]
) -> None:
    pool = make(1)
    with no_threads(), pytest.raises(RuntimeError, match="no thread can be started for hand: has the system"):
        pool.submit(hands.task)
    assert log == ["WARNING hand has 0 threads: can't start new thread\n"]
    hands.go.set()
    pool.submit(hands.task)
    until(lambda: hands.done)
    assert hands.done == ["hand-0"]


def test_where_no_more_threads_can_be_started_tasks_wait_for_those_that_there_are(
    make: Callable[[int], Pool], hands: Hands, no_threads: Callable[[], AbstractContextManager[None]]
) -> None:
    pool = make(3)
    pool.submit(hands.task)
    with no_threads():
        pool.submit(hands.task)
    hands.go.set()
    until(lambda: hands.done == ["hand-0"] * 2 and pool._busy == 0)
    hands.go.clear()
    pool.submit(hands.task)
    pool.submit(hands.task)
    until(lambda: len(hands.begun) == 4)
    assert _names() == ["hand-0", "hand-1"]
