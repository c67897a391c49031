"""What becomes of a worker whose round fails."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing

import pytest

from encoder_pin_plugin.errors import LedgerError, StorageError
from encoder_pin_plugin.lazy.fallback import SETTLE
from encoder_pin_plugin.lazy.ledger import Ledger
from encoder_pin_plugin.lazy.worker import LEDGER_NAME, Worker
from tests.conftest import until
from tests.lazy.conftest import Bench, Passing

pytestmark = pytest.mark.usefixtures("quick")


class TestTrouble:
    @pytest.mark.parametrize("error", [KeyError("a bug"), LedgerError("busy"), sqlite3.DatabaseError("damaged")])
    def test_nothing_is_tried_again_without_a_pause(
        self, worker: Worker, monkeypatch: pytest.MonkeyPatch, error: Exception
    ) -> None:
        waited: list[float] = []

        def refuse(ledger: Ledger) -> None:
            raise error

        monkeypatch.setattr(worker._stop, "wait", waited.append)
        monkeypatch.setattr(worker._dispatch, "claim", refuse)
        worker._turn()
        assert waited == [0.01]

    def test_a_damaged_ledger_is_set_aside_and_made_anew(self, bench: Bench, worker: Worker, log: list[str]) -> None:
        bench.supernode.down()
        bench.complete("a")
        worker._turn()
        (bench.settings.data_dir / LEDGER_NAME).write_bytes(b"no ledger at all" * 1000)
        for _ in range(3):
            worker._turn()
        assert any("set aside" in line for line in log)
        assert not any("gone or empty" in line for line in log), "said already"
        assert list(bench.jobs()) == ["a"]
        assert worker._alarms.lasting() == []

    def test_a_job_that_stands_nowhere_whole_is_an_alarm(
        self, bench: Bench, worker: Worker, clock: Passing, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bench.supernode.down()
        bench.complete("a")
        worker._turn()
        (file,) = bench.spool.opened()
        with closing(bench.ledger()) as ledger:
            ledger.correct(file.name.partition(".")[2], b"\0")
        file.write_bytes(b"")
        monkeypatch.setattr(Ledger, "select", lambda *_: [])
        clock.passed += 10
        worker._turn()
        assert worker._alarms.lasting() == [f"damaged {file.name}"]

    def test_a_ledger_that_is_only_busy_is_an_alarm(
        self, worker: Worker, monkeypatch: pytest.MonkeyPatch, log: list[str]
    ) -> None:
        busy = sqlite3.OperationalError("database is locked")

        def refuse(*_: object) -> None:
            raise busy

        with monkeypatch.context() as broken:
            broken.setattr(worker._dispatch, "claim", refuse)
            worker._turn()
        assert worker._alarms.lasting() == ["worker"]
        assert any("cannot be used: database is locked" in line for line in log)
        worker._turn()
        assert worker._alarms.lasting() == []

    def test_whatever_fails_is_an_alarm_until_a_round_goes_well(
        self, worker: Worker, monkeypatch: pytest.MonkeyPatch, log: list[str]
    ) -> None:
        with monkeypatch.context() as broken:
            broken.setattr(worker._dispatch, "claim", lambda ledger: {}["a bug"])
            worker._turn()
        assert "tries again: KeyError: 'a bug'" in "".join(log)
        assert worker._alarms.lasting() == ["worker"]
        worker._turn()
        assert worker._alarms.lasting() == []

    def test_a_drain_ends_when_it_cannot_go_on_time_and_again(
        self, bench: Bench, worker: Worker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(ledger: Ledger) -> None:
            raise LedgerError("the disk is full")

        monkeypatch.setattr(worker._dispatch, "claim", refuse)
        with pytest.raises(LedgerError, match="the disk is full"):
            worker.run(drain=True)
        assert worker.wait(0)

    def test_job_files_that_cannot_be_taken_in_are_an_alarm_and_known_jobs_go_on(
        self, bench: Bench, worker: Worker, monkeypatch: pytest.MonkeyPatch, log: list[str]
    ) -> None:
        def refuse(ledger: Ledger) -> None:
            raise StorageError("cannot list the folder")

        claimed: list[Ledger] = []
        with monkeypatch.context() as broken:
            broken.setattr(worker._intake, "take_in", refuse)
            broken.setattr(worker._dispatch, "claim", claimed.append)
            worker._more = True
            worker._turn()
        assert len(claimed) == 1
        assert worker._alarms.lasting() == ["intake"]
        assert "job files cannot be taken in for now: cannot list the folder" in "".join(log)
        assert worker._more is False
        worker._turn()
        assert worker._alarms.lasting() == []
        assert "INFO job files are taken in again\n" in log

    def test_two_damaged_copies_of_a_job_are_made_anew(self, bench: Bench, worker: Worker, clock: Passing) -> None:
        bench.supernode.down()
        bench.complete("a")
        worker._turn()
        (path,) = bench.spool.opened()
        path.write_bytes(b"")
        with closing(bench.ledger()) as ledger, ledger.transaction() as db:
            db.execute("UPDATE submission SET body=x'00'")
        clock.passed = 10.0
        worker._turn()
        assert bench.spool.read(path).job.job_id == "a"


def test_what_cannot_be_pinned_is_safe_in_the_archive(
    make_bench: Callable[..., Bench], leaving: Callable[[Worker], Worker], clock: Passing
) -> None:
    bench = make_bench(local_fallback_threshold=1)
    bench.supernode.down()
    bench.complete("a")
    worker = leaving(bench.worker(clock=clock))

    def archived() -> bool:
        clock.passed += 0.1
        worker._turn()
        return bench.lines() == ["a"]

    until(archived)


def test_a_local_node_elsewhere_is_asked_again(bench: Bench) -> None:
    assert bench.worker()._dispatch._fallbacks._settle == 0.0
    bench.local.on_this_machine = False
    assert bench.worker()._dispatch._fallbacks._settle == SETTLE
    bench.local = None  # type: ignore[assignment]
    assert bench.worker()._dispatch._fallbacks._settle == 0.0
