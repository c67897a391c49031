"""What is done beside the work, without a worker: holding, releasing, samples, sweeping, telling."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from encoder_hookspecs.events import Reason
from encoder_pin_plugin.alarms import Alarms
from encoder_pin_plugin.clock import EvenClock
from encoder_pin_plugin.lazy.dispatch import HOLD_AGAIN, HOLDS_AT_ONCE, RELEASE_AGAIN, RELEASE_GAP
from encoder_pin_plugin.lazy.intake import Intake
from encoder_pin_plugin.lazy.ledger import Ledger
from encoder_pin_plugin.lazy.pins import State, Step
from encoder_pin_plugin.lazy.ports import Holds, Outcome, Released, Swept
from encoder_pin_plugin.lazy.sample import EVERY
from encoder_pin_plugin.lazy.spool import Spool
from tests.cids import cid_of
from tests.lazy.booking import add, claim, column, end, holding, key_of
from tests.lazy.conftest import NOW
from tests.lazy.dispatching import Desk


def _waiting(ledger: Ledger, *jobs: str) -> None:
    """Jobs that wait for a minute, the first one longest, and are not due."""
    add(ledger, *jobs)
    with ledger.transaction() as db:
        for number, name in enumerate(jobs):
            since = NOW - 60_000 + number
            db.execute("UPDATE job SET waiting_since=?, next_at=? WHERE job_id=?", (since, NOW + 10**9, name))


class TestHolding:
    def test_those_that_wait_longest_are_held_first_a_hundred_at_once(self, desk: Desk, ledger: Ledger) -> None:
        jobs = [f"job {number:03}" for number in range(101)]
        _waiting(ledger, *jobs)
        desk.beside()
        assert HOLDS_AT_ONCE == 100
        assert desk.holder.held == [jobs[:100]]
        desk.beside()
        assert len(desk.holder.held) == 1
        desk.dispatch.note(ledger, Holds(holds={key_of(ledger, name): "ours" for name in jobs[:100]}))
        assert column(ledger, jobs[0], "hold") == "ours"
        desk.beside()
        assert desk.holder.held[1:] == [jobs[100:]]

    def test_a_machine_that_has_just_started_holds_at_once(self, desk: Desk, ledger: Ledger) -> None:
        _waiting(ledger, "a")
        desk.time.passed = 0.5 - desk.time.steady()
        desk.beside()
        assert desk.holder.held == [["a"]]

    def test_nothing_to_hold_keeps_no_other_waiting(self, desk: Desk, ledger: Ledger) -> None:
        desk.beside()
        _waiting(ledger, "a")
        desk.beside()
        assert desk.holder.held == [["a"]]

    def test_what_nobody_answers_for_is_asked_again_later_and_holds_up_no_other(
        self, desk: Desk, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("encoder_pin_plugin.lazy.dispatch.HOLDS_AT_ONCE", 2)
        _waiting(ledger, *"abcdef")
        desk.beside()
        desk.dispatch.note(ledger, Holds(holds={}, complete=False))
        desk.time.passed = HOLD_AGAIN - 0.1
        desk.beside()
        assert desk.holder.held == [["a", "b"]]
        desk.time.passed = HOLD_AGAIN
        desk.beside()
        desk.dispatch.note(ledger, Holds(holds={key_of(ledger, "c"): "none"}, complete=False))
        desk.time.passed = 2 * HOLD_AGAIN
        desk.beside()
        desk.dispatch.note(ledger, Holds(holds={}, complete=False))
        desk.time.passed = 3 * HOLD_AGAIN
        desk.beside()
        assert desk.holder.held == [["a", "b"], ["c", "d"], ["e", "f"]]
        desk.beside()
        assert desk.holder.held[3:] == [["a", "b"]]

    @pytest.mark.parametrize("options", [{"local": False}, {"hold_local": "off"}])
    def test_where_there_is_nobody_to_hold_nobody_is_asked(
        self, make: Callable[..., Desk], ledger: Ledger, options: dict[str, Any]
    ) -> None:
        desk = make(**options)
        _waiting(ledger, "a")
        desk.beside()
        assert desk.holder.held == []
        assert desk.posted == []

    def test_without_a_thread_it_is_done_in_this_one(self, desk: Desk, ledger: Ledger) -> None:
        _waiting(ledger, "a")
        desk.side.refuses = True
        desk.claim()
        assert desk.holder.held == [["a"]]


class TestReleasing:
    def _release(self, desk: Desk) -> list[list[str]]:
        desk.dispatch.claim_releases(desk.ledger)
        desk.side.work()
        return desk.holder.released

    def test_what_is_pinned_is_released_sixteen_at_a_time(self, desk: Desk, ledger: Ledger) -> None:
        holding(ledger, *[f"job {number}" for number in range(17)])
        assert [len(them) for them in self._release(desk)] == [16]
        assert [len(them) for them in self._release(desk)] == [16, 1]

    def test_one_group_at_a_time(self, desk: Desk, ledger: Ledger) -> None:
        holding(ledger, *[f"job {number}" for number in range(17)])
        desk.dispatch.claim_releases(ledger)
        desk.dispatch.claim_releases(ledger)
        assert len(desk.side.tasks) == 1

    def test_a_release_that_fails_is_tried_again_after_an_hour(self, desk: Desk, ledger: Ledger) -> None:
        holding(ledger, "a")
        desk.holder.fails = ValueError("a bug")
        with pytest.raises(ValueError, match="a bug"):
            self._release(desk)
        desk.holder.fails = None
        desk.time.passed = RELEASE_AGAIN / 1000 - 1
        assert len(self._release(desk)) == 1
        desk.time.passed += 1
        assert self._release(desk) == [["a"], ["a"]]

    def test_what_was_proved_once_is_proved_again_a_minute_later(self, desk: Desk, ledger: Ledger) -> None:
        keys = holding(ledger, "a", "b")
        self._release(desk)
        desk.dispatch.note(ledger, Released(done={keys["a"]: False, keys["b"]: True}))
        assert RELEASE_GAP == 60_000
        assert column(ledger, "a", "release_at") == NOW + RELEASE_GAP
        assert column(ledger, "a", "whole_at") == NOW
        assert column(ledger, "b", "hold") == "released"

    def test_a_supernode_that_is_down_is_not_asked(self, desk: Desk, ledger: Ledger) -> None:
        holding(ledger, "a")
        desk.breaker.failed(Reason.REFUSED, 1000.0)
        assert self._release(desk) == []
        desk.breaker.succeeded()
        assert self._release(desk) == [["a"]]

    @pytest.mark.parametrize("options", [{"local": False}, {"supernode": False}])
    def test_without_both_nodes_nothing_is_released(
        self, make: Callable[..., Desk], ledger: Ledger, options: dict[str, Any]
    ) -> None:
        holding(ledger, "a")
        assert self._release(make(**options)) == []

    def test_what_is_held_is_released_though_no_more_is_to_be_held(
        self, make: Callable[..., Desk], ledger: Ledger
    ) -> None:
        holding(ledger, "a")
        assert self._release(make(hold_local="off")) == [["a"]]


class TestTheDailySample:
    @pytest.fixture
    def due(self, ledger: Ledger, spool: Spool) -> None:
        """A sample is due, of a job that the supernode has lost."""
        add(ledger, "a")
        end(ledger, "a")
        with ledger.transaction() as db:
            db.execute("INSERT INTO meta VALUES ('sample', ?)", (f"{NOW - EVERY} ",))

    def test_what_is_lost_is_submitted_again(self, make: Callable[..., Desk], spool: Spool, due: None) -> None:
        desk = make(data_dir=spool.new.parent.parent)
        desk.beside()
        assert desk.node.calls == [("pinned", cid_of("a"))]
        assert [spool.read(path).job.job_id for path in spool.arrivals(10)] == ["a"]

    def test_a_supernode_that_is_down_is_asked_later(self, desk: Desk, due: None) -> None:
        desk.breaker.failed(Reason.REFUSED, 1000.0)
        desk.beside()
        assert desk.node.calls == []
        desk.breaker.succeeded()
        desk.beside()
        assert desk.node.calls == [("pinned", cid_of("a"))]

    def test_without_a_supernode_there_is_none(self, make: Callable[..., Desk], due: None) -> None:
        desk = make(supernode=False)
        desk.claim()
        assert desk.side.tasks == []


class TestSweeping:
    @pytest.fixture
    def intake(self, spool: Spool, desk: Desk) -> Intake:
        return Intake(spool, Alarms(desk.time), EvenClock(desk.time))

    def test_files_of_finished_jobs_are_unlinked_and_then_forgotten(
        self, desk: Desk, ledger: Ledger, spool: Spool, intake: Intake
    ) -> None:
        (nonce,) = add(ledger, "a")
        end(ledger, "a")
        file = spool.open / f"{key_of(ledger, 'a')}.{nonce}"
        file.write_bytes(b"")
        desk.dispatch.sweep(ledger, intake)
        desk.dispatch.sweep(ledger, intake)
        assert len(desk.side.tasks) == 1
        assert file.exists()
        desk.side.work()
        assert not file.exists()
        assert desk.posted == [Swept(nonces=(nonce,))]
        desk.dispatch.note(ledger, Swept(nonces=(nonce,)))
        assert ledger.nonces() == {}
        add(ledger, "b")
        end(ledger, "b")
        desk.dispatch.sweep(ledger, intake)
        assert len(desk.side.tasks) == 1

    def test_nothing_to_sweep_keeps_no_other_waiting(self, desk: Desk, ledger: Ledger, intake: Intake) -> None:
        desk.dispatch.sweep(ledger, intake)
        assert desk.side.tasks == []
        add(ledger, "a")
        end(ledger, "a")
        desk.dispatch.sweep(ledger, intake)
        assert len(desk.side.tasks) == 1

    def test_a_sweep_that_fails_ends_as_well(
        self, desk: Desk, ledger: Ledger, intake: Intake, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        add(ledger, "a")
        end(ledger, "a")

        def fail(names: object) -> None:
            raise ValueError("a bug")

        monkeypatch.setattr(intake._spool, "close", fail)
        desk.dispatch.sweep(ledger, intake)
        with pytest.raises(ValueError, match="a bug"):
            desk.side.work()
        assert desk.posted == [Swept(nonces=())]


class TestTelling:
    @pytest.fixture
    def step(self, ledger: Ledger) -> Step:
        add(ledger, "a")
        (pin,) = claim(ledger)
        return Step(pin=pin, state=State.PINNED, attempts=0, tries=1)

    def test_observers_are_told_beside_the_work_before_it_is_written_down(self, desk: Desk, step: Step) -> None:
        told: list[str] = []
        desk.dispatch.tell(Outcome(step=step, asked=True, before=lambda: told.append(f"{len(desk.posted)} posted")))
        assert (told, desk.posted) == ([], [])
        desk.pools["lazy-pin-observers"].work()
        assert told == ["0 posted"]
        (outcome,) = desk.posted
        assert isinstance(outcome, Outcome)
        assert outcome == Outcome(step=step, asked=True)
        assert outcome.before is None

    def test_what_goes_wrong_there_loses_no_outcome(self, desk: Desk, step: Step) -> None:
        def fail() -> None:
            raise ValueError("a bug")

        desk.dispatch.tell(Outcome(step=step, before=fail))
        with pytest.raises(ValueError, match="a bug"):
            desk.pools["lazy-pin-observers"].work()
        (outcome,) = desk.posted
        assert isinstance(outcome, Outcome)
        assert outcome.before is None

    def test_where_there_is_nothing_to_tell_it_is_posted_again(self, desk: Desk, step: Step) -> None:
        desk.dispatch.tell(Outcome(step=step))
        desk.pools["lazy-pin-observers"].work()
        assert desk.posted == [Outcome(step=step)]
