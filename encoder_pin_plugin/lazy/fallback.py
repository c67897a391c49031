"""The local fallback of one job: pinned and proved on the encoder's own node, then a line in the archive.

Never given up: where the local pin or the archive fails, the job is kept, an alarm is raised, and it is tried again for
ever. The CID's lock is held from the pin to the line, so that nobody unpins in between.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from loguru import logger

from encoder_hookspecs.events import LazyPinFailure, LocalFallback, Reason
from encoder_pin_plugin.errors import EncoderPinError
from encoder_pin_plugin.lazy.pins import State, Step, to_moment
from encoder_pin_plugin.lazy.ports import Outcome

if TYPE_CHECKING:
    from encoder_hookspecs.events import LocalPin
    from encoder_pin_plugin.alarms import Alarms
    from encoder_pin_plugin.lazy.pins import LazyPin
    from encoder_pin_plugin.lazy.ports import Archived, Decisions, Post
    from encoder_pin_plugin.nodes.exclusion import Exclusion
    from encoder_pin_plugin.settings import Settings

SETTLE = 600.0
"""Seconds after which a local node on another machine is asked again: its disk may not have had the blocks yet."""


class Fallbacks:
    """Local fallbacks.

    Args:
        settings: the backoff between failed ones.
        decisions: who pins and who archives.
        exclusion: the locks of the CIDs.
        alarms: for what lasts.
        post: where outcomes go.
        settle: seconds after which the proof is asked for again, before the job ends; 0 for a node on this machine.
    """

    def __init__(
        self, settings: Settings, decisions: Decisions, exclusion: Exclusion, *, alarms: Alarms, post: Post,
        settle: float,
    ) -> None:  # fmt: skip
        self._settings = settings
        self._decisions = decisions
        self._exclusion = exclusion
        self._alarms = alarms
        self._post = post
        self._settle = settle

    def run(self, pin: LazyPin) -> None:
        """Fall back, in a thread of the pool; the outcome is posted."""
        try:
            with self._exclusion.hold([pin.job.cid]):
                local_pin, archived = self._fall_back(pin)
        except EncoderPinError as error:
            self._failed(pin, str(error))
        except Exception as error:  # noqa: BLE001 - whatever went wrong, the job is kept and tried again
            logger.exception("the local fallback of job {} ended unexpectedly", pin.job.job_id)
            self._failed(pin, f"unexpected {type(error).__name__}")
        else:
            self._done(pin, local_pin, archived)

    def _fall_back(self, pin: LazyPin) -> tuple[LocalPin, Archived]:
        failure = LazyPinFailure(
            job=pin.job, attempts=pin.attempts, reason=pin.reason or Reason.TOO_OLD, error=pin.error or "",
            first_tried_at=None if pin.first_tried_at is None else to_moment(pin.first_tried_at),
        )  # fmt: skip
        local_pin = self._decisions.lazy_pin_failed(failure)
        fallback = LocalFallback(job=pin.job, failure=failure, local_pin=local_pin)
        return local_pin, self._decisions.local_fallback(fallback)

    def _done(self, pin: LazyPin, local_pin: LocalPin, archived: Archived) -> None:
        whole_for = 0 if pin.whole_at is None or local_pin.made else max(0, pin.turn_at - pin.whole_at)
        left = max(0, int(self._settle * 1000) - whole_for)
        settled = not left
        size = local_pin.size_mb if local_pin.size_mb is not None else pin.job.size_mb
        logger.warning(
            "LAZY PIN FALLBACK job {} CID {} attempts {} size {} MB reason {}: safe on {}, archived in {}{}",
            pin.job.job_id, pin.job.cid, pin.attempts, "?" if size is None else size, pin.reason or Reason.TOO_OLD,
            local_pin.node, archived.receipt.path, "" if settled else f"; asked again in {left / 1000:.0f} s",
        )  # fmt: skip
        step = Step(
            pin=pin, state=State.ARCHIVED if settled else State.FALLING_BACK, delay=left, attempts=pin.attempts,
            tries=pin.tries, reason=pin.reason, error=pin.error, line=archived.line,
            whole_for=None if settled else whole_for,
        )  # fmt: skip
        self._alarms.end("local-fallback", "local fallbacks work again")
        self._post(Outcome(step=step))

    def _failed(self, pin: LazyPin, error: str) -> None:
        delays = self._settings.lazy_pin_backoff
        delay = delays[min(pin.fallbacks, len(delays) - 1)]
        logger.warning(
            "LAZY PIN FALLBACK FAILED job {} CID {} attempts {} size {} MB reason {}: {}; kept, next try in {:.0f} s",
            pin.job.job_id, pin.job.cid, pin.attempts, "?" if pin.job.size_mb is None else pin.job.size_mb,
            pin.reason or Reason.TOO_OLD, error, delay,
        )  # fmt: skip
        self._alarms.begin("local-fallback", f"local fallbacks fail, first for job {pin.job.job_id}: {error}")
        step = Step(
            pin=pin, state=State.FALLING_BACK, delay=int(delay * 1000), attempts=pin.attempts, tries=pin.tries,
            reason=pin.reason, error=error[:2000], fallbacks=pin.fallbacks + 1,
        )  # fmt: skip
        self._post(Outcome(step=step))
