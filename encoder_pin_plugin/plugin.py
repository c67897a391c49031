"""The default implementations: a finished job is recorded, pinned lazily, and if that fails, kept safe locally.

The entry point `pin` of the group `encoder` is the instance `plugin` below. It does nothing, and reads nothing, until
one of its hooks is called.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

from encoder_hookspecs.specs import hookimpl
from encoder_pin_plugin.lazy import retry
from encoder_pin_plugin.lazy.attempt import policy_of
from encoder_pin_plugin.service import Service

if TYPE_CHECKING:
    from collections.abc import Generator

    import pluggy

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
    from encoder_pin_plugin.settings import Settings


class PinPlugin:
    """The hooks' default implementations.

    Args:
        settings: given by a program that has read them already; read from the environment when needed otherwise.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self.service = Service(settings)

    @hookimpl(wrapper=True, tryfirst=True)
    def on_job_complete(self, job: CompletedJob) -> Generator[None, Any, Any]:
        """Record the job durably before any other plugin hears of it. Raises NotRecorded where the disk refuses."""
        self.service.record(job)
        return (yield)

    @hookimpl(trylast=True)
    def on_lazy_pin_attempt_failed(self, attempt: LazyPinAttempt) -> RetryIn | GiveUp:
        """Try again after the settings' backoff, until LOCAL_FALLBACK_THRESHOLD attempts have failed."""
        return retry.decide(attempt, policy_of(self.service.settings), Random())  # noqa: S311 - only spreads load

    @hookimpl(trylast=True)
    def on_lazy_pin_failed(self, failure: LazyPinFailure) -> LocalPin:
        """Pin on the local node, and prove it pinned and whole."""
        return self.service.pinner.pin(failure.job.cid)

    @hookimpl(trylast=True)
    def on_local_fallback(self, fallback: LocalFallback) -> ArchiveReceipt:
        """Append to the archive under its lock, durably; a line that stands already is the receipt."""
        return self.service.archive_line(fallback)

    @hookimpl(tryfirst=True)
    def on_encoder_start(self, manager: pluggy.PluginManager) -> None:
        """Start the worker in this process, before anybody who may fail: plain pluggy calls nobody after that."""
        self.service.start(manager)

    @hookimpl(tryfirst=True)
    def on_encoder_stop(self, timeout: float) -> None:
        """Let what is in flight end, for at most `timeout` seconds; the rest goes on at the next start."""
        self.service.stop(timeout)


plugin = PinPlugin()
