"""The daily sample: what the supernode has lost since is pinned again, loudly; what it does not say changes nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from encoder_pin_plugin.lazy.ledger import Ledger
from encoder_pin_plugin.lazy.pins import State
from encoder_pin_plugin.lazy.sample import EVERY, ask_again, take_sample
from tests.cids import cid_of
from tests.conftest import until
from tests.lazy.conftest import Bench

DAY = 24 * 3600 * 1000


@pytest.fixture
def pinned(bench: Bench) -> Bench:
    """A bench whose supernode has pinned a, b and c."""
    for name in "abc":
        bench.complete(name)
    assert bench.drain() == 0
    return bench


@pytest.fixture
def ledger(pinned: Bench) -> Iterator[Ledger]:
    ledger = pinned.ledger()
    yield ledger
    ledger.close()


def now() -> int:
    return int(time.time() * 1000)


def taken(ledger: Ledger, at: int, **options: int) -> set[str]:
    return {pin.job.job_id for pin in take_sample(ledger, at, **options)}


def test_the_first_sample_comes_a_day_after_the_first_look(ledger: Ledger) -> None:
    begun = now()
    assert taken(ledger, begun) == set()
    assert taken(ledger, begun + DAY - 1000) == set()
    assert taken(ledger, begun + 2 * DAY) == {"a", "b", "c"}
    assert EVERY == DAY


def test_neither_a_restart_nor_a_second_worker_repeats_it(pinned: Bench, ledger: Ledger) -> None:
    later = now() + 2 * DAY
    taken(ledger, now())
    assert taken(ledger, later) == {"a", "b", "c"}
    assert taken(ledger, later + 1000) == set()
    other = pinned.ledger()
    assert taken(other, later + 1000) == set()
    other.close()


def test_small_samples_come_round_to_every_job_and_begin_anew(ledger: Ledger) -> None:
    taken(ledger, now())
    days = [taken(ledger, now() + 2 * day * DAY, size=2) for day in range(1, 5)]
    assert days[0] | days[1] == {"a", "b", "c"}
    assert (len(days[0]), len(days[1])) == (2, 1)
    assert days[2:] == days[:2]


def test_a_clock_that_was_set_back_does_not_end_the_sampling(ledger: Ledger) -> None:
    taken(ledger, now() + 1000 * DAY)
    assert taken(ledger, now()) == {"a", "b", "c"}


def test_only_what_is_pinned_is_asked_about(bench: Bench) -> None:
    bench.supernode.down()
    bench.complete("archived")
    assert bench.drain() == 0
    ledger = bench.ledger()
    taken(ledger, now())
    assert taken(ledger, now() + 2 * DAY) == set()
    ledger.close()


def test_what_is_lost_is_named_and_becomes_an_open_job(pinned: Bench, ledger: Ledger, warned: list[str]) -> None:
    del pinned.supernode.pins[cid_of("b")]
    lost = ask_again(pinned.supernode, pinned.spool, ledger.select())
    assert [pin.job.job_id for pin in lost] == ["b"]
    assert [pinned.spool.read(path).job.job_id for path in pinned.spool.arrivals(10)] == ["b"]
    assert len(warned) == 1
    assert "LOST BY THE SUPERNODE" in warned[0]
    assert cid_of("b") in warned[0]
    pinned.drain()
    assert cid_of("b") in pinned.supernode.pins
    assert pinned.jobs()["b"].state is State.PINNED


def test_a_lost_job_that_cannot_be_pinned_again_falls_back(pinned: Bench, ledger: Ledger) -> None:
    del pinned.supernode.pins[cid_of("b")]
    ask_again(pinned.supernode, pinned.spool, ledger.select())
    pinned.supernode.down()
    assert pinned.drain() == 0
    assert pinned.lines() == ["b"]


def test_a_node_that_does_not_answer_changes_nothing(pinned: Bench, ledger: Ledger, warned: list[str]) -> None:
    pinned.supernode.pins.clear()
    pinned.supernode.down()
    assert ask_again(pinned.supernode, pinned.spool, ledger.select()) == []
    assert pinned.spool.arrivals(10) == []
    assert warned == []


def test_the_worker_does_it_by_itself(pinned: Bench, ledger: Ledger, running) -> None:
    del pinned.supernode.pins[cid_of("c")]
    with ledger.transaction() as db:
        db.execute("INSERT OR REPLACE INTO meta VALUES ('sample', ?)", (f"{now() - 2 * DAY} ",))
    running(pinned.worker())
    until(lambda: cid_of("c") in pinned.supernode.pins)
