"""A worker turned by hand: what each round does, how often, and what becomes of one that fails."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from encoder_pin_plugin.errors import LedgerError, StorageError
from encoder_pin_plugin.lazy.ledger import Ledger
from encoder_pin_plugin.lazy.pins import State
from encoder_pin_plugin.lazy.worker import Worker
from tests.conftest import until
from tests.lazy.conftest import NOW, Bench, Passing

pytestmark = pytest.mark.usefixtures("quick")


def _turns(worker: Worker, clock: Passing, *moments: float) -> None:
    for clock.passed in moments:
        worker._turn()


HALVES = [number / 2 for number in range(62)]
OFTEN = [float(number) for number in range(31)]


@pytest.mark.parametrize(
    ("owner", "method", "moments", "expected"),
    [
        ("_dispatch", "mind_the_clock", HALVES, [0.0, *OFTEN]),  # once more with the ledger that is opened
        ("_dispatch", "sweep", HALVES, OFTEN),
        ("_dispatch", "renew", HALVES, [0.0, 30.0]),
        ("_presence", "touch", HALVES, [0.0, 5.0, 10.0, 15.0, 20.0, 25.0, 30.0]),
        ("_presence", "dead", HALVES, [0.0, 5.0, 10.0, 15.0, 20.0, 25.0, 30.0]),
        ("_rounds", "walk", HALVES, [0.0, 10.0, 20.0, 30.0]),
        ("_intake", "reconcile", [0.0, 3599.5, 3600.0, 7199.5, 7200.0], [0.0, 3600.0, 7200.0]),
        ("_dispatch", "claim", [0.0, 0.0, 0.5], [0.0, 0.0, 0.5]),
        ("_dispatch", "claim_releases", [0.0, 0.0, 0.5], [0.0, 0.0, 0.5]),
        ("_intake", "take_in", [0.0, 0.0, 0.5], [0.0, 0.0, 0.5]),
        ("_results", "write_down", [0.0, 0.0, 0.5], [0.0, 0.0, 0.5]),
        ("_decisions", "begin", [0.0, 0.5, 3600.0], [0.0]),
        ("_presence", "begin", [0.0, 0.5, 3600.0], [0.0]),
    ],
    ids=lambda it: it if isinstance(it, str) else "",
)
def test_each_thing_has_its_time(
    worker: Worker, clock: Passing, monkeypatch: pytest.MonkeyPatch, owner: str, method: str,
    moments: list[float], expected: list[float],
) -> None:  # fmt: skip
    done: list[float] = []
    real = getattr(getattr(worker, owner), method)
    monkeypatch.setattr(getattr(worker, owner), method, lambda *given: (done.append(clock.passed), real(*given))[1])
    _turns(worker, clock, *moments)
    assert done == expected


def test_the_whole_ledger_is_checked_at_once_and_each_hour(
    worker: Worker, clock: Passing, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[float] = []
    check = Ledger.check

    def note(ledger: Ledger, *, whole: bool = False) -> None:
        if whole:
            done.append(clock.passed)
        check(ledger, whole=whole)

    monkeypatch.setattr(Ledger, "check", note)
    _turns(worker, clock, 0.0, 3599.5, 3600.0, 7199.5, 7200.0)
    assert done == [0.0, 3600.0, 7200.0]


def test_files_and_ledger_are_compared_until_they_agree(
    worker: Worker, clock: Passing, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[float] = []
    real = worker._intake.reconcile

    def refuse(ledger: Ledger) -> int:
        compared.append(clock.passed)
        if len(compared) < 3:
            raise StorageError("the folder cannot be listed")
        return real(ledger)

    monkeypatch.setattr(worker._intake, "reconcile", refuse)
    _turns(worker, clock, 0.0, 0.0, 0.0, 0.0)
    assert len(compared) == 3


def test_what_is_found_missing_is_claimed_at_once(
    bench: Bench, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker._intake, "reconcile", lambda ledger: 0)
    worker._wake.clear()
    worker._turn()
    assert not worker._wake.is_set()
    monkeypatch.setattr(worker._intake, "reconcile", lambda ledger: 1)
    monkeypatch.setattr(worker._intake, "agrees", lambda ledger: False)
    worker._turn()
    assert worker._wake.is_set()


def test_nothing_is_begun_before_there_is_a_sign_of_life(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    begin = worker._presence.begin

    def refuse() -> None:
        raise StorageError("the folder cannot be made")

    monkeypatch.setattr(worker._decisions, "begin", lambda: done.append("begun"))
    with monkeypatch.context() as broken:
        broken.setattr(worker._presence, "begin", refuse)
        worker._turn()
    assert done == []
    monkeypatch.setattr(worker._presence, "begin", lambda: (done.append("shown"), begin())[1])
    worker._turn()
    assert done == ["shown", "begun"]


def test_files_of_finished_jobs_are_swept(bench: Bench, worker: Worker, clock: Passing) -> None:
    bench.complete("a")

    def turned() -> bool:
        clock.passed += 1.0
        worker._turn()
        return bench.jobs()["a"].state is State.PINNED and not bench.spool.opened()

    until(turned)


def test_a_worker_that_is_gone_leaves_its_jobs_to_this_one(
    bench: Bench, worker: Worker, clock: Passing, log: list[str]
) -> None:
    bench.supernode.down()
    bench.complete("a")
    worker._turn()
    until(lambda: not worker._dispatch.awaits(worker._results.waiting))
    clock.passed = 1.0
    worker._turn()
    with closing(bench.ledger()) as ledger, ledger.transaction() as db:
        db.execute("UPDATE job SET owner='gone', lease_until=?", (NOW + 100_000,))
    bench.supernode.up()
    clock.passed = 5.0
    worker._turn()
    assert any("worker gone is gone: its 1 jobs in flight are taken over" in line for line in log)
    with closing(bench.ledger()) as ledger:
        assert "gone" not in ledger.owners()


class TestPausing:
    def test_where_more_files_wait_than_are_taken_in_at_once_nobody_pauses(
        self, bench: Bench, worker: Worker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("encoder_pin_plugin.lazy.worker.POLL", 100.0)
        monkeypatch.setattr("encoder_pin_plugin.lazy.worker.AT_ONCE", 2)
        monkeypatch.setattr("encoder_pin_plugin.lazy.intake.AT_ONCE", 2)
        bench.supernode.down()
        for name in "abc":
            bench.complete(name)
        worker._turn()
        worker._wake.clear()
        worker._pause()  # does not wait for a hundred seconds
        worker._turn()
        assert worker._more is False

    def test_a_pause_ends_when_the_next_job_is_due(
        self, bench: Bench, worker: Worker, clock: Passing, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        waited: list[float] = []
        monkeypatch.setattr("encoder_pin_plugin.lazy.worker.POLL", 2.0)
        monkeypatch.setattr(worker._wake, "wait", waited.append)
        bench.complete("a")
        monkeypatch.setattr(worker._dispatch, "claim", lambda ledger: None)
        worker._turn()
        for seconds in (0.25, 3.0):
            with closing(bench.ledger()) as ledger, ledger.transaction() as db:
                db.execute("UPDATE job SET next_at=?", (NOW + seconds * 1000,))
            worker._wake.set()
            worker._pause()
            assert not worker._wake.is_set()
        with closing(bench.ledger()) as ledger, ledger.transaction() as db:
            db.execute("UPDATE job SET closed_at=1, state='pinned'")
        worker._pause()
        worker._ledger.close()
        worker._pause()
        assert waited == [0.25, 2.0, 2.0, 2.0]

    def test_a_ledger_that_cannot_be_read_is_looked_at_again_soon(
        self, worker: Worker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        waited: list[float] = []
        monkeypatch.setattr(worker._wake, "wait", waited.append)
        for error in (LedgerError("busy"), sqlite3.DatabaseError("damaged")):

            def refuse(now: int, error: Exception = error) -> None:
                raise error

            worker._turn()
            assert worker._ledger.current is not None
            monkeypatch.setattr(worker._ledger.current, "next_due", refuse)
            worker._pause()
        assert waited == [0.01, 0.01]

    def test_results_gather_while_more_are_to_come(self, worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
        waited: list[float] = []
        monkeypatch.setattr(worker._stop, "wait", waited.append)
        worker._pause()
        assert waited == []
        monkeypatch.setattr(worker._dispatch, "awaits", lambda posted: posted == 0)
        monkeypatch.setattr("encoder_pin_plugin.lazy.worker.GATHER", 0.125)
        worker._pause()
        assert waited == [0.125]
