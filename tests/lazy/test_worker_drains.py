"""When a drain is over, and what others still need."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable

import pytest

from encoder_hookspecs.events import Reason
from encoder_pin_plugin.errors import LedgerError
from encoder_pin_plugin.lazy.pins import LazyPin, State, to_moment
from encoder_pin_plugin.lazy.worker import LEDGER_NAME, Worker
from tests.conftest import until
from tests.lazy.conftest import NOW, Bench, Passing

pytestmark = pytest.mark.usefixtures("quick")

Leaving = Callable[[Worker], Worker]


class TestDraining:
    @pytest.fixture
    def bench(self, make_bench: Callable[..., Bench]) -> Bench:
        return make_bench(hold_local="off")

    def test_a_drain_waits_for_files_that_are_to_be_taken_in(
        self, bench: Bench, worker: Worker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert not worker._drained()
        worker._turn()
        assert worker._drained()
        bench.complete("a")
        assert not worker._drained()

    def test_and_for_results_that_are_posted(self, bench: Bench, worker: Worker) -> None:
        bench.complete("a")
        worker._turn()
        until(lambda: worker._results.waiting)
        assert not worker._drained()

    def test_and_for_open_jobs_but_those_whose_fallback_failed(self, bench: Bench, worker: Worker) -> None:
        bench.supernode.down()
        bench.complete("a")
        bench.complete("b")
        worker._turn()
        until(lambda: not worker._dispatch.awaits(worker._results.waiting))
        worker._turn()
        assert not worker._drained()
        keys = {pin.job.job_id: pin.key for pin in bench.jobs().values()}
        worker._results.exhausted.add(keys["a"])
        assert not worker._drained()
        worker._results.exhausted.add(keys["b"])
        assert worker._drained()

    def test_where_nothing_may_fall_back_and_the_supernode_is_down_it_waits_for_what_is_under_way(
        self, make_bench: Callable[..., Bench], leaving: Leaving, clock: Passing, go: threading.Event
    ) -> None:
        bench = make_bench(enable_local_fallback=False, hold_local="off")
        worker = leaving(bench.worker(clock=clock))
        bench.supernode.fail = lambda call, cid: (go.wait(20), None)[1]
        bench.complete("a")
        worker._turn()
        assert not worker._drained()
        worker._breaker.failed(Reason.NOT_ALLOWED, clock.steady())
        assert not worker._drained()
        (item,) = worker._dispatch._in_flight.values()
        worker._dispatch.ended(item.pin)
        assert worker._drained()

    def test_where_nothing_may_fall_back_and_there_is_no_supernode_it_ends(
        self, make_bench: Callable[..., Bench], leaving: Leaving, clock: Passing
    ) -> None:
        bench = make_bench(enable_local_fallback=False, hold_local="off")
        bench.supernode = None  # type: ignore[assignment]
        worker = leaving(bench.worker(clock=clock))
        bench.complete("a")
        worker._turn()
        assert worker._drained()

    def test_where_nothing_may_fall_back_a_job_that_the_supernode_may_take_is_waited_for(
        self, make_bench: Callable[..., Bench], leaving: Leaving, clock: Passing
    ) -> None:
        bench = make_bench(enable_local_fallback=False, hold_local="off")
        bench.supernode.down(Reason.NODE_ERROR)
        worker = leaving(bench.worker(clock=clock))
        bench.complete("a")
        worker._turn()
        until(lambda: worker._results.waiting)
        worker._turn()
        assert not worker._dispatch.busy
        assert not worker._drained()

    def test_but_not_one_that_has_used_up_its_attempts(
        self, make_bench: Callable[..., Bench], leaving: Leaving, clock: Passing
    ) -> None:
        bench = make_bench(enable_local_fallback=False, local_fallback_threshold=1, hold_local="off")
        bench.supernode.down(Reason.NODE_ERROR)
        worker = leaving(bench.worker(clock=clock))
        bench.complete("a")
        worker._turn()
        until(lambda: worker._results.waiting)
        worker._turn()
        assert not worker._breaker.is_open
        assert worker._drained()
        assert worker._alarms.lasting() == []

    @pytest.mark.parametrize(("after", "backoff", "ends"), [
        (7_200, "60,300,900", True), (961, "60,300,900", True), (959, "60,300,900", False),
        (121, "1", True), (119, "1", False),
    ])  # fmt: skip
    def test_without_a_supernode_what_falls_back_later_than_soon_is_not_waited_for(
        self, make_bench: Callable[..., Bench], leaving: Leaving, clock: Passing, after: int, backoff: str, ends: bool
    ) -> None:
        bench = make_bench(fallback_after=after, lazy_pin_backoff=backoff, hold_local="off")
        bench.supernode = None  # type: ignore[assignment]
        worker = leaving(bench.worker(clock=clock))
        bench.complete("a", completed_at=to_moment(clock.wall() - 60_000))
        worker._turn()
        assert worker._drained() is ends

    def test_nor_does_it_hide_a_job_whose_fallback_is_to_be_tried(
        self, make_bench: Callable[..., Bench], leaving: Leaving, clock: Passing, go: threading.Event
    ) -> None:
        bench = make_bench(hold_local="off")
        bench.supernode = None  # type: ignore[assignment]
        bench.local.fail = lambda call, cid: (go.wait(20), None)[1]
        worker = leaving(bench.worker(clock=clock))
        bench.complete("old", completed_at=to_moment(clock.wall() - 7_200_000))
        bench.complete("young", completed_at=to_moment(clock.wall()))
        worker._turn()
        assert not worker._drained()
        worker._turn()
        assert bench.jobs()["old"].state is State.FALLING_BACK
        assert not worker._drained()
        worker._results.exhausted.add(bench.jobs()["old"].key)
        assert worker._drained()

    def test_with_a_supernode_a_young_job_is_waited_for(self, bench: Bench, worker: Worker) -> None:
        bench.supernode.down(Reason.NODE_ERROR)
        bench.complete("a", completed_at=to_moment(NOW))
        worker._turn()
        until(lambda: worker._results.waiting)
        worker._turn()
        assert bench.jobs()["a"].state is State.PENDING
        assert not worker._drained()

    def test_without_a_supernode_it_waits_until_what_is_left_is_held(
        self, make_bench: Callable[..., Bench], leaving: Leaving, clock: Passing, go: threading.Event
    ) -> None:
        bench = make_bench()
        bench.supernode = None  # type: ignore[assignment]
        bench.local.fail = lambda call, cid: (go.wait(20), None)[1]
        worker = leaving(bench.worker(clock=clock))
        bench.complete("a", completed_at=to_moment(clock.wall()))
        worker._turn()
        assert not worker._drained()
        go.set()
        until(lambda: worker._results.waiting)
        worker._turn()
        assert bench.jobs()["a"].hold is not None
        assert worker._drained()

    @pytest.mark.parametrize("error", [LedgerError("busy"), sqlite3.DatabaseError("damaged")])
    def test_an_unreadable_ledger_is_not_drained(
        self, worker: Worker, monkeypatch: pytest.MonkeyPatch, error: Exception
    ) -> None:
        worker._turn()

        def refuse(*_: object) -> None:
            raise error

        assert worker._ledger.current is not None
        monkeypatch.setattr(worker._ledger.current, "read", refuse)
        assert not worker._drained()


class TestNeeding:
    """Whether a CID is needed, asked right before an unpin."""

    @pytest.fixture
    def pin(self, bench: Bench, worker: Worker) -> LazyPin:
        """A pinned job."""
        bench.complete("a")
        worker._turn()
        until(lambda: not worker._dispatch.awaits(worker._results.waiting))
        worker._turn()
        until(lambda: worker._results.waiting or bench.jobs()["a"].state is State.PINNED)
        worker._turn()
        return bench.jobs()["a"]

    def test_a_finished_job_alone_needs_nothing(self, worker: Worker, pin: LazyPin) -> None:
        assert not worker._needed(pin)

    def test_another_open_job_needs_it(self, bench: Bench, worker: Worker, pin: LazyPin) -> None:
        bench.supernode.down()
        bench.complete("b", cid=pin.job.cid)
        worker._turn()
        assert worker._needed(pin)

    def test_a_line_of_the_archive_needs_it(
        self, worker: Worker, pin: LazyPin, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(worker._decisions, "needed", lambda cid: cid == pin.job.cid)
        assert worker._needed(pin)

    def test_as_long_as_files_and_ledger_do_not_agree_all_is_needed(
        self, bench: Bench, worker: Worker, pin: LazyPin, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as earlier:
            earlier.setattr(worker._intake, "agrees", lambda ledger: ledger is not worker._ledger.current)
            assert worker._needed(pin)
        (bench.settings.data_dir / LEDGER_NAME).unlink()
        assert worker._needed(pin)
