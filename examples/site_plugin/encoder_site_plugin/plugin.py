"""The hooks that our site implements."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from encoder_hookspecs import GiveUp, LazyPinAttempt, LocalFallback, Reason, RetryIn, hookimpl
from encoder_site_plugin.notice import send_notice
from encoder_site_plugin.records import keep_record

if TYPE_CHECKING:
    from collections.abc import Mapping


class SitePlugin:
    """Our site's hooks.

    Args:
        environ: where the two settings are read, each time they are needed; the process's environment by default.
    """

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._environ = environ

    @hookimpl
    def on_lazy_pin_attempt_failed(self, attempt: LazyPinAttempt) -> RetryIn | GiveUp | None:
        """A full supernode will not be emptied within the hour: don't wait for it. A stalled pin of a large video
        deserves a long pause. Anything else is left to the default."""
        if attempt.reason is Reason.NODE_FULL:
            return GiveUp(why="the supernode is full")
        if attempt.reason is Reason.STALLED and (attempt.job.size_mb or 0) > 5000 and attempt.number < 3:
            return RetryIn(seconds=1800)
        return None

    @hookimpl
    def on_local_fallback(self, fallback: LocalFallback) -> None:
        """Keep a second record, then tell people. The hook may fire again for the same job after a crash: the
        record shows whether it is news. The archive is the default's work, so this returns nothing."""
        is_news = keep_record(Path(self._environ.get("SITE_RECORDS", "site-records")), fallback)
        url = self._environ.get("SITE_WEBHOOK_URL")
        if is_news and url:
            send_notice(url, fallback)


plugin = SitePlugin()
