"""Migration: what waits in an archive is pinned on a permanent target, proved, and only then cleaned.

    ask in batches -> pin what is missing, many at once -> prove in batches -> clean in batches

The archive is the journal: a migration that was killed is run again, asks about what is still there, and goes on. One
CID that fails blocks no other.
"""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import islice
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Protocol, TypeVar

from loguru import logger

from encoder_hookspecs.events import Reason
from encoder_pin_plugin.archive.stages import Stage, Work
from encoder_pin_plugin.archive.tally import Tally
from encoder_pin_plugin.errors import NodeError
from encoder_pin_plugin.nodes.base import Answer
from encoder_pin_plugin.nodes.kubo import KuboNode
from encoder_pin_plugin.nodes.kubo_listing import listed_pins
from encoder_pin_plugin.nodes.proofs import BATCH

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from encoder_pin_plugin.archive.cleaning import Cleaned
    from encoder_pin_plugin.archive.target import Carried, Target
    from encoder_pin_plugin.archive.waiting import Item
    from encoder_pin_plugin.nodes.base import Told
    from encoder_pin_plugin.nodes.proofs import Look, Witness

R = TypeVar("R")

LISTING_FROM = 300
"""CIDs from which one listing of everything that the target has pinned is cheaper than asking about each."""

HOPELESS = frozenset({Reason.REFUSED, Reason.NOT_ALLOWED, Reason.NODE_FULL})
IN_A_ROW = 32
"""After so many of these, and no success between them, the target is given up for this run."""

_TICK = 0.25
"""Seconds after which progress is told where nothing happens."""


class Carries(Protocol):
    """Gets the bytes to a target: `carrying.Carrier`."""

    @property
    def target(self) -> Target:
        """Where to."""

    @property
    def at_once(self) -> int:
        """How many calls at the same time are worth it."""

    def take(self, waiting: deque[Item]) -> list[Item]:
        """Remove from `waiting` what goes in one call."""

    def carry(self, items: Sequence[Item]) -> Carried:
        """Have the target pin `items`. Never raises for what a node answers."""


class Clean(Protocol):
    """Deletes what is proved: `cleaning.Cleaner`."""

    def patience(self, items: Sequence[Item]) -> Mapping[str, float]:
        """For items that were proved just now: in how many seconds each may be looked at for the second time."""

    def forget(self, items: Sequence[Item]) -> None:
        """The target was just seen not to hold these: their first look, if there was one, counts no more."""

    def clean(self, items: Sequence[Item]) -> Cleaned:
        """Take the second look, and delete. Raises only what is wrong with our own disk."""

    def finish(self) -> Cleaned:
        """Write down what is done and not yet written."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How to migrate.

    Args:
        concurrency: pins at once.
        wait: wait for second looks that a later run would take otherwise.
        told: called in the migrating thread after each step.
        proved: called likewise with each item that is proved, and the look that did.
    """

    concurrency: int = 16
    wait: bool = False
    told: Callable[[Tally], None] = lambda _: None
    proved: Callable[[Item, Look], None] = lambda _item, _look: None


class Migration:
    """One run.

    Args:
        carrier: gets the bytes to the target.
        witness: the same target, asked for proof.
        cleaner: None where nothing is to be deleted.
        plan: how.
    """

    def __init__(self, carrier: Carries, witness: Witness, cleaner: Clean | None, plan: Plan) -> None:
        self._carrier, self._witness, self._cleaner, self._plan = carrier, witness, cleaner, plan
        self._inbox: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._stop = threading.Event()
        self._later: list[tuple[float, Item]] = []
        self._in_a_row = 0
        self.tally = Tally()

    def stop(self) -> None:
        """Start nothing new, and end when what is in flight has ended. May be called from a signal handler."""
        self._stop.set()

    def run(self, items: Collection[Item]) -> Tally:
        """Migrate `items`. Raises only what is wrong with our own disk."""
        self.tally.total = len(items)
        self.tally.mb = sum(item.size_mb or 0.0 for item in items)
        there = listing(self._carrier.target, items)
        source = iter(items)
        with ExitStack() as stack:
            self._build(stack)
            while self._step(source, there):
                self._hear()
                self._plan.told(self.tally)
        if self._cleaner is not None:
            self._after_cleaning([], self._cleaner.finish())
        self.tally.later |= {item.cid for _, item in self._later}
        self.tally.stopped = self._stop.is_set() and not self.tally.gave_up
        self._plan.told(self.tally)
        return self.tally

    def _build(self, stack: ExitStack) -> None:
        def stage(work: Work[R]) -> Stage[R]:
            return stack.enter_context(closing(Stage(work, self._inbox)))

        pins, take = min(self._plan.concurrency, self._carrier.at_once), self._carrier.take
        self._ask = stage(Work(name="ask", do=self._asked, after=self._after_asking, at_once=2, group=BATCH))
        self._pin = stage(Work(name="pin", do=self._carrier.carry, after=self._after_pinning, at_once=pins, take=take))
        self._prove = stage(Work(name="prove", do=self._looked, after=self._after_proving, at_once=2, group=BATCH))
        self._clean = stage(Work(name="clean", do=self._cleaned, after=self._after_cleaning, at_once=1, group=BATCH))

    def _step(self, source: Iterator[Item], there: set[str] | None) -> bool:
        """Start what may run now; whether anything is still to be waited for."""
        if self._stop.is_set():
            self._ask.waiting.clear()
            self._pin.waiting.clear()
        else:
            self._feed(source, there)
        self._again()
        self._ask.start()
        self._pin.start()
        self._prove.start(flush=not (self._ask.busy or self._pin.busy))
        self._clean.start(flush=not (self._ask.busy or self._pin.busy or self._prove.busy))
        waits = self._plan.wait and bool(self._later) and not self._stop.is_set()
        return waits or any(stage.busy for stage in (self._ask, self._pin, self._prove, self._clean))

    def _hear(self) -> None:
        """What the stages have posted; a tick where they have posted nothing."""
        try:
            self._inbox.get(timeout=_TICK)()
            while True:
                self._inbox.get_nowait()()
        except Empty:
            return

    def _feed(self, source: Iterator[Item], there: set[str] | None) -> None:
        if there is None:
            if len(self._pin.waiting) + len(self._ask.waiting) < 4 * BATCH:
                self._ask.add(islice(source, BATCH))
        elif len(self._pin.waiting) < 8 * BATCH and len(self._prove.waiting) < 8 * BATCH:
            for item in islice(source, BATCH):
                self._found(item, there=item.cid in there)

    def _found(self, item: Item, *, there: bool) -> None:
        self.tally.there += there
        if not there and self._cleaner is not None:
            self._cleaner.forget([item])
        (self._prove if there else self._pin).add([item])

    def _asked(self, items: list[Item]) -> Mapping[str, Told]:
        return self._witness.node.pinned([item.cid for item in items])

    def _after_asking(self, items: list[Item], told: Mapping[str, Told]) -> None:
        for item in items:
            answer = told[item.cid]
            if answer.answer is Answer.UNKNOWN:
                self._failed(item, answer.reason, answer.detail)
            else:
                self._found(item, there=answer.yes)

    def _after_pinning(self, items: list[Item], carried: Carried) -> None:
        for item in items:
            error = carried[item.cid]
            if error is not None:
                self._failed(item, error.reason if isinstance(error, NodeError) else "refused by us", str(error))
                continue
            self._in_a_row = 0
            self.tally.pinned += 1
            self.tally.pinned_mb += item.size_mb or 0.0
            self._prove.add([item])

    def _looked(self, items: list[Item]) -> dict[str, Look]:
        return self._witness.look([item.cid for item in items])

    def _after_proving(self, items: list[Item], looks: Mapping[str, Look]) -> None:
        proved = [item for item in items if looks[item.cid].proof]
        for item in items:
            look = looks[item.cid]
            if look.proof is None:
                self._failed(item, look.reason, look.detail)
                continue
            self.tally.proofs[item.cid] = look.proof
            self.tally.proved_mb += item.size_mb or 0.0
            self._plan.proved(item, look)
        if self._cleaner is not None:
            self._cleaner.forget([item for item in items if looks[item.cid].proof is None])
            self._hand_over(proved, looks)

    def _hand_over(self, items: list[Item], looks: Mapping[str, Look]) -> None:
        """To cleaning: at once, or when the second look may be taken, or not at all."""
        enough = [item for item in items if looks[item.cid].enough]
        for item in items:
            if not looks[item.cid].enough:
                self.tally.failed(item, "held", looks[item.cid].detail)
        patience = self._cleaner.patience(enough) if self._cleaner else {}
        for item in enough:
            seconds = patience.get(item.cid, 0.0)
            if seconds > 0:
                self._later.append((time.monotonic() + seconds, item))
            else:
                self._clean.add([item])

    def _again(self) -> None:
        """Those whose time for the second look has come."""
        now = time.monotonic()
        due = [item for at, item in self._later if at <= now]
        if due:
            self._later = [(at, item) for at, item in self._later if at > now]
            self._clean.add(due)

    def _cleaned(self, items: list[Item]) -> Cleaned | None:
        return self._cleaner.clean(items) if self._cleaner else None

    def _after_cleaning(self, _: list[Item], cleaned: Cleaned | None) -> None:
        if cleaned is None:
            return
        self.tally.cleaned_lines += cleaned.lines
        self.tally.released += cleaned.released
        self.tally.kept.update(cleaned.kept)
        for item, reason, detail in cleaned.failed:
            self.tally.failed(item, reason, detail)

    def _failed(self, item: Item, reason: Reason | str | None, detail: str) -> None:
        self.tally.failed(item, reason, detail)
        self._in_a_row = self._in_a_row + 1 if reason in HOPELESS else 0
        if self._in_a_row >= IN_A_ROW and not self.tally.gave_up:
            self.tally.gave_up = detail
            self._stop.set()


def listing(target: Target, items: Collection[Item]) -> set[str] | None:
    """The CIDs of `items` that the target has, where one listing is cheaper than asking; None to ask."""
    if not isinstance(target, KuboNode) or len(items) < LISTING_FROM:
        return None
    try:
        return listed_pins(target, {item.cid for item in items})
    except NodeError as error:
        logger.debug("{}", error)
        return None
