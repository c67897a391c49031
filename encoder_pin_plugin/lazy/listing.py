"""Which jobs need no question of their own before they are pinned, because the supernode's pins were just listed.

Asking before adding is a must (see `attempt`), and each question that is answered by no costs a call: while thousands
of jobs are pinned, a sixth of the supernode's time. So after many such answers within a few seconds a Kubo node's pins
are listed once, and for some seconds the listing stands for the question, for jobs that were never tried: what a former
attempt may have left under way is always asked about. A pin that somebody else makes meanwhile may be walked again by
ours. Where that walk fails, its CID is still a job of ours, which goes on until the content is proved to be pinned.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from loguru import logger

from encoder_pin_plugin.errors import NodeError
from encoder_pin_plugin.nodes.kubo import KuboNode
from encoder_pin_plugin.nodes.kubo_listing import every_pin

if TYPE_CHECKING:
    from encoder_pin_plugin.clock import Clock
    from encoder_pin_plugin.lazy.pins import LazyPin
    from encoder_pin_plugin.nodes.base import PinNode

FRESH = 10.0
"""Seconds for which a listing stands, and within which questions are counted."""

ENOUGH = 200
"""Questions answered by no for which a listing is made: they cost what a listing of 20,000 pins costs."""

AT_MOST = 20_000
"""Pins of a node that is listed."""

TOO_LONG = 3.0
"""Seconds in which a node has to list them."""

LATER = 600.0
"""Seconds until a node with too many pins, or one that refuses, is asked to list them again."""


class Listing:
    """The supernode's pins, where they are listed. Used by many threads.

    Args:
        node: the supernode; one that is no Kubo node is never listed.
        clock: the time.
    """

    def __init__(self, node: PinNode, clock: Clock) -> None:
        self._node = node
        self._clock = clock
        self._lock = threading.Lock()
        self._pins: set[str] | None = None
        self._meanwhile: set[str] | None = None  # what is pinned while a listing is under way
        self._until = self._not_before = self._since = clock.steady()
        self._answers = 0

    def lacks(self, pin: LazyPin) -> bool:
        """Whether the supernode surely has no pin of a job's CID; False where it has to be asked."""
        with self._lock:
            if self._pins is None:
                return False
            if self._clock.steady() >= self._until:
                self._pins = None
                return False
            return pin.tries == 0 and pin.job.cid not in self._pins

    def has(self, cid: str) -> None:
        """The supernode says that it has pinned a CID, which a listing may not show."""
        with self._lock:
            for pins in (self._pins, self._meanwhile):
                if pins is not None:
                    pins.add(cid)

    def answered_no(self) -> None:
        """The supernode was asked about a CID, and has it not: after many of these, its pins are listed."""
        if isinstance(self._node, KuboNode) and self._pays():
            self._make(self._node)

    def _pays(self) -> bool:
        """Whether it is time for a listing; True for one thread only."""
        with self._lock:
            now = self._clock.steady()
            if now - self._since > FRESH:
                self._since, self._answers = now, 0
            self._answers += 1
            if self._answers < ENOUGH or now < self._not_before:
                return False
            self._answers, self._not_before = 0, now + LATER
            self._pins, self._meanwhile = None, set()
            return True

    def _make(self, node: KuboNode) -> None:
        until, pins = self._clock.steady() + FRESH, None
        try:
            pins = self._ask(node)
        finally:
            self._settle(pins, until)

    def _settle(self, pins: set[str] | None, until: float) -> None:
        with self._lock:
            meanwhile, self._meanwhile = self._meanwhile, None
            if pins is not None:
                self._pins = pins | (meanwhile or set())
                self._until = self._not_before = until

    def _ask(self, node: KuboNode) -> set[str] | None:
        try:
            pins = every_pin(node, at_most=AT_MOST, seconds=TOO_LONG)
        except NodeError as error:
            logger.debug("each job is asked about by itself: {}", error)
            return None
        if pins is None:
            logger.debug("each job is asked about by itself: {} lists no pins, or too many", node.address)
        return pins
