"""What must not end a worker, wedge it, or make it forget what is in flight."""

from __future__ import annotations

import json
import threading
import time
from datetime import UTC, datetime

import pytest

from encoder_hookspecs.events import CompletedJob, GiveUp, Reason, RetryIn
from encoder_hookspecs.specs import hookimpl
from encoder_pin_plugin.errors import NodeError, StorageError
from encoder_pin_plugin.lazy.intake import Intake
from encoder_pin_plugin.lazy.pins import State, to_moment, to_ms
from encoder_pin_plugin.lazy.pool import Pool
from encoder_pin_plugin.lazy.spool import Spool
from tests.cids import cid_of
from tests.conftest import until


@pytest.fixture
def no_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Intake._read, "__defaults__", (0.0,))


def test_a_useless_file_with_the_longest_name_is_set_aside_too(bench, no_grace) -> None:
    bench.spool.create()
    (bench.spool.new / ("n" * 255)).write_text("no job")
    job = bench.complete("good")
    bench.drain()
    assert job.cid in bench.supernode.pins
    assert [path.read_text() for path in bench.spool.rejects()] == ["no job"]


def test_a_rejected_file_is_listed_whatever_its_name(bench, no_grace) -> None:
    bench.spool.create()
    (bench.spool.new / "x.why").write_text("no job")
    bench.drain()
    (path,) = bench.spool.rejects()
    assert "not JSON" in bench.spool.why(path)


def test_a_file_that_cannot_be_set_aside_holds_up_no_other_and_no_drain(bench, no_grace, monkeypatch) -> None:
    def refuse(self: Spool, path: object, why: str) -> None:
        raise StorageError(f"cannot set aside the job file {path}: busy")

    monkeypatch.setattr(Spool, "reject", refuse)
    bench.spool.create()
    (bench.spool.new / "bad").write_text("no job")
    job = bench.complete("good")
    assert bench.drain() == 1, "the file that nobody could read is left"
    assert job.cid in bench.supernode.pins


def test_words_that_no_database_takes_cost_nothing_but_the_words(bench) -> None:
    def fail(call: str, cid: str) -> None:
        raise NodeError("it said \ud800 and \0", Reason.NODE_ERROR)

    bench.supernode.fail = fail
    bench.complete("a")
    assert bench.drain() == 0
    assert bench.lines() == ["a"]


def test_the_last_moment_of_all_is_a_moment_too(bench) -> None:
    bench.spool.create()
    fields = {"cid": cid_of("a"), "job_id": "a", "completed_at": "9999-12-31T23:59:59.999999+00:00"}
    (bench.spool.new / "a").write_text(json.dumps(fields))
    assert bench.drain() == 0
    assert bench.jobs()["a"].state is State.PINNED
    first = datetime(1, 1, 1, tzinfo=UTC)
    assert to_moment(to_ms(first)) == first


def test_a_failing_default_decision_is_a_retry(bench, monkeypatch) -> None:
    answers = iter([RuntimeError("a bug")])

    def decide(*_: object) -> RetryIn | GiveUp:
        for error in answers:
            raise error
        return GiveUp()

    monkeypatch.setattr("encoder_pin_plugin.lazy.retry.decide", decide)
    bench.complete("a")
    bench.supernode.down()
    assert bench.drain() == 0
    assert bench.lines() == ["a"]


def test_a_node_that_leaves_out_an_answer_has_not_answered(bench) -> None:
    real, asked = bench.supernode.pinned, []

    def pinned(cids, **options):
        asked.append(cids)
        return {} if len(asked) == 2 else real(cids, **options)

    bench.supernode.pinned = pinned
    bench.complete("a")
    assert bench.drain() == 0
    assert bench.jobs()["a"].state is State.PINNED


class _NoThreads:
    """Threads that cannot be started for a while, as at a limit of processes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, prefix: str) -> None:
        real, self.on = threading.Thread.start, True

        def start(thread: threading.Thread) -> None:
            if self.on and thread.name.startswith(prefix):
                raise RuntimeError("can't start new thread")
            real(thread)

        monkeypatch.setattr(threading.Thread, "start", start)


@pytest.mark.parametrize("prefix", ["lazy-pin-prover", "lazy-pin", "local-fallback"])
def test_a_worker_outlives_a_lack_of_threads(bench, running, monkeypatch, prefix: str) -> None:
    if prefix == "local-fallback":
        bench.supernode.down(Reason.NODE_ERROR)
    monkeypatch.setattr("encoder_pin_plugin.lazy.dispatch.LEASE", 1000)
    lack = _NoThreads(monkeypatch, prefix)
    bench.complete("a")
    thread = running(bench.worker())
    time.sleep(1.5)
    assert thread.is_alive()
    lack.on = False
    until(lambda: bench.jobs()["a"].closed_at)


def test_a_pool_that_could_start_no_thread_starts_one_later(monkeypatch) -> None:
    lack, pool, done = _NoThreads(monkeypatch, "p"), Pool("p", 1), threading.Event()
    with pytest.raises(RuntimeError):
        pool.submit(done.set)
    lack.on = False
    pool.submit(done.set)
    assert done.wait(5)
    pool.close()


def test_a_closed_pool_begins_nothing_more() -> None:
    pool, begun, go, more = Pool("p", 1), threading.Event(), threading.Event(), []

    def first() -> None:
        begun.set()
        go.wait(5)

    pool.submit(first)
    pool.submit(lambda: more.append(1))
    assert begun.wait(5)
    pool.close()
    go.set()
    time.sleep(0.3)
    assert more == []


def test_a_folder_that_cannot_be_made_is_said_and_tried_again(bench, running) -> None:
    workers = bench.settings.data_dir / "workers"
    workers.parent.mkdir(parents=True)
    workers.write_text("in the way")
    job = bench.complete("a")
    thread = running(bench.worker())
    time.sleep(0.5)
    assert thread.is_alive()
    workers.unlink()
    until(lambda: job.cid in bench.supernode.pins)


def test_a_ledger_in_a_place_that_cannot_be_written_is_tried_again(bench, running, monkeypatch) -> None:
    broken = [OSError(28, "No space left on device")]

    def create(path: object) -> None:
        for error in broken:
            raise error

    monkeypatch.setattr("encoder_pin_plugin.lazy.schema._create_private", create)
    job = bench.complete("a")
    thread = running(bench.worker())
    time.sleep(0.5)
    assert thread.is_alive()
    broken.clear()
    until(lambda: job.cid in bench.supernode.pins)


def test_an_outage_that_ends_with_a_failure_of_another_kind_ends_its_alarm(make_bench, running) -> None:
    bench = make_bench(local_fallback_threshold=1000)
    bench.supernode.down()
    for number in range(8):
        bench.complete(f"job-{number}")
    worker = bench.worker()
    worker._breaker.first = 0.2
    running(worker)
    until(lambda: worker._alarms.lasting() == ["supernode"])
    bench.supernode.down(Reason.CONTENT_MISSING)
    until(lambda: worker._alarms.lasting() == [])


def test_an_outage_is_said_again_each_hour(make_bench, running, monkeypatch) -> None:
    monkeypatch.setattr("encoder_pin_plugin.alarms.REPEAT", 0.0)
    bench = make_bench(local_fallback_threshold=1000)
    bench.supernode.down()
    for number in range(8):
        bench.complete(f"job-{number}")
    worker = bench.worker()
    worker._breaker.first = worker._breaker.longest = 0.2
    said: list[str] = []
    real = worker._alarms.begin
    monkeypatch.setattr(worker._alarms, "begin", lambda name, text: (said.append(name), real(name, text)))
    running(worker)
    until(lambda: said.count("supernode") >= 3)


def left_by_a_drain(bench, seconds: float) -> list[int]:
    """How many jobs it leaves; nothing where it has not ended within so long."""
    left: list[int] = []
    thread = threading.Thread(target=lambda: left.append(bench.drain()), daemon=True)
    thread.start()
    thread.join(seconds)
    return left


@pytest.mark.parametrize("supernode", [True, False])
def test_draining_ends_where_nothing_may_fall_back(make_bench, supernode: bool) -> None:
    bench = make_bench(enable_local_fallback=False)
    if supernode:
        bench.supernode.down()
    else:
        bench.supernode = None
    for number in range(20):
        bench.complete(f"job-{number}")
    assert left_by_a_drain(bench, seconds=20) == [20]


def test_draining_ends_although_failed_fallbacks_are_always_under_way(make_bench) -> None:
    bench = make_bench(local_fallback_threshold=1, lazy_pin_backoff="1")
    bench.supernode.down(Reason.NODE_ERROR)

    def fail(call: str, cid: str) -> None:
        time.sleep(0.4)
        raise NodeError("no", Reason.NODE_ERROR)

    bench.local.fail = fail
    for number in range(40):
        bench.complete(f"job-{number}")
    assert left_by_a_drain(bench, seconds=30) == [40]


def test_observers_hear_of_a_pin_before_it_is_written_down(bench) -> None:
    class Observer:
        seen: tuple[State, ...] = ()

        @hookimpl
        def on_lazy_pin_succeeded(self, pin):
            self.seen += (bench.jobs()[pin.job.job_id].state,)

    observer = Observer()
    bench.manager.register(observer, "site")
    bench.complete("a")
    assert bench.drain() == 0
    assert observer.seen == (State.PENDING,), "killed now, it would be told again"


def test_a_slow_observer_keeps_nobody_from_holding(make_bench, running) -> None:
    class Slow:
        @hookimpl
        def on_lazy_pin_succeeded(self, pin):
            time.sleep(3)

    bench = make_bench(plugin_timeout=10)
    bench.manager.register(Slow(), "slow")
    for number in range(20):
        bench.complete(f"job-{number}")
    running(bench.worker())
    until(lambda: len(bench.supernode.pins) == 20)
    bench.supernode.down()
    late = bench.complete("late")
    until(lambda: late.cid in bench.local.pins, 2.5)


def test_a_worker_whose_sign_of_life_was_deleted_gives_another(bench, running) -> None:
    running(bench.worker())
    folder = bench.settings.data_dir / "workers"
    until(lambda: folder.is_dir() and list(folder.iterdir()))
    for path in folder.iterdir():
        path.unlink()
    until(lambda: list(folder.iterdir()))


def test_reconciling_beside_a_worker_that_finishes_a_job_is_harmless(bench, monkeypatch) -> None:
    from encoder_pin_plugin.alarms import Alarms
    from encoder_pin_plugin.clock import EvenClock, SystemClock

    bench.complete("a")
    bench.supernode.down()
    bench.local.down()
    bench.drain()
    bench.supernode.up()
    ledger = bench.ledger()
    seen = ledger.nonces()
    monkeypatch.setattr(ledger, "nonces", lambda: seen)
    bench.local.up()
    until(lambda: bench.drain() == 0)
    clock = EvenClock(SystemClock())
    Intake(bench.spool, Alarms(clock), clock).reconcile(ledger)
    ledger.close()
    assert bench.spool.opened() == []


def test_a_stray_file_in_tmp_holds_up_nobody(bench, monkeypatch) -> None:
    import os

    def refuse(self: Spool, path: object) -> None:
        raise StorageError("no")

    monkeypatch.setattr(Spool, "_recover", refuse)
    bench.spool.create()
    (bench.spool.tmp / "old").write_text("x")
    os.utime(bench.spool.tmp / "old", (1, 1))
    job = bench.complete("a")
    assert bench.drain() == 0
    assert job.cid in bench.supernode.pins


def test_a_job_completed_in_any_state_of_oddness_can_be_read_again(bench) -> None:
    odd = "🎬" * 5000
    job = CompletedJob(cid=cid_of("a"), job_id=odd, size_mb=odd, type=odd, completed_at=odd, node_id=odd)
    bench.manager.hook.on_job_complete(job=job)
    assert bench.drain() == 0
    assert job.cid in bench.supernode.pins
