"""The kit for authors of plugins: events to try a plugin with, a host that remembers, and a check in words.

    >>> from encoder_hookspecs import hookimpl
    >>> from encoder_hookspecs.testing import check_plugin
    >>> class Shy:
    ...     @hookimpl
    ...     def on_job_completed(self, job): ...
    >>> check_plugin(Shy())
    ["there is no hook 'on_job_completed': did you mean 'on_job_complete'?"]

Nothing here needs a node, a disk, a network or a certain test runner.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from encoder_hookspecs.calling import Implementer, Outcome, PluginFailure, implementers, misfit
from encoder_hookspecs.checks import HOOKS, find_faults, implementations
from encoder_hookspecs.events import (
    ArchiveReceipt,
    CompletedJob,
    GiveUp,
    LazyPinAttempt,
    LazyPinFailure,
    LocalFallback,
    LocalPin,
    RetryIn,
)
from encoder_hookspecs.manager import EncoderManager
from encoder_hookspecs.samples import (
    a_failure,
    a_fallback,
    a_job,
    a_local_pin,
    a_migration,
    a_receipt,
    a_success,
    an_attempt,
)
from encoder_hookspecs.specs import RECORDER, hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pluggy

__all__ = [
    "Call",
    "RecordingHost",
    "a_failure",
    "a_fallback",
    "a_job",
    "a_local_pin",
    "a_migration",
    "a_receipt",
    "a_success",
    "an_attempt",
    "check_plugin",
]


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call of one plugin: its arguments, and its result or what it raised."""

    plugin: str
    hook: str
    arguments: Mapping[str, object]
    result: object = None
    error: BaseException | None = None


class RecordingHost(EncoderManager):
    """An encoder with the given plugins, and defaults that only remember.

    Fire hooks by the methods of `EncoderManager`. What each plugin was asked and answered is in `calls`, what went
    wrong in `failures`, the recorded jobs in `jobs` and the archived fallbacks in `archived`. The defaults, as plugin
    `pin`, retry in 60 s until the third attempt, and say yes to everything else.

    Args:
        plugins: each registered under the name of its class or module; a faulty one raises `InvalidPlugin`.
        plugin_timeout: seconds for each call.

    Example:
        >>> from encoder_hookspecs.testing import RecordingHost, a_job
        >>> class Broken:
        ...     @hookimpl
        ...     def on_job_complete(self, job):
        ...         raise ValueError("no webhook")
        >>> host = RecordingHost(Broken())
        >>> host.on_job_complete(a_job(job_id="job-7"))
        >>> [job.job_id for job in host.jobs], host.failures[0].what
        (['job-7'], 'raised ValueError: no webhook')
    """

    def __init__(self, *plugins: object, plugin_timeout: float = 5.0) -> None:
        self.calls: list[Call] = []
        self.failures: list[PluginFailure] = []
        self.jobs: list[CompletedJob] = []
        self.archived: list[LocalFallback] = []
        super().__init__(plugin_timeout=plugin_timeout, report=self.failures.append, strict=True, environ={})
        self.register(_Defaults(self), RECORDER)
        for plugin in plugins:
            self.register(plugin)
        self.pluggy.add_hookcall_monitoring(before=lambda *_: None, after=self._remember)

    def _remember(
        self, outcome: pluggy.Result[Any], hook: str, impls: Sequence[pluggy.HookImpl], arguments: Mapping[str, object]
    ) -> None:
        result = None if outcome.exception else outcome.get_result()
        if isinstance(result, list):  # one plugin at a time: at most one result
            result = result[0] if result else None
        for name in {impl.plugin_name for impl in impls}:
            call = Call(plugin=name, hook=hook, arguments=arguments, result=result, error=outcome.exception)
            self.calls.append(call)


class _Defaults:
    """The plugin `pin` of a `RecordingHost`."""

    def __init__(self, host: RecordingHost) -> None:
        self._host = host

    @hookimpl
    def on_job_complete(self, job: CompletedJob) -> None:
        self._host.jobs.append(job)

    @hookimpl
    def on_lazy_pin_attempt_failed(self, attempt: LazyPinAttempt) -> RetryIn | GiveUp:
        return RetryIn(seconds=60) if attempt.number < 3 else GiveUp()

    @hookimpl
    def on_lazy_pin_failed(self, failure: LazyPinFailure) -> LocalPin:
        return a_local_pin(cid=failure.job.cid)

    @hookimpl
    def on_local_fallback(self, fallback: LocalFallback) -> ArchiveReceipt:
        self._host.archived.append(fallback)
        return a_receipt()


def check_plugin(plugin: object, *, call: bool = True, limit: float = 5.0) -> list[str]:
    """What is wrong with a plugin, in words; an empty list where nothing is.

    Args:
        plugin: an instance or a module.
        call: also call each hook that it implements, once, with a sample event. It *is* called: give it a webhook
            address that may be called, or pass False.
        limit: seconds for each call.
    """
    host = EncoderManager(environ={}, report=lambda failure: None)
    if faults := find_faults(plugin, host.pluggy):
        return faults
    marked = dict(implementations(plugin))
    if not marked:
        return ["it implements no hook: mark a method with @hookimpl"]
    faults = [
        f"{hook} gives {name!r} a default: a hook's arguments are always given"
        for hook, impl in marked.items()
        for name in impl.kwargnames
    ]
    if call:
        host.register(plugin, "plugin")
        faults.extend(_faults_when_called(host.pluggy, limit))
    return faults


_ANSWERS: dict[str, tuple[type, ...]] = {
    "on_lazy_pin_attempt_failed": (RetryIn, GiveUp),
    "on_lazy_pin_failed": (LocalPin,),
    "on_local_fallback": (ArchiveReceipt,),
}


def _faults_when_called(manager: pluggy.PluginManager, limit: float) -> Iterator[str]:
    samples: dict[str, object] = {"manager": manager, "timeout": 1.0, "job": a_job(), "attempt": an_attempt()}
    samples |= {"failure": a_failure(), "fallback": a_fallback(), "pin": a_success(), "record": a_migration()}
    for hook, parameters in HOOKS.items():
        for plugin in implementers(manager, hook):
            outcome = plugin.try_within(limit, {name: samples[name] for name in parameters})
            if what := outcome.what or _odd(plugin, outcome):
                yield f"{hook} {what}"


def _odd(plugin: Implementer, outcome: Outcome) -> str | None:
    """What is wrong with an answer, in words that go on from the hook's name."""
    result = outcome.result
    if plugin.hook not in _ANSWERS:
        return f"returned {type(result[0]).__name__}: nobody reads it" if isinstance(result, list) and result else None
    if isinstance(result, LocalPin) and result.cid != a_failure().job.cid:
        return f"returned a LocalPin of another CID than the job's: {result.cid}"
    if isinstance(result, RetryIn) and not _is_a_wait(result.seconds):
        return f"returned RetryIn(seconds={result.seconds!r}): seconds is a number, and not negative"
    return misfit(result, _ANSWERS[plugin.hook])


def _is_a_wait(seconds: object) -> bool:
    return isinstance(seconds, int | float) and math.isfinite(seconds) and seconds >= 0
