"""The encoder's side of the contract: load the plugins, call them, and let none of them hurt the host.

Plain pluggy is enough for a host, and records every job just as durably. This class adds what a host would otherwise
write itself: a broken plugin is skipped and named, each one is called alone, and each hook is a typed method.
"""

from __future__ import annotations

import logging
import os
import time
from typing import TYPE_CHECKING, Any, TypeVar, cast

import pluggy

from encoder_hookspecs.calling import (
    Implementer,
    Outcome,
    PluginFailure,
    Report,
    ask_plugins,
    implementers,
    in_words,
    tell_plugins,
)
from encoder_hookspecs.events import ArchiveReceipt, GiveUp, LocalPin, RetryIn
from encoder_hookspecs.loading import HOST, PluginInfo, choose
from encoder_hookspecs.registry import Registry
from encoder_hookspecs.specs import PROJECT, RECORDER, EncoderSpecs

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from encoder_hookspecs.events import (
        CompletedJob,
        LazyPinAttempt,
        LazyPinFailure,
        LazyPinSuccess,
        LocalFallback,
        Migrated,
    )

T = TypeVar("T")

STOP_GRACE = 2.0
"""Seconds that the recorder gets beyond the timeout of `on_encoder_stop`, and the others at least."""


class JobNotRecorded(Exception):
    """Nothing recorded a finished job. The host must keep it and submit it again."""


class EncoderManager:
    """The plugins of an encoder.

    Load everything before the first job; afterwards the methods may be called from several threads at once.
    No method raises because of a plugin, but `on_job_complete` (`JobNotRecorded`), and loading where it is strict.

    Args:
        recorder: the name of the plugin that must have recorded a job before `on_job_complete` returns.
        allow: names of plugins or distributions: only these entry points are loaded, and the recorder. None: all.
        block: names of plugins or distributions that stay out.
        blocked_by: where `block` comes from, in the words of `plugins()`: the name of a setting of the host's, say.
        strict: raise `InvalidPlugin` for a plugin that cannot be used, instead of skipping it.
        plugin_timeout: seconds for each call of a plugin, on every hook but `on_job_complete`.
        report: told of each failure of a plugin, in the thread that called; default a warning through `logging`.
        environ: where `ENCODER_LOAD_PLUGINS`, `ENCODER_BLOCK_PLUGINS` and `ENCODER_STRICT_PLUGINS` are read;
            default the process environment. Read once, here.

    Example:
        >>> from encoder_hookspecs import CompletedJob, EncoderManager, JobNotRecorded
        >>> manager = EncoderManager()
        >>> job = CompletedJob(cid="QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG", job_id="job-123")
        >>> try:  # in earnest: manager.load_entry_points() first
        ...     manager.on_job_complete(job)
        ... except JobNotRecorded:
        ...     print("keep the job, and submit it again")
        keep the job, and submit it again
    """

    def __init__(
        self,
        *,
        recorder: str = RECORDER,
        allow: Collection[str] | None = None,
        block: Collection[str] = (),
        blocked_by: str = HOST,
        strict: bool = False,
        plugin_timeout: float = 30.0,
        report: Report | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._recorder = recorder
        self._limit = plugin_timeout
        self._listener = report or log_failure
        self._pluggy = pluggy.PluginManager(PROJECT)
        self._pluggy.add_hookspecs(EncoderSpecs)
        environ = os.environ if environ is None else environ
        choice = choose(environ, allow=allow, block=block, blocked_by=blocked_by, strict=strict)
        self._registry = Registry(self._pluggy, choice, recorder, self._report)

    @property
    def pluggy(self) -> pluggy.PluginManager:
        """The plain manager, for whatever pluggy offers beyond this class."""
        return self._pluggy

    def load_entry_points(self) -> list[PluginInfo]:
        """Load every plugin that installed distributions offer; one that cannot be used is reported and skipped.

        Returns:
            All plugins, as `plugins()`. A second call takes up only what the first did not see.

        Raises:
            InvalidPlugin: in strict mode, for the first plugin that cannot be used.
        """
        self._registry.load_entry_points()
        return self.plugins()

    def register(self, plugin: object, name: str | None = None) -> PluginInfo:
        """Register a plugin of the host's own, with the checks of a loaded one. The block list applies.

        Args:
            plugin: an instance or a module.
            name: default the module's name, or that of the instance's class.

        Returns:
            What became of it: look at `status`.

        Raises:
            InvalidPlugin: in strict mode, where it cannot be used.
        """
        return self._registry.register(plugin, name or getattr(plugin, "__name__", None) or type(plugin).__name__)

    def plugins(self) -> list[PluginInfo]:
        """Every plugin: the active ones in the order of registration, then the blocked and the failed."""
        return self._registry.plugins()

    def on_encoder_start(self) -> None:
        """Tell every plugin that work is about to begin, the recorder first and in this thread."""
        for plugin in self._in_order("on_encoder_start"):
            arguments = {"manager": self._pluggy}
            first = plugin.name == self._recorder
            self._judge(plugin, plugin.try_here(arguments) if first else plugin.try_within(self._limit, arguments))

    def on_job_complete(self, job: CompletedJob) -> None:
        """Have a finished job recorded, then tell every other plugin, in this thread and one by one.

        Raises:
            JobNotRecorded: nothing recorded it. Every plugin was called all the same; keep the job and submit it again.
        """
        not_recorded = self._record(job)
        for plugin in self._in_order("on_job_complete"):
            if plugin.name != self._recorder:
                self._judge(plugin, plugin.try_here({"job": job}))
        if not_recorded is not None:
            raise not_recorded

    def on_lazy_pin_attempt_failed(self, attempt: LazyPinAttempt) -> RetryIn | GiveUp | None:
        """Ask when a job's lazy pin is to be tried again; None: nobody answered."""
        decisions: tuple[type[RetryIn | GiveUp], ...] = (RetryIn, GiveUp)
        return self._ask("on_lazy_pin_attempt_failed", decisions, {"attempt": attempt})

    def on_lazy_pin_failed(self, failure: LazyPinFailure) -> LocalPin | None:
        """Have a job's content pinned locally; None: nobody did it."""
        return self._ask("on_lazy_pin_failed", LocalPin, {"failure": failure})

    def on_local_fallback(self, fallback: LocalFallback) -> ArchiveReceipt | None:
        """Have a local fallback archived; None: nobody did it."""
        return self._ask("on_local_fallback", ArchiveReceipt, {"fallback": fallback})

    def on_lazy_pin_succeeded(self, pin: LazyPinSuccess) -> None:
        """Tell every plugin that a job is pinned."""
        tell_plugins(self._pluggy, "on_lazy_pin_succeeded", limit=self._limit, report=self._report, pin=pin)

    def on_migrated(self, record: Migrated) -> None:
        """Tell every plugin that an archived CID has moved."""
        tell_plugins(self._pluggy, "on_migrated", limit=self._limit, report=self._report, record=record)

    def on_encoder_stop(self, timeout: float = 30.0) -> None:
        """Tell every plugin that the encoder ends, the recorder first; each may use what is left of `timeout` seconds.

        One that does not come back is left behind: the call takes `timeout`, and 2 s more for each that hangs.
        """
        end = time.monotonic() + timeout
        for plugin in self._in_order("on_encoder_stop"):
            left = max(end - time.monotonic(), 0.0)
            self._judge(plugin, plugin.try_within(left + STOP_GRACE, {"timeout": left}))

    def _in_order(self, hook: str) -> list[Implementer]:
        """The recorder first, then the others."""
        return sorted(implementers(self._pluggy, hook), key=lambda it: it.name != self._recorder)

    def _record(self, job: CompletedJob) -> JobNotRecorded | None:
        recorder = next((it for it in self._in_order("on_job_complete") if it.name == self._recorder), None)
        if recorder is None:
            return _not_recorded(job, self._why_no_recorder())
        outcome = recorder.try_here({"job": job})
        if outcome.what is None or isinstance(outcome.error, JobNotRecorded):
            return cast("JobNotRecorded | None", outcome.error)
        not_recorded = _not_recorded(job, f"plugin {recorder.name!r} {outcome.what}")
        not_recorded.__cause__ = outcome.error
        return not_recorded

    def _why_no_recorder(self) -> str:
        if self._pluggy.has_plugin(self._recorder):
            return f"plugin {self._recorder!r} does not implement on_job_complete"
        absent = [f"plugin {it.name!r} {it.status}: {it.why}" for it in self.plugins() if it.name == self._recorder]
        return absent[0] if absent else f"no plugin named {self._recorder!r} is loaded"

    def _ask(self, hook: str, expect: type[T] | tuple[type[T], ...], event: dict[str, Any]) -> T | None:
        limit, report, last = self._limit, self._report, self._recorder
        try:
            answer = ask_plugins(self._pluggy, hook, expect=expect, limit=limit, report=report, last=last, **event)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - of the recorder: reported as everybody's
            self._report(PluginFailure(plugin=self._recorder, hook=hook, what=in_words(error), error=error))
            return None
        return answer.result if answer is not None else None

    def _judge(self, plugin: Implementer, outcome: Outcome) -> None:
        if outcome.what is not None:
            self._report(plugin.failure(outcome, outcome.what))

    def _report(self, failure: PluginFailure) -> None:
        try:
            self._listener(failure)
        except Exception:  # noqa: BLE001 - the host's own listener must not come between a plugin and the next one
            _log.exception("could not report: %s", failure)


_log = logging.getLogger("encoder_hookspecs")


def log_failure(failure: PluginFailure) -> None:
    """The default report: a warning through the standard library's logging, with the traceback where there is one."""
    _log.warning("%s", failure, exc_info=failure.error)


def _not_recorded(job: CompletedJob, why: str) -> JobNotRecorded:
    return JobNotRecorded(f"job {job.job_id} ({job.cid}) is not recorded: {why}. Keep it, and submit it again")
