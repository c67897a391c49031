"""Threads, time limits, interrupts and forks: a plugin that does not come back, or comes back twice, stops nobody."""

from __future__ import annotations

import contextvars
import os
import subprocess
import sys
import threading
import time

import pytest

from encoder_hookspecs.calling import MAX_LATE_CALLS, implementers
from encoder_hookspecs.testing import a_failure, a_local_pin
from tests.hookspecs.asking import LIMIT, SHORT, Asked, Asking, default, manager_of, raising, site_pin


def test_a_hanging_plugin_is_left_behind_and_its_late_answer_dropped():
    go, came_back = threading.Event(), threading.Event()

    def hang(failure):
        go.wait(LIMIT)
        came_back.set()
        return site_pin(failure)

    asking = Asking(manager_of(pin=default(), site=Asked(hang)))
    assert asking(limit=SHORT).plugin == "pin"
    assert asking.reports[0].what == f"did not return within {SHORT} s"
    go.set()
    assert came_back.wait(LIMIT)
    assert asking().plugin == "site"  # once it answers in time it is asked as before


def test_a_plugin_that_hangs_every_time_is_not_given_one_thread_after_the_other():
    go = threading.Event()
    asking = Asking(manager_of(pin=default(), site=Asked(lambda _: go.wait(60) and None)))
    for _ in range(MAX_LATE_CALLS):
        asking(limit=0.01)
    begin = threading.active_count()
    assert asking(limit=LIMIT).plugin == "pin"
    assert asking.reports[-1].what == f"was not called: {MAX_LATE_CALLS} earlier calls have not returned"
    assert threading.active_count() == begin
    go.set()


def test_where_the_system_gives_no_thread_the_default_still_answers(monkeypatch):
    def start(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    asking = Asking(manager_of(pin=default(), site=Asked(site_pin)))
    assert asking().plugin == "pin"
    assert asking.reports[0].what == "was not called: can't start new thread"


def test_hooks_are_called_while_the_interpreter_shuts_down():
    script = """
import atexit, pluggy
from encoder_hookspecs import *
from encoder_hookspecs.testing import a_failure, a_local_pin
class Site:
    @hookimpl
    def on_lazy_pin_failed(self, failure): return None
class Pin:
    @hookimpl
    def on_lazy_pin_failed(self, failure): return a_local_pin(node="default")
manager = pluggy.PluginManager(PROJECT)
manager.add_hookspecs(EncoderSpecs)
manager.register(Site(), "site"), manager.register(Pin(), "pin")
def late():
    answer = ask_plugins(manager, "on_lazy_pin_failed", expect=LocalPin, limit=5, report=print, failure=a_failure())
    print("answered by", answer.plugin)
atexit.register(late)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "answered by pin"


def test_plugins_run_in_named_daemon_threads_the_default_in_the_callers():
    seen = {}

    def note(name):
        return lambda _: seen.update({name: threading.current_thread()})

    Asking(manager_of(site=Asked(note("site")), pin=Asked(note("pin"))))()
    assert seen["site"].name == "site.on_lazy_pin_failed"
    assert seen["site"].daemon
    assert seen["pin"] is threading.current_thread()


def test_plugins_see_the_callers_context_and_cannot_change_it():
    request = contextvars.ContextVar("request", default="none")
    request.set("job-123")
    seen = []
    Asking(manager_of(site=Asked(lambda _: seen.append(request.get()) or (request.set("theirs") and None))))()
    assert (seen, request.get()) == (["job-123"], "job-123")


def test_in_the_callers_thread_an_interrupt_is_the_callers():
    (site,) = implementers(manager_of(site=Asked(raising(KeyboardInterrupt()))), "on_lazy_pin_failed")
    with pytest.raises(KeyboardInterrupt):
        site.try_here({"failure": a_failure()})
    (site,) = implementers(manager_of(site=Asked(raising(SystemExit(1)))), "on_lazy_pin_failed")
    assert site.try_here({"failure": a_failure()}).what == "called sys.exit(1)"


def test_many_threads_ask_at_once():
    def slow(failure):
        time.sleep(0.01)
        return a_local_pin(cid=failure.job.cid, node="site")

    asking = Asking(manager_of(pin=default(), site=Asked(slow)))
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(asking().plugin)) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == ["site"] * 16


FORKING = """
import os, sys
from encoder_hookspecs import *
from encoder_hookspecs.testing import *

class Forks:
    @hookimpl
    def on_job_complete(self, job):
        os.fork()
    @hookimpl
    def on_lazy_pin_failed(self, failure):
        os.fork()
    @hookimpl
    def on_local_fallback(self, fallback):
        if os.fork() == 0:
            raise KeyboardInterrupt

host = RecordingHost(Forks())
host.on_job_complete(a_job())
host.on_lazy_pin_failed(a_failure())
host.on_local_fallback(a_fallback())
print("the host goes on", flush=True)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_plugin_that_forks_does_not_double_the_host():
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKING], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "the host goes on\n"
