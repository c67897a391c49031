"""One plugin at a time, on a plain pluggy manager: what each kind of bad plugin does to the others: nothing."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import pluggy
import pytest

from encoder_hookspecs import (
    PROJECT,
    GiveUp,
    LocalPin,
    PluginFailure,
    RetryIn,
    ask_plugins,
    hookimpl,
    tell_plugins,
)
from encoder_hookspecs.testing import a_failure, a_local_pin, a_success, an_attempt
from tests.hookspecs.asking import LIMIT, SHORT, Asked, Asking, default, manager_of, raising, site_pin


@pytest.mark.parametrize("pin_first", [True, False])
def test_the_default_is_asked_last_whatever_the_order_of_registration(pin_first):
    plugins = {"pin": default(), "site": Asked(site_pin)}
    manager = manager_of(**(plugins if pin_first else dict(reversed(plugins.items()))))
    answer = Asking(manager)()
    assert (answer.result.node, answer.plugin) == ("site", "site")


def test_the_default_is_last_even_where_it_wants_to_be_first():
    class Eager:
        @hookimpl(tryfirst=True)
        def on_lazy_pin_failed(self, failure):
            return a_local_pin(node="default")

    assert Asking(manager_of(site=Asked(site_pin), pin=Eager()))().plugin == "site"


def test_none_asks_the_next_and_nobody_is_none():
    assert Asking(manager_of(site=Asked(), pin=default()))().plugin == "pin"
    assert Asking(manager_of(site=Asked(), other=Asked()))() is None
    assert Asking(manager_of())() is None


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        (raising(ValueError("no such node")), "raised ValueError: no such node"),
        (raising(ValueError()), "raised ValueError"),
        (raising(SystemExit(3)), "called sys.exit(3)"),
        (raising(SystemExit("bye")), "called sys.exit(bye)"),
        (raising(SystemExit()), "called sys.exit()"),
        (raising(KeyboardInterrupt()), "raised KeyboardInterrupt"),
        (raising(GeneratorExit()), "raised GeneratorExit"),
        (raising(StopIteration(1)), "raised StopIteration: 1"),
        (lambda _: "QmPinned", "returned str, not LocalPin"),
        (lambda _: False, "returned bool, not LocalPin"),
        (lambda _: LocalPin, "returned type, not LocalPin"),
    ],
)
def test_a_bad_plugin_is_named_and_the_default_answers(answer, what):
    asking = Asking(manager_of(pin=default(), site=Asked(answer)))
    assert asking().plugin == "pin"
    assert [(it.plugin, it.hook, it.what) for it in asking.reports] == [("site", "on_lazy_pin_failed", what)]


def test_a_failure_carries_the_exception_with_its_traceback_and_reads_as_a_sentence():
    asking = Asking(manager_of(site=Asked(raising(ValueError("no")))))
    asking()
    (failure,) = asking.reports
    assert isinstance(failure.error, ValueError)
    assert failure.error.__traceback__ is not None
    assert str(PluginFailure(plugin="site", hook="on_migrated", what="raised OSError", seconds=1.5)) == (
        "plugin 'site', on_migrated: raised OSError (after 1.50 s)"
    )


def test_an_error_that_cannot_be_printed_or_never_ends_is_still_reported():
    class Hostile(Exception):
        def __str__(self):
            raise RuntimeError

    asking = Asking(manager_of(a=Asked(raising(Hostile())), b=Asked(raising(ValueError("x" * 10_000_000)))))
    asking()
    whats = sorted(it.what for it in asking.reports)
    assert whats[0] == "raised Hostile: <RuntimeError in its message>"
    assert len(whats[1]) < 600


def test_what_the_default_raises_is_the_callers():
    asking = Asking(manager_of(pin=Asked(raising(OSError("disk full"))), site=Asked()))
    with pytest.raises(OSError, match="disk full"):
        asking()
    assert asking.reports == []


def test_a_default_that_answers_nonsense_is_no_answer():
    asking = Asking(manager_of(pin=Asked(lambda _: "yes")))
    assert asking() is None
    assert asking.reports[0].what == "returned str, not LocalPin"


def test_an_answer_that_is_not_accepted_is_passed_over():
    doubted = []

    def accept(pin, plugin):
        doubted.append(plugin)
        return plugin == "pin"

    asking = Asking(manager_of(pin=default(), site=Asked(site_pin), other=Asked(site_pin)))
    assert asking(accept=accept).plugin == "pin"
    assert doubted == ["other", "site", "pin"]
    assert asking.reports == []  # whoever does not accept says why


def test_a_wrong_type_is_never_offered_for_acceptance():
    offered = []
    asking = Asking(manager_of(site=Asked(lambda _: 7), pin=default()))
    asking(accept=lambda pin, plugin: bool(offered.append(plugin)) or True)
    assert offered == ["pin"]


def test_one_of_several_types_may_be_expected():
    class Site:
        @hookimpl
        def on_lazy_pin_attempt_failed(self, attempt):
            return "later"

    reports = []
    options = {"expect": (RetryIn, GiveUp), "limit": LIMIT, "report": reports.append, "attempt": an_attempt()}
    assert ask_plugins(manager_of(site=Site()), "on_lazy_pin_attempt_failed", **options) is None
    assert reports[0].what == "returned str, not RetryIn or GiveUp"


def test_what_a_plugin_does_to_its_event_reaches_nobody_else():
    def mutate(failure):
        object.__setattr__(failure.job, "cid", "mine")
        object.__setattr__(failure, "attempts", -1)
        failure.job.raw["size_mb"] = "mine"

    failure = a_failure()
    answer = Asking(manager_of(pin=default(), site=Asked(mutate)), failure)()
    assert answer.result.cid == failure.job.cid == a_failure().job.cid
    assert (failure.attempts, dict(failure.job.raw)) == (3, {})


def test_a_wrapper_wraps_its_own_plugin_only():
    class Wrapping:
        @hookimpl(wrapper=True, tryfirst=True)
        def on_lazy_pin_failed(self, failure):
            inner = yield
            seen.append(inner)
            return inner

    class Breaking:
        @hookimpl(wrapper=True)
        def on_lazy_pin_failed(self, failure):
            yield
            raise ValueError("after")

    seen = []
    asking = Asking(manager_of(wrapping=Wrapping(), breaking=Breaking(), pin=default()))
    assert asking().plugin == "pin"
    assert seen == [None]
    assert [it.what for it in asking.reports] == ["raised ValueError: after"]


def test_a_wrapper_can_answer():
    class Wrapping:
        @hookimpl(wrapper=True)
        def on_lazy_pin_failed(self, failure):
            yield
            return a_local_pin(node="wrapped")

    assert Asking(manager_of(site=Wrapping(), pin=default()))().result.node == "wrapped"


def test_an_async_implementation_is_reported_and_leaves_no_warning():
    class Async:
        @hookimpl
        async def on_lazy_pin_failed(self, failure):
            return a_local_pin()

        @hookimpl
        async def on_lazy_pin_succeeded(self, pin): ...

    manager = manager_of(site=Async(), pin=default())
    asking = Asking(manager)
    assert asking().plugin == "pin"
    tell_plugins(manager, "on_lazy_pin_succeeded", limit=LIMIT, report=asking.reports.append, pin=a_success())
    assert {it.what for it in asking.reports} == {"returned a coroutine: hooks are called, never awaited"}


def test_plugins_without_a_hash_do_not_end_the_asking():
    @dataclass
    class NoHash:
        node: str

        @hookimpl
        def on_lazy_pin_failed(self, failure):
            return a_local_pin(node=self.node)

    asking = Asking(manager_of(pin=default(), hashed=Asked(), unhashed=NoHash("theirs")))
    assert asking().result.node == "theirs"
    asking = Asking(manager_of(pin=default(), unhashed=NoHash("theirs"), hashed=Asked(site_pin)))
    assert asking().result.node == "site"


def test_a_host_that_added_no_specs_gets_answers_all_the_same():
    manager = pluggy.PluginManager(PROJECT)
    manager.register(default(), "pin")
    manager.register(Asked(site_pin), "site")
    assert Asking(manager)().plugin == "site"


def test_the_hosts_own_monitoring_sees_each_call():
    manager, seen = manager_of(pin=default(), site=Asked()), []
    manager.add_hookcall_monitoring(
        before=lambda hook, impls, arguments: seen.append([it.plugin_name for it in impls]),
        after=lambda *_: None,
    )
    Asking(manager)()
    assert seen == [["site"], ["pin"]]


def test_every_plugin_is_told_whatever_the_others_do():
    told, go = [], threading.Event()
    manager = manager_of(
        first=Asked(told=lambda _: told.append("first")),
        hangs=Asked(told=lambda _: go.wait(LIMIT)),
        raises=Asked(told=raising(ValueError("x"))),
        exits=Asked(told=raising(SystemExit(1))),
        pin=Asked(told=lambda _: told.append("pin")),
    )
    reports = []
    tell_plugins(manager, "on_lazy_pin_succeeded", limit=SHORT, report=reports.append, pin=a_success())
    go.set()
    assert sorted(told) == ["first", "pin"]
    assert sorted(it.plugin for it in reports) == ["exits", "hangs", "raises"]
