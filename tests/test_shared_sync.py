"""One `sync` for all who need one at the same time: nobody is told before his own writes were flushed."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest

from encoder_pin_plugin import durable
from encoder_pin_plugin.errors import StorageError
from tests.conftest import until


class SlowSync:
    """In the place of `os.sync`: each call begins when it is told to, and is counted."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.daemon: list[bool] = []
        self.go = threading.Semaphore(0)

    def __call__(self) -> None:
        self.begun.append(threading.current_thread().name)
        self.daemon.append(threading.current_thread().daemon)
        assert self.go.acquire(timeout=20)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowSync]:
    sync = SlowSync()
    monkeypatch.setattr(os, "sync", sync)
    yield sync
    sync.go.release(100)
    until(lambda: "encoder-pin-sync" not in [thread.name for thread in threading.enumerate()])


def ask(shared: durable.SharedSync) -> threading.Thread:
    thread = threading.Thread(target=shared.wait, args=(20,), daemon=True)
    thread.start()
    return thread


def test_a_sync_is_waited_for_and_its_thread_ends(slow: SlowSync) -> None:
    shared = durable.SharedSync()
    for number in (1, 2):
        waiting = ask(shared)
        until(lambda number=number: len(slow.begun) == number)
        assert waiting.is_alive()
        slow.go.release()
        waiting.join(20)
        assert not waiting.is_alive()
        until(lambda: "encoder-pin-sync" not in [thread.name for thread in threading.enumerate()])
    assert slow.begun == ["encoder-pin-sync"] * 2
    assert slow.daemon == [True, True]


def test_who_asks_while_a_sync_is_under_way_is_served_by_the_next_and_shares_it(slow: SlowSync) -> None:
    shared = durable.SharedSync()
    first = ask(shared)
    until(lambda: slow.begun)
    later = [ask(shared) for _ in range(3)]
    until(lambda: shared._asked == 4)
    slow.go.release()
    first.join(20)
    until(lambda: len(slow.begun) == 2)
    assert not first.is_alive()
    assert all(thread.is_alive() for thread in later)
    slow.go.release()
    for thread in later:
        thread.join(20)
    assert not any(thread.is_alive() for thread in later)
    assert len(slow.begun) == 2


def test_a_disk_that_hangs_is_told_in_time(slow: SlowSync) -> None:
    shared = durable.SharedSync()
    with pytest.raises(StorageError, match=r"within 0 s: nothing is called safe before; .*hangs"):
        shared.wait(0.01)
    slow.go.release(2)
    shared.wait(20)
    assert set(slow.daemon) == {True}
