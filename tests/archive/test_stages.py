"""One stage of a pipeline: how groups form, how many run at once, and whose thread hears of a failure."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

import pytest

from encoder_hookspecs.events import Reason
from encoder_pin_plugin.archive import stages
from encoder_pin_plugin.archive.stages import Stage, Work
from encoder_pin_plugin.archive.tally import Tally
from encoder_pin_plugin.archive.waiting import Item


class Bench:
    """A stage whose work goes on when it is let, on a clock that is set by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **work: Any) -> None:
        self.now = 1000.0
        monkeypatch.setattr(stages.time, "monotonic", lambda: self.now)
        self.inbox: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self.begun: SimpleQueue[list[str]] = SimpleQueue()
        self.go = threading.Semaphore(0)
        self.done: list[list[str]] = []
        self.fails = False
        options = {"name": "try", "do": self.do, "after": self.after, "at_once": 2, "group": 3}
        self.stage: Stage[int] = Stage(Work(**(options | work)), self.inbox)

    def do(self, group: list[Item]) -> int:
        self.begun.put([item.cid for item in group])
        assert self.go.acquire(timeout=20)
        if self.fails:
            raise KeyboardInterrupt
        return len(group)

    def after(self, group: list[Item], size: int) -> None:
        assert size == len(group)
        self.done.append([item.cid for item in group])

    def add(self, cids: str) -> None:
        self.stage.add(Item(cid=cid) for cid in cids)

    def start(self, *, flush: bool = False) -> list[list[str]]:
        """Start what may; the groups that began."""
        running = self.stage._running
        self.stage.start(flush=flush)
        return sorted(self.begun.get(timeout=20) for _ in range(self.stage._running - running))

    def finish(self, groups: int = 1) -> None:
        for _ in range(groups):
            self.go.release()
        for _ in range(groups):
            self.inbox.get(timeout=20)()

    def close(self) -> None:
        self.go.release(100)
        self.stage.close()


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    one = Bench(monkeypatch)
    yield one
    one.close()


def test_whole_groups_start_at_once_and_so_many_at_a_time(bench: Bench) -> None:
    assert not bench.stage.busy
    bench.add("abcdefghijk")
    assert bench.start() == [list("abc"), list("def")]
    assert (bench.stage.running, bench.stage.busy, len(bench.stage.waiting)) == (True, True, 5)
    assert bench.start() == []
    bench.finish()
    assert bench.stage._running == 1
    assert bench.start() == [list("ghi")]
    bench.finish(2)
    assert (bench.stage.running, bench.stage.busy) == (False, True)
    assert sorted(bench.done) == [list("abc"), list("def"), list("ghi")]


def test_an_incomplete_group_waits_for_more_unless_it_is_the_last(bench: Bench) -> None:
    bench.add("ab")
    assert bench.start() == []
    bench.add("c")
    assert bench.start() == [list("abc")]
    bench.add("d")
    assert bench.start() == []
    assert bench.start(flush=True) == [["d"]]
    bench.finish(2)
    assert not bench.stage.busy


def test_unless_it_is_told_otherwise_a_stage_starts_what_there_is(bench: Bench) -> None:
    bench.add("a")
    bench.stage.start()
    assert bench.begun.get(timeout=20) == ["a"]


def test_an_incomplete_group_does_not_wait_for_ever(bench: Bench) -> None:
    bench.now = 2000.0
    bench.add("a")
    bench.now += 0.9
    bench.add("b")
    assert bench.start() == []
    bench.now += 0.2
    assert bench.start() == [list("ab")]
    bench.add("cd")
    bench.now += 0.9
    assert bench.start() == [], "it waits anew"
    bench.now += 0.2
    assert bench.start() == [list("cd")]


def test_who_takes_groups_by_himself_is_let(monkeypatch: pytest.MonkeyPatch) -> None:
    one = Bench(monkeypatch, take=lambda waiting: [waiting.pop(), waiting.popleft()], at_once=1, group=1)
    one.add("abcd")
    assert one.start() == [["d", "a"]]
    one.close()


def test_what_a_thread_raises_is_raised_where_the_stage_is_owned(bench: Bench) -> None:
    bench.fails = True
    bench.add("abcdef")
    assert len(bench.start()) == 2
    with pytest.raises(KeyboardInterrupt):
        bench.finish()
    assert bench.stage._running == 1
    with pytest.raises(KeyboardInterrupt):
        bench.finish()
    assert bench.stage._running == 0
    assert bench.done == []


def test_there_are_as_many_threads_as_groups_and_they_have_a_name(bench: Bench) -> None:
    bench.add("abcdef")
    bench.start()
    names = [thread.name for thread in threading.enumerate() if thread.name.startswith("encoder-pin-try")]
    assert sorted(names) == ["encoder-pin-try_0", "encoder-pin-try_1"]
    assert bench.stage._threads._max_workers == 2


def test_closing_waits_for_what_is_in_flight_and_ends_the_threads(bench: Bench) -> None:
    bench.add("abc")
    bench.start()
    bench.close()
    assert [thread for thread in threading.enumerate() if thread.name.startswith("encoder-pin-try")] == []


def test_failures_are_counted_by_their_word() -> None:
    tally, item = Tally(total=9), Item(cid="a", node_id="n")
    for reason, word in ((Reason.STALLED, "stalled"), ("busy", "busy"), (None, "node_error")):
        tally.failed(item, reason, "why")
        assert type(tally.troubles["a"].reason) is str
        assert tally.by_reason() == {word: 1}
    assert tally.untried == 8
