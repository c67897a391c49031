"""What threads found out about jobs, written down by the worker's own thread.

Threads post; once a round everything that has gathered is committed in one transaction. Then the breaker learns from
it, alarms begin or end, and it is known which jobs no further try could finish soon.
"""

from __future__ import annotations

import queue
from typing import TYPE_CHECKING

from loguru import logger

from encoder_pin_plugin.lazy.pins import State
from encoder_pin_plugin.lazy.ports import Note, Outcome, Result

if TYPE_CHECKING:
    from collections.abc import Callable

    from encoder_pin_plugin.alarms import Alarms
    from encoder_pin_plugin.clock import Clock
    from encoder_pin_plugin.lazy.dispatch import Dispatch
    from encoder_pin_plugin.lazy.ledger import Ledger
    from encoder_pin_plugin.lazy.pins import Step
    from encoder_pin_plugin.lazy.retry import Breaker
    from encoder_pin_plugin.settings import Settings


class Results:
    """The results of one worker.

    Args:
        settings: when a job may fall back.
        breaker: learns from what the supernode did.
        alarms: for an outage of the supernode.
        clock: the time.
        wake: called when there is something to write down.
    """

    def __init__(
        self, settings: Settings, breaker: Breaker, *, alarms: Alarms, clock: Clock, wake: Callable[[], None]
    ) -> None:
        self._settings = settings
        self._breaker = breaker
        self._alarms = alarms
        self._clock = clock
        self._wake = wake
        self._posted: queue.SimpleQueue[Result] = queue.SimpleQueue()
        self._outcomes: list[Outcome] = []
        self._notes: list[Note] = []
        self.exhausted: set[str] = set()

    def post(self, result: Result, /) -> None:
        """Take a result from any thread."""
        self._posted.put(result)
        self._wake()

    @property
    def waiting(self) -> int:
        """How many are posted and not written down."""
        return self._posted.qsize()

    def write_down(self, ledger: Ledger, dispatch: Dispatch) -> None:
        """Commit what was posted, and learn from it. What the ledger does not take now is kept for the next time.
        Raises LedgerError, sqlite3.DatabaseError."""
        self._sort(dispatch)
        if self._outcomes:
            done = {step.pin.key for step in ledger.commit((it.step for it in self._outcomes), self._clock.wall())}
            outcomes, self._outcomes = self._outcomes, []
            for outcome in outcomes:
                self._learn(outcome, dispatch, written=outcome.step.pin.key in done)
        while self._notes:
            dispatch.note(ledger, self._notes[0])
            del self._notes[0]

    def _sort(self, dispatch: Dispatch) -> None:
        while not self._posted.empty():
            result = self._posted.get()
            if not isinstance(result, Outcome):
                self._notes.append(result)
            elif result.before is not None:
                dispatch.tell(result)
            else:
                self._outcomes.append(result)

    def _learn(self, outcome: Outcome, dispatch: Dispatch, *, written: bool) -> None:
        dispatch.ended(outcome.step.pin)
        if outcome.asked:
            self._mind_the_supernode(outcome)
        if not written:
            logger.warning("the result for job {} came too late: another worker has it", outcome.step.pin.job.job_id)
        if self._is_exhausted(outcome.step):
            self.exhausted.add(outcome.step.pin.key)

    def _mind_the_supernode(self, outcome: Outcome) -> None:
        if outcome.reason is None:
            self._breaker.succeeded()
        else:
            self._breaker.failed(outcome.reason, self._clock.steady())
        opens_at = self._breaker.opens_at()
        if opens_at is None:
            self._alarms.end("supernode", "the supernode answers again")
        elif outcome.reason is not None:
            wait = max(0.0, opens_at - self._clock.steady())
            text = f"the supernode is taken to be down ({outcome.reason}): {outcome.step.error}"
            self._alarms.begin("supernode", f"{text}; one job tries it again in {wait:.0f} s, the others wait")

    def _is_exhausted(self, step: Step) -> bool:
        """Whether a job has failed its fallback, or has used up its attempts and may not fall back."""
        if step.state is State.FALLING_BACK:
            return step.fallbacks > 0
        may_not = not self._settings.enable_local_fallback
        return step.state is State.PENDING and may_not and step.attempts >= self._settings.local_fallback_threshold
