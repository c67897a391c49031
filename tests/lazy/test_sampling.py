"""The daily sample without a worker: when one is taken, from where, and what becomes of what is asked about."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest

from encoder_pin_plugin.errors import NotRecorded
from encoder_pin_plugin.lazy.ledger import Ledger
from encoder_pin_plugin.lazy.pins import LazyPin
from encoder_pin_plugin.lazy.sample import EVERY, LOOK, SIZE, DailySample, ask_again, take_sample
from encoder_pin_plugin.lazy.spool import Spool
from tests.cids import cid_of
from tests.fakes.memory_node import MemoryNode
from tests.lazy.booking import add, end
from tests.lazy.conftest import NOW


class TwoClocks:
    """Each goes as far as it is told to."""

    def __init__(self) -> None:
        self.now, self.since = NOW, 0.0

    def wall(self) -> int:
        return self.now

    def steady(self) -> float:
        return self.since

    def boot(self) -> str:
        return "one"


@pytest.fixture
def clock() -> TwoClocks:
    return TwoClocks()


@pytest.fixture
def node() -> MemoryNode:
    """The supernode, which has pinned a, b and c."""
    node = MemoryNode()
    node.pins = {cid_of(name): "encoder-pin" for name in "abc"}
    return node


@pytest.fixture
def pinned(ledger: Ledger) -> list[str]:
    """The ids of three jobs that are pinned, as the samples come to them."""
    add(ledger, "a", "b", "c")
    for name in "abc":
        end(ledger, name)
    return _ids(ledger.select("1 ORDER BY key"))


def _ids(pins: list[LazyPin]) -> list[str]:
    return [pin.job.job_id for pin in pins]


def _taken(ledger: Ledger, now: int, **options: int) -> list[str]:
    return _ids(take_sample(ledger, now, **options))


def _again(spool: Spool) -> list[str]:
    """The ids of the jobs that were submitted again."""
    return sorted(spool.read(path).job.job_id for path in spool.arrivals(10))


def test_a_sample_is_due_when_a_day_has_passed_to_the_millisecond(ledger: Ledger, pinned: list[str]) -> None:
    assert EVERY == 24 * 3600 * 1000
    assert _taken(ledger, NOW) == []
    assert _taken(ledger, NOW + EVERY - 1) == []
    assert _taken(ledger, NOW + EVERY) == pinned
    assert _taken(ledger, NOW + EVERY) == []


def test_a_clock_that_was_set_back_has_one_taken_at_once(ledger: Ledger, pinned: list[str]) -> None:
    _taken(ledger, NOW)
    assert _taken(ledger, NOW - 1) == pinned
    assert _taken(ledger, NOW - 1) == []


def test_each_sample_goes_on_where_the_last_one_ended_and_begins_anew(ledger: Ledger, pinned: list[str]) -> None:
    days = [_taken(ledger, NOW + day * EVERY, size=2) for day in range(5)]
    assert days == [[], pinned[:2], pinned[2:], pinned[:2], pinned[2:]]


def test_where_another_worker_is_quicker_its_sample_counts(
    ledger: Ledger, pinned: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _taken(ledger, NOW)
    other = Ledger(ledger.path)
    before = ledger.read("SELECT value FROM meta WHERE name='sample'")
    assert _taken(other, NOW + EVERY, size=2) == pinned[:2]
    with monkeypatch.context() as earlier:
        earlier.setattr(ledger, "read", lambda *_: before)
        assert _taken(ledger, NOW + EVERY + 1) == []
    assert _taken(other, NOW + 2 * EVERY, size=2) == pinned[2:]
    other.close()


def test_where_none_is_due_nobody_waits_for_a_writer(ledger: Ledger, pinned: list[str]) -> None:
    _taken(ledger, NOW)
    other = Ledger(ledger.path, busy_timeout=0.01)
    with ledger.transaction():
        assert _taken(other, NOW + EVERY - 1) == []
    other.close()


def test_a_damaged_note_of_the_last_one_counts_as_none(ledger: Ledger, pinned: list[str]) -> None:
    for damaged in ("", "x", "18000x0000000 key"):
        with ledger.transaction() as db:
            db.execute("INSERT OR REPLACE INTO meta VALUES ('sample', ?)", (damaged,))
        assert _taken(ledger, NOW) == []
        assert _taken(ledger, NOW + EVERY) == pinned


def test_a_sample_has_fifty_jobs(ledger: Ledger) -> None:
    names = [f"job {number}" for number in range(SIZE + 1)]
    add(ledger, *names)
    with ledger.transaction() as db:
        db.execute("UPDATE job SET state='pinned', closed_at=?", (NOW,))
    _taken(ledger, NOW)
    assert SIZE == 50
    assert len(_taken(ledger, NOW + EVERY)) == SIZE
    assert len(_taken(ledger, NOW + 2 * EVERY)) == 1


def test_the_first_look_is_at_once_and_the_next_one_ten_minutes_later(
    ledger: Ledger, spool: Spool, node: MemoryNode, pinned: list[str], clock: TwoClocks
) -> None:
    sample = DailySample(node, spool, clock)
    assert sample.task(ledger) is None
    clock.now += EVERY
    clock.since = LOOK - 0.1
    assert sample.task(ledger) is None
    clock.since = LOOK
    task = sample.task(ledger)
    assert task is not None
    assert node.calls == []
    task()
    assert sorted(node.calls) == sorted(("pinned", cid_of(name)) for name in "abc")
    clock.now += EVERY
    clock.since += LOOK - 0.1
    assert sample.task(ledger) is None


def test_what_the_node_does_not_hold_any_more_is_submitted_again_and_said(
    ledger: Ledger, spool: Spool, node: MemoryNode, pinned: list[str], log: list[str]
) -> None:
    del node.pins[cid_of("b")]
    assert _ids(ask_again(node, spool, ledger.select())) == ["b"]
    (path,) = spool.arrivals(10)
    job = spool.read(path).job
    assert (job.cid, job.job_id, job.flags) == (cid_of("b"), "b", ())
    assert abs((datetime.now(UTC) - job.completed_at).total_seconds()) < 60
    assert log[0].startswith(f"ERROR LOST BY THE SUPERNODE: memory does not hold {cid_of('b')} of job b any more")
    assert "pinned there on 2027-01-15: it is pinned again" in log[0]
    assert log[1:] == ["DEBUG asked memory again about 3 CIDs: 2 held, 0 unknown\n"]


def test_every_job_with_a_lost_cid_is_submitted_again_and_the_node_asked_once(
    ledger: Ledger, spool: Spool, node: MemoryNode
) -> None:
    add(ledger, "one", "two", cid=cid_of("lost"))
    assert sorted(_ids(ask_again(node, spool, ledger.select()))) == ["one", "two"]
    assert _again(spool) == ["one", "two"]
    assert node.calls == [("pinned", cid_of("lost"))]


def test_its_record_is_enough(ledger: Ledger, spool: Spool, node: MemoryNode, pinned: list[str]) -> None:
    node.blocks = set()
    assert ask_again(node, spool, ledger.select()) == []
    assert node.count("whole") == 0


def test_an_answer_that_is_unknown_changes_nothing(
    ledger: Ledger, spool: Spool, node: MemoryNode, pinned: list[str], log: list[str]
) -> None:
    node.down()
    assert ask_again(node, spool, ledger.select()) == []
    assert _again(spool) == []
    assert log == ["DEBUG asked memory again about 3 CIDs: 0 held, 3 unknown\n"]


def test_what_cannot_be_submitted_ends_the_sample_aloud_and_not_its_thread(
    ledger: Ledger, spool: Spool, node: MemoryNode, pinned: list[str], clock: TwoClocks, log: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    sample = DailySample(node, spool, clock)
    sample.task(ledger)
    clock.now, clock.since = clock.now + EVERY, LOOK
    node.pins.clear()

    def refuse(job: object) -> None:
        raise NotRecorded("the disk is full")

    monkeypatch.setattr(spool, "record", refuse)
    task = sample.task(ledger)
    assert task is not None
    task()
    assert log[-1] == "ERROR the daily sample ended early, and goes on tomorrow: the disk is full\n"


def test_where_it_is_not_known_when_it_was_pinned_that_is_said(ledger: Ledger, spool: Spool, log: list[str]) -> None:
    add(ledger, "a")
    ask_again(MemoryNode(), spool, ledger.select())
    assert "pinned there on an earlier day: it is pinned again" in log[0]
    assert time.gmtime(NOW / 1000)[:3] == (2027, 1, 15)
