"""What is started next, without a worker: attempts and fallbacks within their bounds, and those that hang."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace

import pytest

from encoder_hookspecs.events import Reason
from encoder_pin_plugin.lazy.dispatch import FALLBACKS_AT_ONCE, LEASE
from encoder_pin_plugin.lazy.ledger import Ledger
from encoder_pin_plugin.lazy.ports import Outcome
from tests.lazy.booking import add, column, names
from tests.lazy.conftest import NOW
from tests.lazy.dispatching import Desk, many, put

HOUR = 3_600_000


def test_threads_are_made_for_all_that_may_be_under_way(desk: Desk) -> None:
    sizes = {name: pool.size for name, pool in desk.pools.items()}
    assert sizes == {"lazy-pin": 4 + 2, "local-fallback": 8, "lazy-pin-side": 4, "lazy-pin-observers": 2}


@pytest.mark.parametrize(("at_once", "observers"), [(1, 2), (8, 4), (9, 4)])
def test_observers_are_told_by_half_asmany(make: Callable[..., Desk], at_once: int, observers: int) -> None:
    assert make(lazy_pin_concurrency=at_once).pools["lazy-pin-observers"].size == observers


def test_all_threads_are_let_go(desk: Desk) -> None:
    desk.dispatch.close()
    assert all(pool.closed for pool in desk.pools.values())
    assert desk.attempts.closed


def test_due_jobs_are_attempted_as_many_as_there_are_slots(desk: Desk, ledger: Ledger) -> None:
    jobs = many(ledger, 10)
    assert not desk.dispatch.busy
    assert len(desk.attempted()) == 4 + 2 + 2
    assert desk.dispatch.busy
    assert desk.attempted() == []
    desk.dispatch.ended(desk.attempts.pins[0])
    desk.time.passed = 1.0
    assert len(desk.attempted()) == 1
    assert set(names(desk.attempts.pins)) < set(jobs)


def test_a_job_that_is_not_due_waits(desk: Desk, ledger: Ledger) -> None:
    add(ledger, "a")
    put(ledger, f"next_at={NOW + 1}")
    assert desk.attempted() == []
    desk.time.passed = 0.5
    assert desk.attempted() == ["a"]


def test_a_claimed_job_is_leased_for_two_minutes(desk: Desk, ledger: Ledger) -> None:
    add(ledger, "a", "b")
    put(ledger, "state='falling_back'", "job_id='b'")
    desk.claim()
    assert LEASE == 120_000
    for name in "ab":
        assert (column(ledger, name, "owner"), column(ledger, name, "lease_until")) == ("w1", NOW + LEASE)


@pytest.mark.parametrize(("at_once", "large_ones"), [(4, 3), (6, 4)])
def test_a_quarter_is_kept_free_of_large_jobs(
    make: Callable[..., Desk], ledger: Ledger, at_once: int, large_ones: int
) -> None:
    desk = make(lazy_pin_concurrency=at_once)
    large = many(ledger, 6, "large", size_mb=5000.0)
    small = many(ledger, 2, "small")
    put(ledger, f"next_at={NOW - 1}", "size_mb > 1000")
    begun = desk.attempted()
    assert len(set(begun) & set(large)) == large_ones
    assert set(begun) >= set(small)
    add(ledger, "another small one")
    assert desk.attempted() == ["another small one"]


def test_where_one_is_pinned_at_a_time_it_may_be_a_large_one(make: Callable[..., Desk], ledger: Ledger) -> None:
    desk = make(lazy_pin_concurrency=1)
    many(ledger, 3, "large", size_mb=5000.0)
    assert len(desk.attempted()) == 1
    assert desk.attempted() == []


def test_old_large_jobs_are_kept_in_their_room_too(make: Callable[..., Desk], ledger: Ledger) -> None:
    desk = make(fallback_after=3600, lazy_pin_concurrency=4)
    many(ledger, 6, "old", size_mb=5000.0)
    put(ledger, f"waiting_since={NOW - HOUR}, next_at={NOW + HOUR}")
    small = many(ledger, 2, "small")
    begun = desk.attempted()
    assert len(begun) == 3 + 2
    assert set(begun) >= set(small)
    assert desk.attempted() == []


def test_old_large_jobs_that_nobody_can_try_fall_back_all_at_once(make: Callable[..., Desk], ledger: Ledger) -> None:
    desk = make(fallback_after=3600, lazy_pin_concurrency=4)
    desk.breaker.failed(Reason.REFUSED, 1000.0)
    many(ledger, 6, "old", size_mb=5000.0)
    put(ledger, f"waiting_since={NOW - HOUR}, next_at={NOW + HOUR}")
    desk.claim()
    assert len(desk.posted) == 6


def test_a_large_job_that_falls_back_takes_no_room(desk: Desk, ledger: Ledger) -> None:
    many(ledger, 4, "falling", size_mb=5000.0)
    put(ledger, "state='falling_back'")
    large = many(ledger, 3, "large", size_mb=5000.0)
    assert sorted(desk.attempted()) == large


def test_quick_jobs_are_claimed_further_ahead(desk: Desk, ledger: Ledger) -> None:
    many(ledger, 30)
    put(ledger, "state='falling_back'", "job_id='job 29'")
    assert desk.fell_back() == ["job 29"]
    desk.pools["lazy-pin"].work()
    desk.dispatch.ended(desk.fallbacks.pins[0])
    assert desk.attempted() == []
    for pin in desk.attempts.pins[:3]:
        desk.dispatch.ended(pin)
    assert len(desk.attempted()) == 3 + 3
    desk.time.passed = 1.0  # now more are under way than would be claimed
    assert desk.attempted() == []


def test_a_late_end_of_an_earlier_claim_changes_nothing(desk: Desk, ledger: Ledger) -> None:
    add(ledger, "a")
    desk.attempted()
    (pin,) = desk.attempts.pins
    desk.dispatch.ended(replace(pin, epoch=pin.epoch - 1))
    desk.dispatch.ended(replace(pin, key="of another"))
    assert desk.dispatch.busy
    desk.dispatch.ended(pin)
    assert not desk.dispatch.busy


def test_results_are_awaited_until_all_are_posted(desk: Desk, ledger: Ledger) -> None:
    assert not desk.dispatch.awaits(0)
    add(ledger, "a", "b")
    desk.claim()
    assert desk.dispatch.awaits(1)
    assert not desk.dispatch.awaits(2)


def test_an_old_job_is_attempted_once_more_before_it_is_due(desk: Desk, ledger: Ledger) -> None:
    add(ledger, "old")
    put(ledger, f"waiting_since={NOW - 3 * HOUR}, next_at={NOW + HOUR}")
    assert desk.attempted() == ["old"]
    assert desk.posted == []


def test_without_a_supernode_old_jobs_are_given_up_and_no_other(make: Callable[..., Desk], ledger: Ledger) -> None:
    desk = make(supernode=False)
    add(ledger, "old", "young")
    put(ledger, f"waiting_since={NOW - 3 * HOUR}", "job_id='old'")
    assert desk.attempted() == []
    assert [it.step.pin.job.job_id for it in desk.posted if isinstance(it, Outcome)] == ["old"]


def test_where_nothing_may_fall_back_an_old_job_waits_for_its_turn(make: Callable[..., Desk], ledger: Ledger) -> None:
    desk = make(enable_local_fallback=False)
    add(ledger, "old")
    put(ledger, f"waiting_since={NOW - 3 * HOUR}, next_at={NOW + HOUR}")
    assert desk.attempted() == []
    assert desk.posted == []


def test_no_more_fall_back_at_once_than_may(desk: Desk, ledger: Ledger) -> None:
    jobs = many(ledger, 10, "falling")
    put(ledger, "state='falling_back'")
    add(ledger, "pending")
    assert FALLBACKS_AT_ONCE == 8
    begun = desk.fell_back()
    assert len(begun) == 8
    assert set(begun) < set(jobs)
    assert desk.fell_back() == []
    desk.dispatch.ended(desk.fallbacks.pins[0])
    assert len(desk.fell_back()) == 1


def test_who_has_all_hands_full_leaves_the_ledger_to_others(desk: Desk, ledger: Ledger) -> None:
    many(ledger, 10, "falling")
    put(ledger, "state='falling_back'")
    many(ledger, 10)
    desk.claim()
    ledger.read("PRAGMA busy_timeout=10")
    with closing(Ledger(ledger.path)) as other, other.transaction():
        desk.claim()
    assert desk.attempted() != []


def test_a_turn_begins_when_a_thread_begins_with_it(desk: Desk, ledger: Ledger) -> None:
    add(ledger, "a")
    desk.claim()
    desk.time.passed = 2.5
    desk.pools["lazy-pin"].work()
    assert [pin.turn_at for pin in desk.attempts.pins] == [NOW + 2500]


def test_where_no_thread_can_be_started_a_job_is_not_under_way(desk: Desk, ledger: Ledger) -> None:
    add(ledger, "a")
    desk.pools["lazy-pin"].refuses = True
    with pytest.raises(RuntimeError, match="no thread"):
        desk.claim()
    assert not desk.dispatch.busy
    desk.breaker.failed(Reason.REFUSED, 1000.0)
    assert desk.breaker.allows(2000.0) == 1


@pytest.mark.parametrize(("longest", "cap"), [(3600, 3_600_000), (60, 600_000)])
def test_no_job_is_parked_beyond_the_longest_wait(
    make: Callable[..., Desk], ledger: Ledger, longest: int, cap: int
) -> None:
    desk = make(lazy_pin_max_backoff=longest, lazy_pin_backoff="60")
    add(ledger, "within", "beyond")
    put(ledger, f"next_at={NOW + cap + 5000}", "job_id='within'")
    put(ledger, f"next_at={NOW + cap + 5001}", "job_id='beyond'")
    desk.dispatch.mind_the_clock(ledger)
    assert ledger.mark is not None
    assert column(ledger, "within", "next_at") == NOW + cap + 5000
    assert column(ledger, "beyond", "next_at") == NOW
