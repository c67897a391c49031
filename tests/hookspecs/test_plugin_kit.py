"""The kit for plugin authors: what `check_plugin` says of each mistake, and what a recording host remembers."""

from __future__ import annotations

import sys
import threading
import types
from dataclasses import dataclass

import pluggy
import pytest

from encoder_hookspecs import InvalidPlugin, LocalPin, Proof, RetryIn, hookimpl
from encoder_hookspecs.checks import HOOKS
from encoder_hookspecs.testing import RecordingHost, a_failure, a_fallback, a_job, a_local_pin, check_plugin


def plugin_with(hook, function, **marks):
    """An instance whose class has one marked method."""
    return type("Site", (), {hook: hookimpl(**marks)(function)})()


class Good:
    @hookimpl
    def on_job_complete(self, job): ...

    @hookimpl
    def on_lazy_pin_attempt_failed(self):
        return RetryIn(seconds=1)

    @hookimpl
    def on_lazy_pin_failed(self, failure):
        return LocalPin(cid=failure.job.cid, node="mine", proof=Proof.PINNED)

    @hookimpl(wrapper=True)
    def on_local_fallback(self, fallback):
        return (yield)

    @hookimpl(specname="on_migrated", trylast=True)
    def write_down(self, record): ...

    @hookimpl(optionalhook=True)
    def on_something_of_another_host(self, anything): ...

    @hookimpl
    def on_encoder_start(self, manager):
        assert manager.has_plugin("plugin")

    @hookimpl
    def on_encoder_stop(self, timeout):
        assert timeout > 0


def test_a_good_plugin_has_no_faults():
    assert check_plugin(Good()) == []


def test_a_module_can_be_a_plugin():
    module = types.ModuleType("site_hooks")
    module.on_job_complete = hookimpl(lambda job: None)
    assert check_plugin(module) == []


@pytest.mark.parametrize(
    ("plugin", "fault"),
    [
        (Good, "it is the class Good: give an instance, Good()"),
        (None, "it is None: a plugin is a module or an instance"),
        (object(), "it implements no hook: mark a method with @hookimpl"),
        (
            plugin_with("on_lazy_pin_fail", lambda self, failure: None),
            "there is no hook 'on_lazy_pin_fail': did you mean 'on_lazy_pin_failed'?",
        ),
        (
            plugin_with("before_breakfast", lambda self: None),
            f"there is no hook 'before_breakfast'; the hooks are {', '.join(HOOKS)}",
        ),
        (
            plugin_with("on_job_complete", lambda self, cid: None),
            "on_job_complete has no parameter 'cid': it offers job",
        ),
        (
            plugin_with("on_job_complete", lambda job: None),
            "on_job_complete lacks self: def on_job_complete(self, job)",
        ),
        (
            plugin_with("on_job_complete", lambda self, *, job: None),
            "on_job_complete takes 'job' by keyword only: drop the * before it",
        ),
        (
            plugin_with("on_job_complete", lambda self, job=None: None),
            "on_job_complete gives 'job' a default: a hook's arguments are always given",
        ),
        (
            plugin_with("on_local_fallback", lambda self, fallback: "yes"),
            "on_local_fallback returned str, not ArchiveReceipt",
        ),
        (
            plugin_with("on_lazy_pin_attempt_failed", lambda self: 60),
            "on_lazy_pin_attempt_failed returned int, not RetryIn or GiveUp",
        ),
        (
            plugin_with("on_lazy_pin_attempt_failed", lambda self: RetryIn(seconds=float("nan"))),
            "on_lazy_pin_attempt_failed returned RetryIn(seconds=nan): seconds is a number, and not negative",
        ),
        (
            plugin_with("on_lazy_pin_attempt_failed", lambda self: RetryIn(seconds="60")),
            "on_lazy_pin_attempt_failed returned RetryIn(seconds='60'): seconds is a number, and not negative",
        ),
        (
            plugin_with("on_lazy_pin_failed", lambda self: a_local_pin(cid="b" * 59)),
            f"on_lazy_pin_failed returned a LocalPin of another CID than the job's: {'b' * 59}",
        ),
        (plugin_with("on_migrated", lambda self: True), "on_migrated returned bool: nobody reads it"),
        (plugin_with("on_migrated", lambda self: 1 / 0), "on_migrated raised ZeroDivisionError: division by zero"),
        (plugin_with("on_migrated", lambda self: sys.exit(1)), "on_migrated called sys.exit(1)"),
        (
            plugin_with("on_migrated", lambda self: None, wrapper=True),
            "on_migrated is marked as a wrapper and does not yield",
        ),
    ],
)
def test_a_mistake_is_told_in_words(plugin, fault):
    assert check_plugin(plugin) == [fault]


YIELDS = "on_job_complete yields, so its body would never run: return instead, or mark it @hookimpl(wrapper=True)"


class Async:
    @hookimpl
    async def on_job_complete(self, job): ...

    @hookimpl
    async def on_migrated(self, record):
        yield record


class Yields:
    @hookimpl
    def on_job_complete(self, job):
        yield

    @hookimpl(wrapper=True, hookwrapper=True)
    def on_migrated(self, record):
        yield


class Unmarked:
    def on_job_complete(self, job): ...

    @pluggy.HookimplMarker("another_project")
    def on_migrated(self, record): ...


@dataclass
class NoHash:
    @hookimpl
    def on_job_complete(self, job): ...


@pytest.mark.parametrize(
    ("plugin", "faults"),
    [
        (
            Async(),
            [
                "on_job_complete is async: hooks are called, never awaited",
                "on_migrated is async: hooks are called, never awaited",
            ],
        ),
        (
            Yields(),
            [
                YIELDS,
                "on_migrated is marked both wrapper=True and hookwrapper=True: keep wrapper=True",
            ],
        ),
        (
            Unmarked(),
            [
                "on_job_complete is not marked: put encoder_hookspecs' @hookimpl above it",
                "on_migrated is not marked: put encoder_hookspecs' @hookimpl above it",
            ],
        ),
        (NoHash(), ["NoHash has no hash: a dataclass needs eq=False, or frozen=True"]),
    ],
    ids=["async", "yields", "unmarked", "no hash"],
)
def test_several_mistakes_are_all_told(plugin, faults):
    assert check_plugin(plugin) == faults


def test_a_hook_that_hangs_is_told_within_the_limit():
    go = threading.Event()
    plugin = plugin_with("on_migrated", lambda self: go.wait(60) and None)
    assert check_plugin(plugin, limit=0.2) == ["on_migrated did not return within 0.2 s"]
    go.set()


def test_a_plugin_that_must_not_be_called_is_only_looked_at():
    called = []
    plugin = plugin_with("on_job_complete", lambda self, job: called.append(job) or "x")
    assert check_plugin(plugin, call=False) == []
    assert called == []


def test_a_host_remembers_calls_failures_jobs_and_fallbacks():
    host = RecordingHost(Good(), plugin_with("on_job_complete", lambda self, job: 1 / 0))
    host.on_job_complete(a_job(job_id="job-7"))
    host.on_local_fallback(a_fallback())
    assert [job.job_id for job in host.jobs] == ["job-7"]
    assert host.archived == [a_fallback()]
    assert [(it.plugin, it.hook) for it in host.failures] == [("Site", "on_job_complete")]
    assert [(it.plugin, it.hook, type(it.error)) for it in host.calls if it.hook == "on_job_complete"] == [
        ("pin", "on_job_complete", type(None)),
        ("Site", "on_job_complete", ZeroDivisionError),
        ("Good", "on_job_complete", type(None)),
    ]
    assert host.calls[-1].arguments["fallback"] == a_fallback()
    assert host.calls[-1].result.path == "local-fallback-pins.jsonl"


def test_a_host_stands_for_the_real_one_in_who_answers():
    assert RecordingHost(Good()).on_lazy_pin_failed(a_failure()).node == "mine"
    assert RecordingHost().on_lazy_pin_failed(a_failure()).node == "/ip4/127.0.0.1/tcp/5001"


def test_a_faulty_plugin_is_refused_at_once():
    with pytest.raises(InvalidPlugin, match="plugin 'Async' cannot be used: on_job_complete is async"):
        RecordingHost(Async())


def test_the_environment_does_not_reach_into_an_authors_tests(monkeypatch):
    monkeypatch.setenv("ENCODER_BLOCK_PLUGINS", "Good,pin")
    assert [it.status for it in RecordingHost(Good()).plugins()] == ["active", "active"]
