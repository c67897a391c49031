"""What is started next: claims due jobs within the bounds, hands them to threads, and keeps track of what is in flight.

Jobs are taken by due time. A quarter of the pins at once is kept free of large and slow ones, so that a handful of huge
videos never makes small ones wait. While the breaker is open only a probe starts, and what has grown too old to wait.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from loguru import logger

from encoder_hookspecs.events import Reason
from encoder_pin_plugin.lazy.ahead import Ahead
from encoder_pin_plugin.lazy.fallback import SETTLE
from encoder_pin_plugin.lazy.pins import LazyPin, State, Step
from encoder_pin_plugin.lazy.pool import Pool
from encoder_pin_plugin.lazy.ports import Holds, Outcome, Swept
from encoder_pin_plugin.lazy.sample import DailySample
from encoder_pin_plugin.lazy.spool import Spool
from encoder_pin_plugin.lazy.timeline import TOLERANCE, mind_the_clock

if TYPE_CHECKING:
    from collections.abc import Callable

    from encoder_pin_plugin.clock import EvenClock
    from encoder_pin_plugin.lazy.attempt import Attempts
    from encoder_pin_plugin.lazy.fallback import Fallbacks
    from encoder_pin_plugin.lazy.hold import Holder
    from encoder_pin_plugin.lazy.intake import Intake
    from encoder_pin_plugin.lazy.ledger import Ledger
    from encoder_pin_plugin.lazy.ports import Note, Post
    from encoder_pin_plugin.lazy.retry import Breaker
    from encoder_pin_plugin.nodes.base import PinNode
    from encoder_pin_plugin.settings import Settings

LEASE = 120_000
"""Milliseconds of a lease; renewed every 30 s while its task is within its time."""

FALLBACKS_AT_ONCE = 8
HOLDS_AT_ONCE = 100
RELEASE_GAP = 60_000
"""Milliseconds between the two proofs that a release needs."""
RELEASE_AGAIN = 3_600_000
PLUGINS = 20
"""How many hanging site plugins a task may meet before it is itself taken to hang."""
HOLD_AGAIN = 60.0
"""Seconds after which a local node that did not answer is asked again to hold."""


@dataclass(kw_only=True)
class _InFlight:
    """A claimed job; `until` is set when a thread begins with it."""

    pin: LazyPin
    attempt: bool
    until: float = math.inf


class Dispatch:
    """Starts work and knows what is under way. Used by the worker's own thread only.

    Args: see `Worker`, which makes it.
    """

    def __init__(
        self, settings: Settings, supernode: PinNode | None, breaker: Breaker, *, clock: EvenClock, owner: str,
        post: Post, attempts: Attempts | None, fallbacks: Fallbacks, holder: Holder | None,
    ) -> None:  # fmt: skip
        self._settings = settings
        self._supernode = supernode
        self._breaker = breaker
        self._clock = clock
        self._owner = owner
        self._post = post
        self._attempts = attempts
        self._fallbacks = fallbacks
        self._holder = holder if settings.hold_local == "auto" else None
        self._releaser = holder
        self._at_once = settings.lazy_pin_concurrency
        self._ahead = Ahead(self._at_once, clock)
        self._in_flight: dict[str, _InFlight] = {}
        self._attempt_pool = Pool("lazy-pin", self._at_once + self._ahead.asking)
        self._fallback_pool = Pool("local-fallback", FALLBACKS_AT_ONCE)
        self._side_pool = Pool("lazy-pin-side", 4)
        self._tell_pool = Pool("lazy-pin-observers", max(2, self._at_once // 2))
        self._holding = self._releasing = self._sweeping = False
        self._hold_at, self._hold_from = 0.0, 0
        self._sample = DailySample(supernode, Spool(settings.data_dir), clock) if supernode else None

    @property
    def busy(self) -> bool:
        """Whether anything is under way whose result is awaited."""
        return bool(self._in_flight)

    @property
    def holding(self) -> bool:
        """Whether CIDs are being held on the local node."""
        return self._holding

    def awaits(self, posted: int) -> bool:
        """Whether more results are to come than those that are posted already."""
        return len(self._in_flight) > posted

    def claim(self, ledger: Ledger) -> None:
        """Claim and start what is due and fits."""
        now = self._clock.wall()
        self._claim_fallbacks(ledger, now)
        self._claim_old(ledger, now)
        self._claim_attempts(ledger, now)
        self._claim_holds(ledger)
        self._claim_sample(ledger)

    def note(self, ledger: Ledger, result: Note) -> None:
        """Write down what became of holding, releasing and sweeping."""
        if isinstance(result, Holds):
            self._holding = False
            if not result.complete:
                self._hold_at = self._clock.steady() + HOLD_AGAIN
                self._hold_from += HOLDS_AT_ONCE - len(result.holds)  # what is never answered holds up no other
            ledger.set_hold(result.holds, self._clock.wall())
        elif isinstance(result, Swept):
            self._sweeping = False
            ledger.forget(result.nonces)
        else:
            ledger.released(result.done, self._clock.wall(), again=RELEASE_GAP)

    def ended(self, pin: LazyPin) -> None:
        """The outcome for `pin` has arrived; a late one of a claim before changes nothing."""
        item = self._in_flight.get(pin.key)
        if item is not None and item.pin.epoch == pin.epoch:
            del self._in_flight[pin.key]
            if item.attempt:
                self._ahead.ended()

    def tell(self, outcome: Outcome) -> None:
        """Tell the observers, beside the work; then the outcome is posted again, to be written down."""

        def run() -> None:
            try:
                if outcome.before is not None:
                    outcome.before()
            finally:
                self._post(replace(outcome, before=None))

        self._beside(run, pool=self._tell_pool)

    def sweep(self, ledger: Ledger, intake: Intake) -> None:
        """Have the files of finished jobs unlinked, beside the work: on a busy disk each takes a millisecond."""
        if self._sweeping:
            return
        if closed := ledger.closed_submissions():
            self._sweeping = True
            self._beside(lambda: self._unlink(intake, closed))

    def _unlink(self, intake: Intake, closed: list[tuple[str, str]]) -> None:
        swept: tuple[str, ...] = ()
        try:
            swept = intake.unlink(closed)
        finally:
            self._post(Swept(nonces=swept))

    def renew(self, ledger: Ledger) -> None:
        """Prolong the leases of what is within its time; what is not is given up, and its late result dropped."""
        now = self._clock.steady()
        for key, item in list(self._in_flight.items()):
            if now > item.until:
                logger.error("job {} hangs in a node or plugin: its result will be dropped", item.pin.job.job_id)
                (self._attempt_pool if item.attempt else self._fallback_pool).abandon()
                del self._in_flight[key]
                if item.attempt:
                    self._breaker.failed(Reason.TIMEOUT, now)
        ledger.renew(self._owner, self._in_flight, self._clock.wall(), LEASE)

    def mind_the_clock(self, ledger: Ledger) -> None:
        """Keep due times right when the wall clock is stepped. Raises LedgerError."""
        cap = int(max(self._settings.lazy_pin_max_backoff, SETTLE) * 1000) + TOLERANCE
        mind_the_clock(ledger, self._clock, cap)

    def close(self) -> None:
        """Let the threads go."""
        for pool in (self._attempt_pool, self._fallback_pool, self._side_pool, self._tell_pool):
            pool.close()
        if self._attempts is not None:
            self._attempts.close()

    def _claim_attempts(self, ledger: Ledger, now: int) -> None:
        if self._attempts is None:
            return
        allowed = self._breaker.allows(self._clock.steady())
        limit = max(0, self._free if allowed is None else min(allowed, self._free))
        for pin in self._claim_pending(ledger, now, limit):
            self._attempt(pin)

    def _claim_old(self, ledger: Ledger, now: int) -> None:
        """Jobs older than FALLBACK_AFTER: one more attempt where one may start, else the fallback at once."""
        if not self._settings.enable_local_fallback or self._free <= 0:
            return
        old = int(self._settings.fallback_after * 1000)
        if self._attempts is not None and self._breaker.allows(self._clock.steady()) is None:
            for pin in self._claim_pending(ledger, now, self._free, waited=old):
                self._attempt(pin)
        else:
            for pin in ledger.claim(self._owner, State.PENDING, now, limit=self._free, lease=LEASE, waited=old):
                self._give_up(pin)

    def _claim_pending(self, ledger: Ledger, now: int, limit: int, *, waited: int | None = None) -> list[LazyPin]:
        """Up to `limit` jobs for an attempt, so that a quarter of the pins at once is left to those that are small."""
        large = sum(item.attempt and item.pin.large for item in self._in_flight.values())
        room = min(limit, max(0, max(1, self._at_once * 3 // 4) - large))
        claim = partial(ledger.claim, self._owner, State.PENDING, now, lease=LEASE, waited=waited)
        pins = claim(limit=room) if room else []
        if len(pins) == room < limit:
            pins += claim(limit=limit - room, small_only=True)
        return pins

    def _claim_fallbacks(self, ledger: Ledger, now: int) -> None:
        free = FALLBACKS_AT_ONCE - sum(not item.attempt for item in self._in_flight.values())
        if free > 0:
            for pin in ledger.claim(self._owner, State.FALLING_BACK, now, limit=free, lease=LEASE):
                self._start(pin, self._fallbacks.run, attempt=False)

    def _claim_holds(self, ledger: Ledger) -> None:
        if self._holder is None or self._holding or self._clock.steady() < self._hold_at:
            return
        unheld = "closed_at IS NULL AND hold IS NULL ORDER BY waiting_since LIMIT ? OFFSET ?"
        pins = ledger.select(unheld, (HOLDS_AT_ONCE, self._hold_from))
        if len(pins) < HOLDS_AT_ONCE:
            self._hold_from = 0
        if pins:
            self._holding = True
            holder = self._holder
            self._beside(lambda: holder.hold(pins))

    def claim_releases(self, ledger: Ledger) -> None:
        """Have held CIDs released that no job needs any more: only from a ledger that agrees with the job files."""
        releaser = self._releaser
        if releaser is None or self._supernode is None or self._breaker.is_open or self._releasing:
            return
        pins = ledger.releases(self._clock.wall(), limit=16, again=RELEASE_AGAIN)
        if pins:
            self._releasing = True
            self._beside(lambda: self._release(releaser, pins))

    def _claim_sample(self, ledger: Ledger) -> None:
        task = self._sample.task(ledger) if self._sample and not self._breaker.is_open else None
        if task:
            self._beside(task)

    def _beside(self, task: Callable[[], None], *, pool: Pool | None = None) -> None:
        """Do `task` in a thread beside the work; where there is no thread, in this one: flags must not stay set."""
        try:
            (pool or self._side_pool).submit(task)
        except RuntimeError:
            task()

    def _release(self, releaser: Holder, pins: list[LazyPin]) -> None:
        try:
            releaser.release(pins)
        finally:
            self._releasing = False

    @property
    def _free(self) -> int:
        return self._ahead.slots - sum(item.attempt for item in self._in_flight.values())

    def _attempt(self, pin: LazyPin) -> None:
        if self._attempts is not None:
            self._start(pin, self._attempts.run, attempt=True)
            self._breaker.started()

    def _give_up(self, pin: LazyPin) -> None:
        self._in_flight[pin.key] = _InFlight(pin=pin, attempt=True)
        text = pin.error or "the supernode was not asked: it is down, or none is configured"
        step = Step(
            pin=pin, state=State.FALLING_BACK, attempts=pin.attempts, tries=pin.tries,
            reason=pin.reason or Reason.TOO_OLD, error=text,
        )  # fmt: skip
        self._post(Outcome(step=step))

    def _start(self, pin: LazyPin, work: Callable[[LazyPin], None], *, attempt: bool) -> None:
        item = self._in_flight[pin.key] = _InFlight(pin=pin, attempt=attempt)
        limit = 2 * self._settings.lazy_pin_timeout + PLUGINS * self._settings.plugin_timeout
        claimed = self._clock.steady()

        def run() -> None:
            begins = self._clock.steady()
            item.until = begins + limit
            work(replace(pin, turn_at=pin.turn_at + int((begins - claimed) * 1000)))

        try:
            (self._attempt_pool if attempt else self._fallback_pool).submit(run)
        except RuntimeError:
            del self._in_flight[pin.key]  # its lease ends by itself, and it is claimed again
            raise
