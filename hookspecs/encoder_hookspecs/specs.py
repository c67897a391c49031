"""The hooks: what an encoder calls, and what a site may implement.

A plugin is any object with methods (or a module with functions) that carry the names below and are marked with
`@hookimpl`. Five rules hold for every hook:

- **Declare what you need.** An implementation may leave out parameters, and gives none of them a default.
- **At least once.** After a crash or a restart a hook can fire again for the same job; `(job.cid, job.job_id)` is the
  key under which a plugin recognises what it has seen.
- **One at a time, alone.** `EncoderManager` and the worker call one plugin after the other, each with its own copy of
  the event. What raises, calls `sys.exit`, returns something else than the hook asks for, or does not return within the
  time limit (`PLUGIN_TIMEOUT`) is named in the log, its late result is dropped, and the next plugin is called. A host
  that calls the hooks through plain pluggy gets pluggy's rule instead: what one implementation raises ends the call and
  reaches the host. The job is recorded by then, unless the culprit is a `wrapper=True, tryfirst=True` of a plugin that
  was registered after the defaults and raises before its `yield`: pluggy calls nobody before that one.
- **Synchronous.** Hooks are called, never awaited: an `async def` implementation is refused.
- **No order.** Nothing is promised about who comes first, but that the default implementations, the plugin named `pin`,
  record a finished job before anybody else hears of it, and are asked last everywhere else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from encoder_hookspecs.events import (
        ArchiveReceipt,
        CompletedJob,
        GiveUp,
        LazyPinAttempt,
        LazyPinFailure,
        LazyPinSuccess,
        LocalFallback,
        LocalPin,
        Migrated,
        RetryIn,
    )

PROJECT = "encoder"
"""The name under which pluggy knows this contract: `pluggy.PluginManager(PROJECT)`."""

ENTRY_POINT_GROUP = "encoder"
"""The entry-point group in which a distribution offers its plugin."""

RECORDER = "pin"
"""The name of the plugin that records finished jobs: that of the default implementations."""

hookimpl = pluggy.HookimplMarker(PROJECT)
"""Marks the implementation of a hook: `@hookimpl` above the method."""

_hookspec = pluggy.HookspecMarker(PROJECT)


class EncoderSpecs:
    """Every hook of the contract, in the order of a job's life."""

    @_hookspec
    def on_encoder_start(self, manager: pluggy.PluginManager) -> None:
        """The encoder has loaded its plugins and is about to take work.

        Fires once in the life of a host that calls `EncoderManager.on_encoder_start`, and not at all in a host that
        never does, nor in programs that only submit jobs. The default starts the worker that pins.

        Called in a thread of its own with a time limit: what should live longer belongs in a thread that the plugin
        starts here and ends in `on_encoder_stop`. Every plugin is called; what one returns is ignored, what one raises
        is logged and stops neither the host nor another plugin.

        Args:
            manager: the `pluggy.PluginManager` that holds every plugin. Nothing may be registered in it any more.

        Example:
            >>> from encoder_hookspecs import hookimpl
            >>> from encoder_hookspecs.testing import RecordingHost
            >>> class Greeter:
            ...     @hookimpl
            ...     def on_encoder_start(self, manager):
            ...         print(sorted(name for name, plugin in manager.list_name_plugin()))
            >>> RecordingHost(Greeter()).on_encoder_start()
            ['Greeter', 'pin']
        """

    @_hookspec
    def on_job_complete(self, job: CompletedJob) -> None:
        """An encoder finished a job and has its CID.

        Fires when the content is on the encoder's own node and the job is about to be reported complete; not for jobs
        that failed, and not again when the CID is pinned (see `on_lazy_pin_succeeded`). At least once for one job:
        after a crash a host submits again what it is not sure of.

        Called in the host's own thread, without a time limit, while the job waits: return at once. Every plugin is
        called; what one returns is ignored. The default records the job durably, before any other plugin is called,
        and the lazy pin follows later in the worker. What a site plugin raises is logged and costs nobody anything;
        where *nothing recorded* the job, the host gets `JobNotRecorded` after every plugin was called.

        Args:
            job: the job, already normalised.

        Example:
            >>> from encoder_hookspecs import hookimpl
            >>> from encoder_hookspecs.testing import RecordingHost, a_job
            >>> class Tally:
            ...     megabytes = 0.0
            ...
            ...     @hookimpl
            ...     def on_job_complete(self, job):
            ...         self.megabytes += job.size_mb or 0
            >>> tally = Tally()
            >>> RecordingHost(tally).on_job_complete(a_job(size_mb=25.5))
            >>> tally.megabytes
            25.5
        """

    @_hookspec(firstresult=True)
    def on_lazy_pin_attempt_failed(self, attempt: LazyPinAttempt) -> RetryIn | GiveUp | None:
        """One try to pin a job's CID on the supernode failed: when is the next, or is there none?

        Fires after each failed attempt, in the worker; not for tries that were never made because the supernode as a
        whole is down, and not once `FALLBACK_AFTER` has passed, when the fallback comes whatever a plugin says. A crash
        right after an attempt makes it fire again, with the same number.

        Called in a thread of its own with a time limit; several jobs may be asked about at once. The first plugin that
        answers decides, the default (backoff and threshold of the settings) comes last. Return None to leave the
        decision to the next one. Raising, or returning anything else, counts as None and is logged.

        Args:
            attempt: what was tried, how often, and how it failed.

        Returns:
            `RetryIn(seconds=…)`, `GiveUp()` for the local fallback at once, or None.

        Example:
            >>> from encoder_hookspecs import GiveUp, RetryIn, hookimpl
            >>> from encoder_hookspecs.testing import RecordingHost, an_attempt
            >>> class Patient:
            ...     @hookimpl
            ...     def on_lazy_pin_attempt_failed(self, attempt):
            ...         return RetryIn(seconds=600) if attempt.number < 10 else GiveUp(why="ten attempts")
            >>> RecordingHost(Patient()).on_lazy_pin_attempt_failed(an_attempt(number=9))
            RetryIn(seconds=600)
        """

    @_hookspec(firstresult=True)
    def on_lazy_pin_failed(self, failure: LazyPinFailure) -> LocalPin | None:
        """The lazy pin of a job has failed for good: somebody pins it locally now.

        Fires in the worker when all attempts are used up, a plugin gave up, or the job is too old; not while the local
        fallback is disabled. It fires again, with growing pauses, until a local pin is proved: expect the same job
        more than once.

        Called in a thread of its own with a time limit; several jobs may be under way at once. The first plugin that
        answers wins, and the default, which pins on the encoder's node and proves it, comes last. A plugin that only
        wants to *know* returns None. The worker checks the answer: where it cannot prove a site's `LocalPin` itself,
        the default runs as well. Raising, or returning anything else, counts as None and is logged.

        Args:
            failure: the job, and how its lazy pin failed.

        Returns:
            `LocalPin` for `failure.job.cid`, or None.

        Example:
            >>> from encoder_hookspecs import LocalPin, Proof, hookimpl
            >>> from encoder_hookspecs.testing import RecordingHost, a_failure
            >>> class SecondNode:
            ...     @hookimpl
            ...     def on_lazy_pin_failed(self, failure):
            ...         if failure.job.size_mb and failure.job.size_mb > 1000:
            ...             return None  # too large for it: the default pins on the encoder's own node
            ...         return LocalPin(cid=failure.job.cid, node="http://10.0.0.7:5001", proof=Proof.PINNED)
            >>> RecordingHost(SecondNode()).on_lazy_pin_failed(a_failure()).node
            'http://10.0.0.7:5001'
        """

    @_hookspec(firstresult=True)
    def on_local_fallback(self, fallback: LocalFallback) -> ArchiveReceipt | None:
        """A job's content is safe on the local node: somebody writes that down, for the migration.

        Fires in the worker once a local pin is proved; not for a local pin that is not. It fires again, with growing
        pauses, until a line stands durably: expect the same job more than once, and record it once.

        Called in a thread of its own with a time limit; several jobs may be under way at once. The first plugin that
        answers wins, and the default, which appends to `local-fallback-pins.jsonl`, comes last. A plugin that only
        *adds* something, such as a notification, returns None. The worker checks the answer: where it does not find
        the line behind a site's `ArchiveReceipt`, the default runs as well. Raising, or returning anything else, counts
        as None and is logged.

        Args:
            fallback: the job, how its lazy pin failed, and the local pin that saved it.

        Returns:
            `ArchiveReceipt` naming the file that holds the line, or None.

        Example:
            >>> from encoder_hookspecs import hookimpl
            >>> from encoder_hookspecs.testing import RecordingHost, a_fallback
            >>> class Notify:
            ...     @hookimpl
            ...     def on_local_fallback(self, fallback):
            ...         print(f"{fallback.job.job_id} is kept locally after {fallback.failure.attempts} attempts")
            >>> receipt = RecordingHost(Notify()).on_local_fallback(a_fallback())
            job-123 is kept locally after 3 attempts
            >>> receipt.path  # the default answered
            'local-fallback-pins.jsonl'
        """

    @_hookspec
    def on_lazy_pin_succeeded(self, pin: LazyPinSuccess) -> None:
        """A job's CID is pinned on the supernode, and proved so: the good end.

        Fires in the worker after the proof; not for a node's mere yes, and not for local pins. At least once for one
        job.

        Called in a thread of its own with a time limit. Every plugin is called; what one returns is ignored, what one
        raises is logged.

        Args:
            pin: the job, the node that holds it, and the proof.

        Example:
            >>> from encoder_hookspecs import hookimpl
            >>> from encoder_hookspecs.testing import RecordingHost, a_success
            >>> class Metrics:
            ...     @hookimpl
            ...     def on_lazy_pin_succeeded(self, pin):
            ...         print(f"pinned after {pin.attempts} attempt(s)")
            >>> RecordingHost(Metrics()).on_lazy_pin_succeeded(a_success())
            pinned after 1 attempt(s)
        """

    @_hookspec
    def on_migrated(self, record: Migrated) -> None:
        """An archived CID is pinned on a permanent target, and proved so.

        Fires in the program that migrates, which need not be the encoder: only plugins that it loads from entry points
        hear of it. Not for lines whose CID the target does not hold yet. At least once for one line of the archive.

        Called in a thread of its own with a time limit. Every plugin is called; what one returns is ignored, what one
        raises is logged.

        Args:
            record: the CID, its job, the target and the proof.

        Example:
            >>> from encoder_hookspecs import hookimpl
            >>> from encoder_hookspecs.testing import RecordingHost, a_migration
            >>> class Catalogue:
            ...     @hookimpl
            ...     def on_migrated(self, record):
            ...         print(f"{record.job_id} now at {record.target}")
            >>> RecordingHost(Catalogue()).on_migrated(a_migration())
            job-123 now at kubo+http://permanent:5001
        """

    @_hookspec
    def on_encoder_stop(self, timeout: float) -> None:
        """The encoder is about to end: finish what can be finished.

        Fires once, in a host that calls `EncoderManager.on_encoder_stop`; never after a crash or a kill, so nothing may
        depend on it. The default lets the worker end what is in flight; open jobs wait on disk for the next start.

        Called in a thread of its own. Every plugin is called; what one returns is ignored, what one raises is logged.

        Args:
            timeout: seconds in which to return. Whoever takes longer is left behind.

        Example:
            >>> from encoder_hookspecs import hookimpl
            >>> from encoder_hookspecs.testing import RecordingHost
            >>> class Farewell:
            ...     @hookimpl
            ...     def on_encoder_stop(self, timeout):
            ...         print(f"{timeout:.0f} seconds to say goodbye")
            >>> RecordingHost(Farewell()).on_encoder_stop(timeout=10)
            10 seconds to say goodbye
        """
