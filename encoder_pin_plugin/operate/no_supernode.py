"""What becomes of jobs where no supernode is configured: nobody attempts them, and they wait for FALLBACK_AFTER."""

from __future__ import annotations

import math
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from encoder_pin_plugin.errors import EncoderPinError

if TYPE_CHECKING:
    from encoder_pin_plugin.settings import Settings

_WAITING = """
SELECT count(*) AS jobs, min(waiting_since) AS first, max(waiting_since) AS last FROM job
WHERE closed_at IS NULL AND state = 'pending'
"""


def what_then(fallback_after: float, *, local_fallback: bool) -> str:
    """What becomes of each job, in words."""
    if local_fallback:
        return f"jobs fall back {fallback_after:g} s after completion (FALLBACK_AFTER)"
    return "jobs wait until one is, for ENABLE_LOCAL_FALLBACK is false"


def wait_of(settings: Settings | None) -> float | None:
    """Seconds that a job waits where nobody attempts it, infinite where it may not fall back; None where somebody
    does."""
    if settings is None or not settings.supernode_missing:
        return None
    return settings.fallback_after if settings.enable_local_fallback else math.inf


def who_waits(settings: Settings) -> str:
    """How many jobs wait for FALLBACK_AFTER alone, and until when; empty where there are none, or nobody knows."""
    from encoder_pin_plugin.lazy.worker import LEDGER_NAME
    from encoder_pin_plugin.operate.ledger_view import view_ledger

    wait = wait_of(settings)
    if wait is None or math.isinf(wait):
        return ""
    with suppress(EncoderPinError), view_ledger(settings.data_dir / LEDGER_NAME) as ledger:
        if ledger is not None:
            (row,) = ledger.rows(_WAITING)
            return _in_words(row["jobs"], *((row[it] or 0) / 1000 + wait for it in ("first", "last")))
    return ""


def _in_words(jobs: int, first: float, last: float) -> str:
    if not jobs:
        return ""
    begin, end = (time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(it)) for it in (first, last))
    then = f"it falls back at {begin}" if jobs == 1 else f"they fall back from {begin} to {end}"
    return f"no supernode is configured, and {jobs:,} of them wait{'s' * (jobs == 1)} for FALLBACK_AFTER: {then}"
