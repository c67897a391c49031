"""One plugin at a time, and none of them able to hurt the others.

pluggy calls all implementations of a hook in one go, and what one of them raises ends the call. Here each plugin is
called alone, on a plain `pluggy.PluginManager`: what raises, exits, hangs or answers nonsense is reported in words, and
the next plugin gets its turn. A plugin's hook wrappers wrap its own implementation only.
"""

from __future__ import annotations

import contextvars
import copy
import dataclasses
import os
import queue
import threading
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from types import CoroutineType
from typing import Generic, TypeVar, cast

import pluggy

from encoder_hookspecs.normalise import as_text
from encoder_hookspecs.specs import RECORDER, EncoderSpecs

T = TypeVar("T")

MAX_LATE_CALLS = 8
"""Calls of one plugin's hook that may hang at the same time. Each holds a thread: with so many, none is added."""


@dataclass(frozen=True, kw_only=True)
class Answered(Generic[T]):
    """What a plugin answered.

    Args:
        result: its answer, of an expected type.
        plugin: the name under which the plugin is registered.
    """

    result: T
    plugin: str


@dataclass(frozen=True, kw_only=True)
class PluginFailure:
    """A plugin did something else than its hook asks for.

    Args:
        plugin: the name under which the plugin is registered.
        hook: the hook, or `"load"` where the plugin could not be loaded.
        what: what it did, in words that go on from its name: "raised ValueError: …", "called sys.exit(1)",
            "did not return within 30 s", "returned str, not LocalPin".
        seconds: how long the call took.
        error: the exception with its traceback, where there was one.
    """

    plugin: str
    hook: str
    what: str
    seconds: float = 0.0
    error: BaseException | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        took = f" (after {self.seconds:.2f} s)" if self.seconds else ""
        return f"plugin {self.plugin!r}, {self.hook}: {self.what}{took}"


Report = Callable[[PluginFailure], None]


def ask_plugins(
    manager: pluggy.PluginManager,
    hook: str,
    *,
    expect: type[T] | tuple[type[T], ...],
    limit: float,
    report: Report,
    accept: Callable[[T, str], bool] | None = None,
    last: str = RECORDER,
    **arguments: object,
) -> Answered[T] | None:
    """Ask one plugin after the other until one answers.

    Args:
        manager: where the plugins are registered.
        hook: the name of a hook whose first result wins.
        expect: the type, or types, of an answer.
        limit: seconds for each plugin.
        report: told of each failure; called in this thread.
        accept: called with an answer and its plugin's name; False means: ask the next one.
        last: the plugin that is asked last, in this thread and without a limit, whatever the order of registration.
        arguments: the hook's arguments.

    Returns:
        The first acceptable answer, or None.

    Raises:
        Exception: what the plugin named `last` raised, as it is.
    """
    for plugin in implementers(manager, hook, last=last):
        default = plugin.name == last
        outcome = Outcome(result=plugin.call(arguments)) if default else plugin.try_within(limit, arguments)
        what = outcome.what or misfit(outcome.result, expect)
        if what is not None:
            report(plugin.failure(outcome, what))
            continue
        answer = cast("T | None", outcome.result)
        if answer is not None and (accept is None or accept(answer, plugin.name)):
            return Answered(result=answer, plugin=plugin.name)
    return None


def tell_plugins(
    manager: pluggy.PluginManager, hook: str, *, limit: float, report: Report, **arguments: object
) -> None:
    """Tell every plugin of a fact, each in a thread of its own for at most `limit` seconds.

    Args:
        manager: where the plugins are registered.
        hook: the name of a hook whose results nobody reads.
        limit: seconds for each plugin.
        report: told of each failure; called in this thread.
        arguments: the hook's arguments.
    """
    for plugin in implementers(manager, hook):
        outcome = plugin.try_within(limit, arguments)
        if outcome.what is not None:
            report(plugin.failure(outcome, outcome.what))


def implementers(manager: pluggy.PluginManager, hook: str, *, last: str = RECORDER) -> list[Implementer]:
    """The plugins that implement `hook`, in pluggy's order of calling, but the one named `last` at the end."""
    caller = getattr(manager.hook, hook, None)
    impls = reversed(caller.get_hookimpls()) if caller is not None else ()
    by_name = {impl.plugin_name: impl.plugin for impl in impls}
    found = [Implementer(manager=manager, hook=hook, name=name, plugin=it) for name, it in by_name.items()]
    return sorted(found, key=lambda it: it.name == last)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How one call ended: with a result, or with a failure in words (see `PluginFailure`)."""

    result: object = None
    what: str | None = None
    seconds: float = 0.0
    error: BaseException | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Implementer:
    """One plugin's implementation of one hook."""

    manager: pluggy.PluginManager
    hook: str
    name: str
    plugin: object

    def call(self, arguments: Mapping[str, object]) -> object:
        """Call the plugin in this thread; what it raises is the caller's."""
        return self._caller()(**arguments)

    def try_here(self, arguments: Mapping[str, object]) -> Outcome:
        """Call the plugin in this thread. KeyboardInterrupt and GeneratorExit are meant for the thread: they pass."""
        return self._try(arguments, (Exception, SystemExit))

    def try_within(self, limit: float, arguments: Mapping[str, object]) -> Outcome:
        """Call the plugin in a daemon thread, which is left behind after `limit` seconds."""
        if (late := _late_calls(self)) >= MAX_LATE_CALLS:
            return Outcome(what=f"was not called: {late} earlier calls have not returned")
        done: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
        context = contextvars.copy_context()
        thread = _PluginThread(self, lambda: done.put(context.run(self._try, arguments, (BaseException,))))
        try:
            thread.start()
        except RuntimeError as error:  # the system has no more threads, or the interpreter is shutting down
            return Outcome(what=f"was not called: {error}", error=error)
        try:
            return done.get(timeout=min(max(limit, 0), threading.TIMEOUT_MAX))
        except queue.Empty:
            thread.late = True
            return Outcome(what=f"did not return within {limit:g} s", seconds=limit)

    def failure(self, outcome: Outcome, what: str) -> PluginFailure:
        """`outcome` as it is reported."""
        return PluginFailure(plugin=self.name, hook=self.hook, what=what, seconds=outcome.seconds, error=outcome.error)

    def _try(self, arguments: Mapping[str, object], isolate: tuple[type[BaseException], ...]) -> Outcome:
        pid, started = os.getpid(), time.monotonic()
        try:
            result = self.call({name: _own_copy(value) for name, value in arguments.items()})
        except isolate as error:
            return Outcome(what=in_words(error), seconds=time.monotonic() - started, error=error)
        finally:
            if os.getpid() != pid:
                os._exit(1)  # the plugin forked, and its child came back: a second host must not go on from here
        return Outcome(result=result, what=_unawaited(result), seconds=time.monotonic() - started)

    def _caller(self) -> pluggy.HookCaller:
        plugins = [plugin for _, plugin in self.manager.list_name_plugin()]
        caller: pluggy.HookCaller = getattr(self.manager.hook, self.hook)
        if caller.has_spec() and all(isinstance(plugin, Hashable) for plugin in plugins):
            others = [plugin for plugin in plugins if plugin is not self.plugin]
            return self.manager.subset_hook_caller(self.hook, others)
        return self._caller_of_its_own()

    def _caller_of_its_own(self) -> pluggy.HookCaller:
        """For what pluggy takes and cannot single out: plugins without a hash, hosts that added no specs."""
        alone = pluggy.PluginManager(self.manager.project_name)
        alone.add_hookspecs(EncoderSpecs)
        alone.register(self.plugin, self.name)
        return cast("pluggy.HookCaller", getattr(alone.hook, self.hook))


class _PluginThread(threading.Thread):
    """The thread of one call. The list of late ones is Python's own list of threads."""

    def __init__(self, implementer: Implementer, target: Callable[[], None]) -> None:
        super().__init__(target=target, name=f"{implementer.name}.{implementer.hook}", daemon=True)
        self.implementer = implementer
        self.late = False


def _late_calls(of: Implementer) -> int:
    """How many calls of this plugin's hook were left behind and still run."""
    threads = [thread for thread in threading.enumerate() if isinstance(thread, _PluginThread) and thread.late]
    return sum(it.implementer.plugin is of.plugin and it.implementer.hook == of.hook for it in threads)


def _own_copy(value: object) -> object:
    """An event of the plugin's own: what it does to it, by whatever trick, reaches nobody else."""
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return value
    twin = copy.copy(value)
    for name in (it.name for it in dataclasses.fields(value)):
        inner = getattr(value, name)
        if isinstance(inner, dict) or dataclasses.is_dataclass(inner):
            object.__setattr__(twin, name, dict(inner) if isinstance(inner, dict) else _own_copy(inner))
    return twin


def misfit(result: object, expect: type | tuple[type, ...]) -> str | None:
    """What is wrong with the type of an answer, or None; its own word on its class is not asked for."""
    if result is None or issubclass(type(result), expect):
        return None
    types = expect if isinstance(expect, tuple) else (expect,)
    return f"returned {type(result).__name__}, not {' or '.join(it.__name__ for it in types)}"


def _unawaited(result: object) -> str | None:
    """What to say of coroutines, which nobody will await: they are closed, so that Python does not warn as well."""
    results = cast("list[object]", result) if type(result) is list else [result]
    coroutines = [cast("CoroutineType[object, object, object]", it) for it in results if type(it) is CoroutineType]
    for coroutine in coroutines:
        coroutine.close()
    return "returned a coroutine: hooks are called, never awaited" if coroutines else None


def in_words(error: BaseException) -> str:
    """What a plugin did by raising `error`."""
    if isinstance(error, SystemExit):
        return f"called sys.exit({'' if error.code is None else as_text(error.code, 200)})"
    try:
        message = str(error)
    except Exception as again:  # noqa: BLE001 - a hostile __str__ must not become the caller's problem
        message = f"<{type(again).__name__} in its message>"
    return f"raised {type(error).__name__}: {as_text(message, 500)}" if message else f"raised {type(error).__name__}"
