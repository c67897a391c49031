"""How a worker ends: when a drain is over, what is left, and what is needed by others."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing

import pytest

from encoder_pin_plugin.errors import LedgerError, StorageError
from encoder_pin_plugin.lazy.ledger import Ledger
from encoder_pin_plugin.lazy.pins import State, to_moment
from encoder_pin_plugin.lazy.ports import Holds
from encoder_pin_plugin.lazy.presence import Presence
from encoder_pin_plugin.lazy.worker import Worker
from tests.conftest import until
from tests.lazy.conftest import NOW, Bench, Passing

pytestmark = pytest.mark.usefixtures("quick")


class TestEnding:
    def test_it_runs_until_it_is_told_to_stop(
        self, bench: Bench, running: Callable[[Worker], threading.Thread]
    ) -> None:
        worker = bench.worker()
        assert worker.runs
        assert not worker.wait(0)
        thread = running(worker)
        job = bench.complete("a")
        worker.wake()
        until(lambda: job.cid in bench.supernode.pins and not bench.spool.opened())
        job = bench.complete("b")
        until(lambda: job.cid in bench.supernode.pins)
        worker.stop()
        assert not worker.runs
        assert worker.wait(20)
        thread.join(20)

    @pytest.mark.parametrize("call", ["wake", "stop"])
    def test_who_has_something_to_say_ends_a_pause(
        self, worker: Worker, running: Callable[[Worker], threading.Thread], monkeypatch: pytest.MonkeyPatch, call: str
    ) -> None:
        monkeypatch.setattr("encoder_pin_plugin.lazy.worker.POLL", 3600.0)
        pauses = threading.Event()
        monkeypatch.setattr(worker, "_until_due", lambda: (pauses.set(), 3600.0)[1])
        running(worker)
        assert pauses.wait(20)
        pauses.clear()
        getattr(worker, call)()
        if call == "wake":
            assert pauses.wait(20)
            worker.stop()
        assert worker.wait(20)

    def test_the_leases_of_what_it_still_waits_for_are_prolonged(
        self, make_bench: Callable[..., Bench], leaving: Callable[[Worker], Worker], clock: Passing,
        go: threading.Event, monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        bench = make_bench(hold_local="off")
        worker = leaving(bench.worker(clock=clock))
        bench.supernode.fail = lambda call, cid: (go.wait(20), None)[1]
        bench.complete("a")
        worker._turn()
        waited: list[float] = []
        renewed: list[float] = []
        renew = worker._dispatch.renew

        def wait(seconds: float) -> None:
            assert waited == [] or not worker._wake.is_set()
            waited.append(seconds)
            clock.passed += 10
            worker._wake.set()

        monkeypatch.setattr(worker._wake, "wait", wait)
        monkeypatch.setattr(worker._dispatch, "renew", lambda ledger: (renew(ledger), renewed.append(clock.passed)))
        worker.stop(patience=65.0)
        assert worker.run() == 1
        assert waited == [0.1] * 7
        assert renewed == [30.0, 60.0]

    def test_what_was_found_out_beside_the_work_is_written_down(self, bench: Bench, worker: Worker) -> None:
        bench.local.blocks = set()
        bench.supernode.down()
        bench.complete("a", completed_at=to_moment(NOW))
        worker._turn()
        until(lambda: worker._results.waiting == 2)  # the attempt's end, and that it is not held
        worker._turn()
        assert not worker._dispatch.busy
        (pin,) = bench.jobs().values()
        worker._results.post(Holds(holds={pin.key: "theirs"}))
        worker.stop()
        worker.run()
        assert bench.jobs()["a"].hold == "theirs"

    def test_what_cannot_be_written_down_at_the_end_is_left_to_the_next_start(
        self, bench: Bench, worker: Worker, clock: Passing, go: threading.Event, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bench.supernode.fail = lambda call, cid: (go.wait(20), None)[1]
        bench.complete("a")
        worker._turn()

        def refuse(*_: object) -> None:
            clock.passed += 1.0
            raise LedgerError("busy")

        monkeypatch.setattr(worker._results, "write_down", refuse)
        worker.stop(patience=1.0)
        assert worker.run() == 1

    def test_whatever_happens_at_the_end_who_waits_for_it_hears_of_it(
        self, worker: Worker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        closed: list[str] = []

        def refuse() -> None:
            closed.append("presence")
            raise StorageError("the disk is gone")

        with monkeypatch.context() as broken:
            broken.setattr(worker._dispatch, "close", lambda: closed.append("dispatch"))
            broken.setattr(worker._presence, "end", refuse)
            with pytest.raises(StorageError):
                worker.run(drain=True)
        assert closed == ["dispatch", "presence"]
        assert worker.wait(0)

    @pytest.mark.parametrize("error", [LedgerError("busy"), sqlite3.DatabaseError("damaged")])
    def test_leases_that_cannot_be_given_back_keep_nobody_from_leaving(
        self, worker: Worker, monkeypatch: pytest.MonkeyPatch, error: Exception
    ) -> None:
        def refuse(ledger: Ledger, owner: str) -> None:
            raise error

        monkeypatch.setattr(Ledger, "release", refuse)
        assert worker.run(drain=True) == 0
        assert worker._ledger.current is None

    def test_an_ended_one_runs_no_more_and_its_sign_of_life_goes(self, bench: Bench, worker: Worker) -> None:
        assert worker.run(drain=True) == 0
        assert not worker.runs
        assert worker.wait(0)
        assert worker._ledger.current is None
        assert Presence(bench.settings.data_dir).dead({worker._presence.name}) != set()

    def test_what_is_in_flight_at_the_end_is_left_to_others(
        self, bench: Bench, worker: Worker, go: threading.Event
    ) -> None:
        bench.supernode.fail = lambda call, cid: (go.wait(20), None)[1]
        bench.complete("a")
        worker._turn()
        worker.stop(patience=0.0)
        assert worker.run() == 1
        with closing(bench.ledger()) as ledger:
            assert ledger.owners() == set()

    def test_what_ends_within_patience_is_written_down(self, bench: Bench, worker: Worker, go: threading.Event) -> None:
        bench.supernode.fail = lambda call, cid: (go.wait(20), None)[1]
        bench.complete("a")
        worker._turn()
        worker.stop(patience=1.0)
        threading.Timer(0.1, go.set).start()
        assert worker.run() == 0
        assert bench.jobs()["a"].state is State.PINNED
        assert bench.spool.opened() == []

    def test_files_that_are_not_taken_in_are_left_jobs(self, bench: Bench, worker: Worker) -> None:
        worker._turn()
        bench.complete("a")
        bench.complete("b")
        worker.stop(patience=0.0)
        assert worker.run() == 2

    @pytest.mark.parametrize("error", [LedgerError("busy"), sqlite3.DatabaseError("damaged"), OSError("gone")])
    def test_where_the_ledger_is_closed_the_files_are_counted(
        self, bench: Bench, worker: Worker, monkeypatch: pytest.MonkeyPatch, error: Exception
    ) -> None:
        def refuse(*_: object) -> None:
            raise error

        monkeypatch.setattr(worker._ledger, "get", refuse)
        worker._spool.create()
        assert worker._open_jobs() == 1
        for name in "abc":
            bench.complete(name)
        (path, *_) = bench.spool.arrivals(1)
        path.rename(bench.spool.open / path.name)
        assert worker._open_jobs() == 3

        def unlisted(*_: object) -> None:
            raise StorageError("it cannot be listed")

        monkeypatch.setattr(worker._spool, "opened", unlisted)
        assert worker._open_jobs() == 1
