"""What is started while something is down or hangs, without a worker."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from encoder_hookspecs.events import Reason
from encoder_pin_plugin.lazy.dispatch import LEASE, PLUGINS
from encoder_pin_plugin.lazy.ledger import Ledger
from encoder_pin_plugin.lazy.pins import State, Step
from encoder_pin_plugin.lazy.ports import Outcome
from tests.lazy.booking import add, column
from tests.lazy.conftest import NOW
from tests.lazy.dispatching import Desk, many, put

HOUR = 3_600_000


class TestWhileTheSupernodeIsDown:
    def test_one_at_a_time_finds_out(self, desk: Desk, ledger: Ledger) -> None:
        many(ledger, 5)
        desk.breaker.failed(Reason.REFUSED, 1000.0)
        assert desk.attempted() == []
        desk.time.passed = 60.0
        assert len(desk.attempted()) == 1
        assert desk.attempted() == []

    def test_what_is_too_old_to_wait_is_given_up(self, desk: Desk, ledger: Ledger) -> None:
        desk.breaker.failed(Reason.REFUSED, 1000.0)
        add(ledger, "old", "young")
        put(ledger, f"attempts=2, tries=3, next_at={NOW + HOUR}")
        put(ledger, f"waiting_since={NOW - 7_200_000}", "job_id='old'")
        put(ledger, f"waiting_since={NOW - 7_199_999}", "job_id='young'")
        assert desk.attempted() == []
        (outcome,) = desk.posted
        assert isinstance(outcome, Outcome)
        text = "the supernode was not asked: it is down, or none is configured"
        step = outcome.step
        assert (outcome.asked, outcome.reason, step.pin.job.job_id, step.pin.owner) == (False, None, "old", "w1")
        expected = Step(pin=step.pin, state=State.FALLING_BACK, attempts=2, tries=3, reason=Reason.TOO_OLD, error=text)
        assert step == expected
        assert desk.dispatch.busy
        desk.claim()
        assert len(desk.posted) == 1
        desk.dispatch.ended(step.pin)
        assert not desk.dispatch.busy
        assert ledger.commit([step], NOW) == [step]

    def test_why_it_failed_before_is_kept(self, desk: Desk, ledger: Ledger) -> None:
        desk.breaker.failed(Reason.REFUSED, 1000.0)
        add(ledger, "old")
        put(ledger, f"waiting_since={NOW - 3 * HOUR}, reason='timeout', error='no answer'")
        desk.claim()
        (outcome,) = desk.posted
        assert isinstance(outcome, Outcome)
        assert (outcome.step.reason, outcome.step.error) == (Reason.TIMEOUT, "no answer")

    def test_no_more_are_given_up_at_once_than_there_are_slots(self, desk: Desk, ledger: Ledger) -> None:
        desk.breaker.failed(Reason.REFUSED, 1000.0)
        many(ledger, 10)
        put(ledger, f"waiting_since={NOW - 3 * HOUR}")
        desk.claim()
        desk.claim()
        assert len(desk.posted) == 8
        first = desk.posted[0]
        assert isinstance(first, Outcome)
        desk.dispatch.ended(first.step.pin)
        desk.time.passed = 1.0
        desk.claim()
        assert len(desk.posted) == 9


class TestHanging:
    LONGEST = 2 * 900 + PLUGINS * 5.0

    @pytest.fixture
    def desk(self, make: Callable[..., Desk], ledger: Ledger) -> Desk:
        """An attempt and a fallback are under way."""
        desk = make(lazy_pin_timeout=900, plugin_timeout=5)
        add(ledger, "attempt", "fallback")
        put(ledger, "state='falling_back'", "job_id='fallback'")
        desk.claim()
        return desk

    def test_leases_of_what_is_under_way_are_prolonged(self, desk: Desk, ledger: Ledger) -> None:
        desk.time.passed = 30.0
        desk.dispatch.renew(ledger)
        assert column(ledger, "attempt", "lease_until") == NOW + 30_000 + LEASE
        assert column(ledger, "fallback", "lease_until") == NOW + 30_000 + LEASE

    def test_what_waits_for_a_thread_does_not_hang(self, desk: Desk, ledger: Ledger) -> None:
        desk.time.passed = 10 * self.LONGEST
        desk.dispatch.renew(ledger)
        assert desk.dispatch.awaits(1)

    @pytest.mark.parametrize(("pool", "other"), [("lazy-pin", "local-fallback"), ("local-fallback", "lazy-pin")])
    def test_what_is_beyond_its_time_is_given_up(
        self, desk: Desk, ledger: Ledger, log: list[str], pool: str, other: str
    ) -> None:
        desk.time.passed = 7.0
        desk.pools[pool].work()
        desk.time.passed = 7.0 + self.LONGEST
        desk.dispatch.renew(ledger)
        assert desk.dispatch.awaits(1)
        desk.time.passed += 0.1
        before = column(ledger, "attempt" if pool == "lazy-pin" else "fallback", "lease_until")
        desk.dispatch.renew(ledger)
        assert not desk.dispatch.awaits(1)
        assert desk.dispatch.busy
        assert (desk.pools[pool].given_up, desk.pools[other].given_up) == (1, 0)
        assert column(ledger, "attempt" if pool == "lazy-pin" else "fallback", "lease_until") == before
        assert desk.breaker.is_open is (pool == "lazy-pin")
        assert "hangs in a node or plugin" in log[0]

    def test_the_pause_after_it_begins_then(self, desk: Desk, ledger: Ledger) -> None:
        desk.pools["lazy-pin"].work()
        desk.time.passed = self.LONGEST + 1
        desk.dispatch.renew(ledger)
        opens_at = desk.breaker.opens_at()
        assert opens_at is not None
        assert 0 < opens_at - desk.time.steady() < 60
