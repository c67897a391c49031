"""A worker begins with what its ledger knows, however many files there are to compare it with; what could take
something away waits until they were compared."""

from __future__ import annotations

import threading
import time

from encoder_pin_plugin.errors import StorageError
from encoder_pin_plugin.lazy.intake import Intake
from encoder_pin_plugin.lazy.worker import LEDGER_NAME
from tests.conftest import until


def _with_open_job(bench):
    bench.supernode.down()
    bench.local.down()
    job = bench.complete("a")
    assert bench.drain() == 1
    bench.supernode.up()
    bench.local.up()
    return job


def _refusing(monkeypatch, times: int, seen=lambda: None) -> list:
    """Let files and ledger be comparable only after so many times; what was seen each time."""
    tried, reconcile = [], Intake.reconcile

    def refuse(*given: object) -> int:
        tried.append(seen())
        if len(tried) <= times:
            raise StorageError("the folder cannot be listed")
        return reconcile(*given)

    monkeypatch.setattr(Intake, "reconcile", refuse)
    return tried


def test_a_job_is_begun_before_files_and_ledger_are_compared(bench, running, monkeypatch) -> None:
    job = _with_open_job(bench)
    time.sleep(0.5)  # until it is due
    compare, reconcile = threading.Event(), Intake.reconcile
    monkeypatch.setattr(Intake, "reconcile", lambda *given: compare.wait(60) and reconcile(*given))
    running(bench.worker())
    try:
        until(lambda: job.cid in bench.local.pins)
        assert len(bench.spool.opened()) == 1
    finally:
        compare.set()
    until(lambda: not bench.spool.opened())


def test_nothing_is_unpinned_before_they_were_compared(bench, running, monkeypatch) -> None:
    monkeypatch.setattr("encoder_pin_plugin.lazy.dispatch.RELEASE_GAP", 0)
    monkeypatch.setattr("encoder_pin_plugin.lazy.dispatch.RELEASE_AGAIN", 100)
    job = bench.complete("a")
    assert bench.drain() == 0
    bench.local.pins[job.cid] = "encoder-pin"
    ledger = bench.ledger()
    ledger.set_hold({bench.jobs()["a"].key: "ours"}, 0)
    ledger.close()
    tried = _refusing(monkeypatch, 3, lambda: job.cid in bench.local.pins)
    running(bench.worker())
    until(lambda: job.cid not in bench.local.pins)
    assert tried == [True] * 4


def test_a_drain_does_not_end_before_they_were_compared(bench, monkeypatch) -> None:
    _with_open_job(bench)
    (bench.settings.data_dir / LEDGER_NAME).unlink()
    tried = _refusing(monkeypatch, 1)
    assert bench.drain() == 0
    assert len(tried) == 2
    assert bench.jobs()["a"].closed_at
