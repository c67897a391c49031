"""One attempt: is it pinned already? If not, pin it. Then ask again, and believe only that answer.

Asking first is a must: on Kubo a second `pin/add` of an existing pin drops the pin when its walk fails. The questions
that prove a pin are asked in batches, because a hundred at once cost what two or three cost one by one: while one
question is under way, the pins that finish meanwhile gather for the next.
"""

from __future__ import annotations

import queue
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loguru import logger

from encoder_hookspecs.events import GiveUp, LazyPinAttempt, LazyPinSuccess, Proof, Reason, RetryIn
from encoder_pin_plugin.errors import NodeError
from encoder_pin_plugin.lazy import retry
from encoder_pin_plugin.lazy.listing import Listing
from encoder_pin_plugin.lazy.pins import LazyPin, State, Step, to_moment
from encoder_pin_plugin.lazy.ports import Outcome
from encoder_pin_plugin.nodes.base import Answer, Told, limits_of

if TYPE_CHECKING:
    from encoder_pin_plugin.clock import Clock
    from encoder_pin_plugin.lazy.ports import Decisions, Post
    from encoder_pin_plugin.nodes.base import PinNode
    from encoder_pin_plugin.settings import Settings

PROOFS_AT_ONCE = 100
"""CIDs in one question: as many as Kubo answers in 6 ms, and as Cluster takes in one line."""

RECENT = 10.0
"""Seconds for which an answer that a CID is not pinned is acted on: whoever waits longer for a slot asks again."""

GATHER = 0.02
"""Seconds for which claims gather, so that a question is about several."""


@dataclass(frozen=True, kw_only=True)
class _Claim:
    """A pin that the supernode says it has made."""

    pin: LazyPin
    began: float


class Attempts:
    """Attempts on one supernode.

    Args:
        node: the supernode.
        settings: limits and thresholds.
        decisions: who decides what comes after a failure.
        clock: the time.
        post: where outcomes go.
    """

    def __init__(self, node: PinNode, settings: Settings, decisions: Decisions, clock: Clock, post: Post) -> None:
        self._node = node
        self._settings = settings
        self._limits = limits_of(settings)
        self._decisions = decisions
        self._clock = clock
        self._post = post
        self._slots = threading.BoundedSemaphore(settings.lazy_pin_concurrency)
        self._claims: queue.SimpleQueue[_Claim | None] = queue.SimpleQueue()
        self._prover: threading.Thread | None = None
        self._starting = threading.Lock()
        self._ended = threading.Event()
        self._listing = Listing(node, clock)

    def run(self, pin: LazyPin) -> None:
        """Make one attempt, in a thread of the pool; its outcome is posted, now or by the prover."""
        began = self._clock.steady()
        try:
            if not self._pin(pin, began):
                return  # the job is its next worker's
        except NodeError as error:
            self._failed(pin, began, error)
        except Exception as error:  # noqa: BLE001 - whatever an adapter does, the job must go on
            logger.exception("an attempt on {} ended unexpectedly", self._node.address)
            self._failed(pin, began, NodeError(f"unexpected {type(error).__name__}", Reason.NODE_ERROR))
        else:
            self._claims.put(_Claim(pin=pin, began=began))
            self._have_proved()

    def close(self) -> None:
        """Begin no pin any more, and let the prover go once it has proved what was claimed."""
        self._ended.set()
        self._claims.put(None)

    def _pin(self, pin: LazyPin, began: float) -> bool:
        """Have the supernode pin what it lacks; False where the worker has ended before that began."""
        cid = pin.job.cid
        if not (self._listing.lacks(pin) or self._lacks(cid)):
            return True
        with self._slots:
            if self._ended.is_set():
                return False
            if self._clock.steady() - began <= RECENT or self._lacks(cid):
                self._node.pin(cid, limits=self._limits)
        self._listing.has(cid)
        return True

    def _lacks(self, cid: str) -> bool:
        told = self._node.pinned([cid])[cid]
        if told.answer is Answer.UNKNOWN:
            raise NodeError(told.detail, told.reason or Reason.NODE_ERROR)
        if not told.yes:
            self._listing.answered_no()
        return not told.yes

    def _have_proved(self) -> None:
        """See to it that the claims are proved: by the prover, or by this thread where there can be none."""
        with self._starting:
            there = (self._prover is not None and self._prover.is_alive()) or self._start_prover()
        if not there:
            self._prove_batch(self._gathered())

    def _start_prover(self) -> bool:
        prover = threading.Thread(target=self._prove, name="lazy-pin-prover", daemon=True)
        try:
            prover.start()
        except RuntimeError:
            return False
        self._prover = prover
        return True

    def _prove(self) -> None:
        while (first := self._claims.get()) is not None:
            time.sleep(GATHER)
            self._prove_batch([first, *self._gathered()])

    def _gathered(self) -> list[_Claim]:
        claims: list[_Claim] = []
        with suppress(queue.Empty):
            while len(claims) < PROOFS_AT_ONCE:
                claim = self._claims.get_nowait()
                if claim is None:
                    self._claims.put(None)  # the end comes after these
                    break
                claims.append(claim)
        return claims

    def _prove_batch(self, claims: list[_Claim]) -> None:
        try:
            told = self._node.pinned([claim.pin.job.cid for claim in claims])
        except Exception as error:  # noqa: BLE001 - the prover serves all jobs: it must go on
            reason = error.reason if isinstance(error, NodeError) else Reason.NODE_ERROR
            unknown = Told(answer=Answer.UNKNOWN, detail=str(error), reason=reason)
            told = dict.fromkeys((claim.pin.job.cid for claim in claims), unknown)
        nothing = Told(answer=Answer.UNKNOWN, detail=f"{self._node.address} left it out of its answer")
        for claim in claims:
            self._judge(claim, told.get(claim.pin.job.cid, nothing))

    def _judge(self, claim: _Claim, told: Told) -> None:
        if told.yes:
            self._succeeded(claim.pin, claim.began)
        elif told.answer is Answer.NO:
            text = f"{self._node.address} said that it pinned {claim.pin.job.cid}, and then that it did not"
            self._failed(claim.pin, claim.began, NodeError(text, Reason.UNPROVED))
        else:
            error = NodeError(told.detail, told.reason or Reason.NODE_ERROR)
            self._failed(claim.pin, claim.began, error)

    def _succeeded(self, pin: LazyPin, began: float) -> None:
        success = LazyPinSuccess(
            job=pin.job,
            node=self._node.address,
            proof=Proof.PINNED,
            attempts=pin.attempts + 1,
            pinned_at=to_moment(self._clock.wall()),
        )
        step = Step(
            pin=pin, state=State.PINNED, attempts=pin.attempts + 1, tries=pin.tries + 1, took=self._since(began),
        )  # fmt: skip
        self._post(Outcome(step=step, asked=True, before=lambda: self._decisions.succeeded(success)))

    def _failed(self, pin: LazyPin, began: float, error: NodeError) -> None:
        now, took = self._clock.wall(), self._since(began)
        counts = retry.counts(error.reason)
        attempt = LazyPinAttempt(
            job=pin.job, number=pin.attempts + counts, error=str(error), reason=error.reason, counts=counts,
            started_at=to_moment(now - took), ended_at=to_moment(now),
        )  # fmt: skip
        state, delay, why = self._decide(attempt, waited=pin.turn_at - pin.waiting_since + took)
        logger.warning(
            "lazy pin attempt {} of job {} ({}) failed: {} ({}); {}",
            attempt.number, pin.job.job_id, pin.job.cid, error, error.reason, why,
        )  # fmt: skip
        step = Step(
            pin=pin, state=state, delay=int(delay * 1000), attempts=attempt.number, tries=pin.tries + 1,
            took=self._since(began), reason=error.reason, error=str(error)[:2000],
        )  # fmt: skip
        self._post(Outcome(step=step, asked=True, reason=error.reason))

    def _since(self, began: float) -> int:
        """Milliseconds, by the clock that only counts up: the other may be stepped while an attempt is under way."""
        return int((self._clock.steady() - began) * 1000)

    def _decide(self, attempt: LazyPinAttempt, *, waited: int) -> tuple[State, float, str]:
        """The next state, the seconds until its turn, and the same in words."""
        settings = self._settings
        policy = policy_of(settings)
        try:
            decision = self._decisions.attempt_failed(attempt)
        except Exception:  # noqa: BLE001 - whatever goes wrong in deciding, the job must go on
            logger.exception("nobody could decide what comes after the attempt: the longest backoff does")
            decision = RetryIn(seconds=policy.backoff[-1])
        too_old = waited >= settings.fallback_after * 1000
        if not settings.enable_local_fallback:
            longest = isinstance(decision, GiveUp)
            delay = policy.backoff[-1] if longest else retry.clamp(decision.seconds, policy)  # type: ignore[union-attr]
            return State.PENDING, delay, f"next attempt in {delay:.0f} s (the local fallback is disabled)"
        if isinstance(decision, GiveUp) or too_old:
            why = f"older than FALLBACK_AFTER ({settings.fallback_after:.0f} s)" if too_old else "giving up"
            return State.FALLING_BACK, 0.0, f"{why}, the local fallback is next"
        delay = retry.clamp(decision.seconds, policy)
        return State.PENDING, delay, f"next attempt in {delay:.0f} s"


def policy_of(settings: Settings) -> retry.Policy:
    """The retry policy that the settings ask for."""
    return retry.Policy(
        threshold=settings.local_fallback_threshold,
        backoff=settings.lazy_pin_backoff,
        max_backoff=settings.lazy_pin_max_backoff,
        fallback=settings.enable_local_fallback,
    )
