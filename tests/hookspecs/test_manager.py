"""The host's side: a job is recorded first, everybody hears of it, and nothing a plugin does reaches the host."""

from __future__ import annotations

import logging
import threading
import time

import pluggy
import pytest

from encoder_hookspecs import (
    ArchiveReceipt,
    EncoderManager,
    GiveUp,
    JobNotRecorded,
    LocalPin,
    RetryIn,
    hookimpl,
)
from encoder_hookspecs.testing import (
    RecordingHost,
    a_failure,
    a_fallback,
    a_job,
    a_migration,
    a_success,
    an_attempt,
)


class Completes:
    """A plugin that does `act` when a job is complete."""

    def __init__(self, act):
        self._act = act

    @hookimpl
    def on_job_complete(self, job):
        return self._act(job)


def raising(error):
    def act(*_, **__):
        raise error

    return act


def complete(job=None, *, recorder=None, **plugins):
    """What the host sees when a job completes: the error or None, and the reports."""
    reports = []
    manager = EncoderManager(environ={}, report=reports.append)
    for name, plugin in (plugins | ({"pin": recorder} if recorder else {})).items():
        manager.register(plugin, name)
    try:
        manager.on_job_complete(job or a_job())
    except JobNotRecorded as error:
        return error, reports
    return None, reports


def test_the_recorder_is_called_first_whatever_the_others_say_about_order():
    order = []

    class Pushy:
        @hookimpl(tryfirst=True, wrapper=True)
        def on_job_complete(self, job):
            order.append("pushy")
            return (yield)

    class Recorder:
        @hookimpl(trylast=True)
        def on_job_complete(self, job):
            order.append("recorder")

    error, reports = complete(recorder=Recorder(), pushy=Pushy(), site=Completes(lambda job: order.append("site")))
    assert (error, reports) == (None, [])
    assert order[0] == "recorder"
    assert sorted(order[1:]) == ["pushy", "site"]


def test_what_site_plugins_do_with_a_job_is_reported_and_costs_nobody_anything():
    seen = []
    error, reports = complete(
        recorder=Completes(lambda job: seen.append("pin")),
        a=Completes(raising(ValueError("a"))),
        b=Completes(raising(SystemExit(1))),
        c=Completes(lambda job: seen.append("c")),
    )
    assert error is None
    assert seen == ["pin", "c"]
    assert sorted((it.plugin, it.what) for it in reports) == [
        ("a", "raised ValueError: a"),
        ("b", "called sys.exit(1)"),
    ]


def test_a_job_is_told_in_the_hosts_own_thread():
    threads = []
    complete(
        recorder=Completes(lambda job: None), site=Completes(lambda job: threads.append(threading.current_thread()))
    )
    assert threads == [threading.current_thread()]


def test_an_interrupt_in_a_plugin_is_the_hosts_after_the_job_is_recorded():
    recorded = []
    with pytest.raises(KeyboardInterrupt):
        complete(recorder=Completes(recorded.append), site=Completes(raising(KeyboardInterrupt())))
    assert recorded == [a_job()]


class DiskFull(JobNotRecorded):
    pass


@pytest.mark.parametrize(
    ("recorder", "said"),
    [
        (None, "no plugin named 'pin' is loaded"),
        (Completes(raising(OSError("no space left"))), "plugin 'pin' raised OSError: no space left"),
        (Completes(raising(SystemExit(2))), r"plugin 'pin' called sys.exit\(2\)"),
        (RecordingHost, "plugin 'pin' failed: it is the class RecordingHost"),
        (object(), "plugin 'pin' does not implement on_job_complete"),
    ],
)
def test_a_job_that_nothing_recorded_is_handed_back_after_everybody_heard_of_it(recorder, said):
    heard = []
    error, _ = complete(recorder=recorder, site=Completes(heard.append))
    assert heard == [a_job()]
    with pytest.raises(JobNotRecorded, match=said):
        raise error
    assert str(error).startswith(f"job job-123 ({a_job().cid}) is not recorded: ")
    assert str(error).endswith("Keep it, and submit it again")


def test_the_recorders_own_refusal_is_the_very_one_that_the_host_gets():
    refusal, heard = DiskFull("disk full: /data"), []
    error, reports = complete(recorder=Completes(raising(refusal)), site=Completes(heard.append))
    assert error is refusal
    assert heard == [a_job()]
    assert reports == []


def test_another_error_of_the_recorder_is_the_cause():
    error, _ = complete(recorder=Completes(raising(OSError("x"))))
    assert isinstance(error.__cause__, OSError)


def test_a_recorder_as_a_wrapper_records_though_it_comes_back_late():
    recorded = []

    class Recorder:
        @hookimpl(wrapper=True, tryfirst=True)
        def on_job_complete(self, job):
            recorded.append(job)
            return (yield)

    error, reports = complete(recorder=Recorder(), site=Completes(raising(ValueError("x"))))
    assert error is None
    assert recorded == [a_job()]
    assert [it.plugin for it in reports] == ["site"]


def test_an_async_recorder_that_slipped_past_the_checks_records_nothing_and_says_so():
    class Async:
        @hookimpl
        async def on_job_complete(self, job): ...

    manager = EncoderManager(environ={})
    manager.pluggy.register(Async(), "pin")
    with pytest.raises(JobNotRecorded, match="returned a coroutine: hooks are called, never awaited"):
        manager.on_job_complete(a_job())


def test_another_plugin_may_be_the_recorder():
    manager = EncoderManager(environ={}, recorder="store", report=lambda failure: None)
    manager.register(Completes(raising(ValueError("x"))), "pin")
    manager.register(Completes(lambda job: None), "store")
    manager.on_job_complete(a_job())


def test_a_plugin_cannot_change_the_hosts_job():
    def mutate(job):
        object.__setattr__(job, "cid", "other")

    job = a_job()
    complete(job, recorder=Completes(mutate), site=Completes(mutate))
    assert job == a_job()


class Life:
    """Notes start and stop, and does `act` first."""

    def __init__(self, act=lambda: None):
        self.seen, self._act = [], act

    @hookimpl
    def on_encoder_start(self, manager):
        self._act()
        self.seen.append(manager)

    @hookimpl
    def on_encoder_stop(self, timeout):
        self._act()
        self.seen.append(timeout)


def test_everybody_hears_of_start_and_stop_whatever_the_others_do():
    reports, pin, site = [], Life(), Life()
    manager = EncoderManager(environ={}, report=reports.append, plugin_timeout=0.3)
    for name, plugin in {"pin": pin, "a": Life(raising(ValueError("a"))), "site": site}.items():
        manager.register(plugin, name)
    manager.on_encoder_start()
    manager.on_encoder_stop(timeout=10)
    assert pin.seen[0] is site.seen[0] is manager.pluggy
    assert 0 < site.seen[1] <= pin.seen[1] <= 10
    assert [(it.plugin, it.hook) for it in reports] == [("a", "on_encoder_start"), ("a", "on_encoder_stop")]


def test_what_hangs_at_stop_is_left_behind_and_the_recorder_had_its_time():
    go, reports, pin = threading.Event(), [], Life()
    manager = EncoderManager(environ={}, report=reports.append)
    manager.register(Life(lambda: go.wait(60)), "hangs")
    manager.register(pin, "pin")
    begin = time.monotonic()
    manager.on_encoder_stop(timeout=0.2)
    assert time.monotonic() - begin < 20
    go.set()
    assert [it.plugin for it in reports] == ["hangs"]
    assert 0 <= pin.seen[0] <= 0.2


def test_a_default_that_cannot_start_is_reported_and_the_host_goes_on():
    reports = []
    manager = EncoderManager(environ={}, report=reports.append)
    manager.register(Life(raising(ValueError("bad setting"))), "pin")
    manager.on_encoder_start()
    assert [it.what for it in reports] == ["raised ValueError: bad setting"]


def test_each_question_has_a_typed_method():
    host = RecordingHost()
    assert host.on_lazy_pin_attempt_failed(an_attempt(number=1)) == RetryIn(seconds=60)
    assert host.on_lazy_pin_attempt_failed(an_attempt(number=3)) == GiveUp()
    assert isinstance(host.on_lazy_pin_failed(a_failure()), LocalPin)
    assert isinstance(host.on_local_fallback(a_fallback()), ArchiveReceipt)
    host.on_lazy_pin_succeeded(a_success())
    host.on_migrated(a_migration())
    assert host.failures == []


def test_a_question_that_nobody_answers_is_none_even_where_the_default_raises():
    class Failing:
        @hookimpl
        def on_lazy_pin_failed(self, failure):
            raise OSError("node down")

    reports = []
    manager = EncoderManager(environ={}, report=reports.append)
    assert manager.on_lazy_pin_failed(a_failure()) is None
    manager.register(Failing(), "pin")
    assert manager.on_lazy_pin_failed(a_failure()) is None
    assert [(it.plugin, it.what) for it in reports] == [("pin", "raised OSError: node down")]


def test_failures_go_to_the_standard_log_by_default(caplog):
    manager = EncoderManager(environ={})
    manager.register(Completes(lambda job: None), "pin")
    manager.register(Completes(raising(ValueError("100% {odd}"))), "site")
    with caplog.at_level(logging.WARNING, "encoder_hookspecs"):
        manager.on_job_complete(a_job())
    (record,) = caplog.records
    assert record.getMessage().startswith("plugin 'site', on_job_complete: raised ValueError: 100% {odd} (after ")
    assert record.exc_info[0] is ValueError


def test_a_report_that_fails_stops_nothing(caplog):
    heard = []
    manager = EncoderManager(environ={}, report=raising(RuntimeError("no log")))
    manager.register(Completes(lambda job: None), "pin")
    manager.register(Completes(heard.append), "site")
    manager.register(Completes(raising(ValueError("x"))), "broken")
    manager.on_job_complete(a_job())
    assert heard == [a_job()]
    assert "could not report: plugin 'broken'" in caplog.text


def test_the_manager_is_plain_pluggy_underneath():
    manager = EncoderManager(environ={})
    assert type(manager.pluggy) is pluggy.PluginManager
    assert manager.pluggy.project_name == "encoder"


def test_two_managers_share_nothing():
    one, two = RecordingHost(), RecordingHost()
    one.on_job_complete(a_job())
    assert (len(one.jobs), len(two.jobs)) == (1, 0)
