"""Backoff, threshold and breaker, on a clock and a die of our own."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoder_hookspecs.events import CompletedJob, GiveUp, LazyPinAttempt, Reason, RetryIn
from encoder_pin_plugin.lazy.retry import Breaker, Policy, clamp, counts, decide
from tests.cids import cid_of

NOW = datetime.now(UTC)


class Die(Random):
    """A die that shows the same part of every range: 0 its lower end, 1 its upper one."""

    def __init__(self, part: float = 0.5) -> None:
        super().__init__()
        self.part = part

    def uniform(self, a: float, b: float) -> float:
        return a + (b - a) * self.part


def attempt(number: int, reason: Reason = Reason.REFUSED) -> LazyPinAttempt:
    return LazyPinAttempt(
        job=CompletedJob(cid=cid_of("x"), job_id="x"), number=number, error="", reason=reason,
        started_at=NOW, ended_at=NOW, counts=counts(reason),
    )  # fmt: skip


@pytest.mark.parametrize(("number", "around"), [(1, 60), (2, 300), (3, 900), (4, 900), (50, 900)])
def test_each_attempt_waits_its_own_time_and_the_last_one_repeats(number: int, around: float) -> None:
    decision = decide(attempt(number), Policy(threshold=100), Random(1))
    assert isinstance(decision, RetryIn)
    assert around * 0.8 <= decision.seconds <= around * 1.2


@pytest.mark.parametrize(("part", "seconds"), [(0, 48), (0.5, 60), (1, 72)])
def test_a_wait_is_spread_by_a_fifth_to_both_sides(part: float, seconds: float) -> None:
    assert decide(attempt(1), Policy(), Die(part)) == RetryIn(seconds=pytest.approx(seconds))


@pytest.mark.parametrize("threshold", [1, 3, 10])
def test_giving_up_comes_with_the_threshold(threshold: int) -> None:
    policy = Policy(threshold=threshold)
    assert decide(attempt(threshold), policy, Random(1)) == GiveUp(why=f"{threshold} of {threshold} attempts failed")
    if threshold > 1:
        assert isinstance(decide(attempt(threshold - 1), policy, Random(1)), RetryIn)


def test_without_fallback_nothing_is_given_up() -> None:
    assert isinstance(decide(attempt(99), Policy(fallback=False), Random(1)), RetryIn)


def test_a_wrong_setting_waits_longest_and_counts_nothing() -> None:
    assert not counts(Reason.NOT_ALLOWED)
    decision = decide(attempt(0, Reason.NOT_ALLOWED), Policy(), Random(1))
    assert isinstance(decision, RetryIn)
    assert decision.seconds >= 720


@given(st.floats(allow_nan=True, allow_infinity=True) | st.integers())
def test_whatever_a_plugin_wishes_stays_within_bounds(seconds: float) -> None:
    assert 1 <= clamp(seconds, Policy()) <= 3600


def test_a_wish_that_no_float_can_hold_is_within_bounds_too() -> None:
    assert (clamp(10**400, Policy()), clamp(-(10**400), Policy())) == (3600, 1)


@pytest.mark.parametrize("nonsense", ["soon", None, [], math.nan])
def test_a_wish_that_is_no_number_is_the_longest_wait(nonsense: object) -> None:
    assert clamp(nonsense, Policy()) == 3600


def opened() -> Breaker:
    breaker = Breaker(Random(1))
    for _ in range(5):
        breaker.failed(Reason.REFUSED, 0.0)
    return breaker


def test_five_failures_in_a_row_open_the_breaker_and_one_probe_is_let_through() -> None:
    breaker = opened()
    assert breaker.is_open
    assert breaker.allows(1.0) == 0
    assert breaker.allows(40.0) == 1
    breaker.started()
    assert breaker.allows(40.0) == 0
    assert breaker.succeeded()
    assert breaker.allows(41.0) is None


def open_breaker(part: float = 0.5) -> Breaker:
    """The supernode has been down since 1000.0; the first pause is 30 s, spread by `part`."""
    breaker = Breaker(Die(part))
    for _ in range(5):
        breaker.failed(Reason.REFUSED, 1000.0)
    return breaker


def test_the_outage_begins_with_the_fifth_failure_and_is_told_once() -> None:
    breaker = Breaker(Die())
    assert [breaker.failed(Reason.REFUSED, 0.0) for _ in range(7)] == [False, False, False, False, True, False, False]


@pytest.mark.parametrize(("part", "pause"), [(0, 24), (0.5, 30), (1, 36)])
def test_a_pause_is_spread_and_ends_on_the_second(part: float, pause: float) -> None:
    breaker = open_breaker(part)
    until = breaker.opens_at()
    assert until == pytest.approx(1000 + pause)
    assert (breaker.allows(until - 0.001), breaker.allows(until), breaker.allows(until + 1)) == (0, 1, 1)


def test_each_failed_probe_doubles_the_pause_up_to_ten_minutes() -> None:
    breaker, now, pauses = open_breaker(), 1000.0, []
    for _ in range(8):
        until = breaker.opens_at()
        assert until is not None
        pauses.append(until - now)
        now = until
        breaker.started()
        assert not breaker.failed(Reason.TIMEOUT, now)
        assert breaker.allows(now) == 0
    assert pauses == pytest.approx([30, 60, 120, 240, 480, 600, 600, 600])


def test_after_an_outage_everything_counts_from_nothing() -> None:
    breaker = open_breaker()
    breaker.failed(Reason.TIMEOUT, 1030.0)
    assert breaker.succeeded()
    assert not breaker.succeeded()
    assert breaker.opens_at() is None
    assert [breaker.failed(Reason.REFUSED, 2000.0) for _ in range(5)] == [False] * 4 + [True]
    assert breaker.opens_at() == pytest.approx(2030)
    assert breaker.allows(2030.0) == 1


def test_an_answer_for_one_cid_ends_an_outage_and_a_row_of_failures() -> None:
    breaker = open_breaker()
    breaker.started()
    assert not breaker.failed(Reason.CONTENT_MISSING, 1030.0)
    assert not breaker.is_open
    assert breaker.allows(1030.0) is None
    for reason in [*[Reason.REFUSED] * 4, Reason.CONTENT_MISSING] * 3:
        assert not breaker.failed(reason, 1040.0)
    assert not breaker.is_open


def test_a_failure_of_one_cid_says_nothing_about_the_node() -> None:
    breaker = Breaker(Random(1))
    for _ in range(50):
        breaker.failed(Reason.CONTENT_MISSING, 0.0)
    assert not breaker.is_open


def test_refused_credentials_open_it_at_once() -> None:
    breaker = Breaker(Random(1))
    assert breaker.failed(Reason.NOT_ALLOWED, 0.0)


def test_stragglers_do_not_prolong_an_outage() -> None:
    breaker = opened()
    until = breaker.opens_at()
    for _ in range(30):
        assert not breaker.failed(Reason.REFUSED, 1.0)
    assert breaker.opens_at() == until
