"""Getting the bytes to a target: it fetches them (pull), or we stream them to it (push), or what works (auto).

Pulling is cheap for us and needs the target to reach us: so both nodes are introduced to each other, and Cluster and
pinning services are told where the content is. Pushing works from behind any NAT: CARs of the local node are streamed
through this process piece by piece, many small ones in one request.
"""

from __future__ import annotations

import enum
import threading
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from encoder_hookspecs.events import Reason
from encoder_pin_plugin.archive.cluster_group import GROUP, carry_together, tried
from encoder_pin_plugin.errors import EncoderPinError, NodeError
from encoder_pin_plugin.nodes.cluster import ClusterNode
from encoder_pin_plugin.nodes.kubo import KuboNode

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable, Sequence

    from encoder_pin_plugin.archive.target import Carried, Target
    from encoder_pin_plugin.archive.waiting import Item
    from encoder_pin_plugin.nodes.base import Limits

MEET_EVERY = 30.0
"""Seconds after which two nodes are introduced again: an idle connection may be dropped."""

CARS = 32
CARS_MB = 64.0
"""So many small CARs, and MB, go into one request."""

TOGETHER = 4
"""So many such requests at the same time; more only wait for each other in the target (measured)."""

UNKNOWN_MB = 8.0
"""What a CID of unknown size counts for."""

SWITCH_AFTER = 30.0
"""Seconds without progress after which a pull is tried as a push, where that is possible."""

STUCK = frozenset({Reason.STALLED, Reason.TIMEOUT, Reason.CONTENT_MISSING, Reason.CUT, Reason.NOT_ALLOWED})
"""A pull that ends like this may do better as a push, and the other way round."""


class Transfer(enum.StrEnum):
    """Who moves the bytes."""

    PULL = "pull"
    PUSH = "push"
    AUTO = "auto"


@dataclass(frozen=True, kw_only=True)
class Carrier:
    """Carries CIDs to one target.

    Args:
        target: where to.
        local: the node that has the content; None where nothing of the encoder can be reached.
        transfer: who moves the bytes; never AUTO, see `choose`.
        switch: whether what is stuck one way is tried the other way.
        limits: of one CID.
        meeting: introduces the nodes again now and then; None where that does not help.
        origins: where the content is, for targets that take such hints.
    """

    target: Target
    local: KuboNode | None
    transfer: Transfer
    switch: bool
    limits: Limits
    meeting: Meeting | None = None
    origins: tuple[str, ...] = ()

    @property
    def at_once(self) -> int:
        """So many calls at the same time are worth it: some carry many CIDs."""
        if isinstance(self.target, ClusterNode) or (
            self.transfer is Transfer.PUSH and isinstance(self.target, KuboNode)
        ):
            return TOGETHER
        return 1024

    def take(self, waiting: deque[Item]) -> list[Item]:
        """Remove from `waiting` what goes in one call."""
        if isinstance(self.target, ClusterNode):
            return [waiting.popleft() for _ in range(min(GROUP, len(waiting)))]
        group = [waiting.popleft()]
        if self.transfer is Transfer.PUSH and isinstance(self.target, KuboNode):
            mb = _mb(group[0])
            while waiting and len(group) < CARS and (mb := mb + _mb(waiting[0])) <= CARS_MB:
                group.append(waiting.popleft())
        return group

    def carry(self, items: Sequence[Item]) -> Carried:
        """Have the target pin `items`. Never raises for what a node answers."""
        ways = [self._pull_all, self._push_all]
        first, second = reversed(ways) if self.transfer is Transfer.PUSH else ways
        carried = first(items)
        stuck = [item for item in items if _is_stuck(carried[item.cid])] if self.switch else []
        for cid, error in (second(stuck) if stuck else {}).items():
            carried[cid] = _both(carried[cid], error)
        return carried

    def _pull_all(self, items: Sequence[Item]) -> Carried:
        if self.meeting is not None:
            self.meeting.again()
        limits = replace(self.limits, stall=min(self.limits.stall, SWITCH_AFTER)) if self.switch else self.limits
        target = self.target
        if isinstance(target, ClusterNode):
            origins = self.origins
            return carry_together(
                target,
                items,
                lambda item: target.submit(item.cid, meta=_meta(item), origins=origins),
                limits=limits,
            )
        return {item.cid: tried(lambda item=item: self._pull(item, limits)) for item in items}  # type: ignore[misc]

    def _pull(self, item: Item, limits: Limits) -> None:
        if isinstance(self.target, KuboNode):
            self.target.pin(item.cid, limits=limits)
        else:
            self.target.pin(item.cid, limits=limits, meta=_meta(item), origins=self.origins)

    def _push_all(self, items: Sequence[Item]) -> Carried:
        """Push what the local node has whole, in one request where the target takes that."""
        from encoder_pin_plugin.archive.pushing import push

        if self.local is None:
            words = "there is no node of ours to push from: say --transfer pull"
            return dict.fromkeys([item.cid for item in items], NodeError(words, Reason.CONTENT_MISSING))
        return push(self.target, self.local, items, limits=self.limits)


class Refusing:
    """Carries nothing: for cleaning what a report says is there, where a target that lacks it is a failure."""

    at_once = 1

    def __init__(self, target: Target) -> None:
        self.target = target

    def take(self, waiting: deque[Item]) -> list[Item]:
        """One by one."""
        return [waiting.popleft()]

    def carry(self, items: Sequence[Item]) -> Carried:
        """The target does not have them, whatever the report says."""
        words = f"{self.target.address} does not hold it, whatever the report says: migrate it again"
        return dict.fromkeys([item.cid for item in items], NodeError(words, Reason.UNPROVED))


class Meeting:
    """Keeps two Kubo nodes connected; what does not work is no failure, other nodes may have the content."""

    def __init__(self, introduce: Callable[[], bool]) -> None:
        self._introduce = introduce
        self._lock = threading.Lock()
        self._last = time.monotonic()

    def again(self) -> None:
        """Introduce them again if it is time, and nobody else is about to."""
        if time.monotonic() - self._last < MEET_EVERY or not self._lock.acquire(blocking=False):
            return
        try:
            self._last = time.monotonic()
            self._introduce()
        finally:
            self._lock.release()


def _is_stuck(error: EncoderPinError | None) -> bool:
    return isinstance(error, NodeError) and error.reason in STUCK


def _both(first: EncoderPinError | None, second: EncoderPinError | None) -> EncoderPinError | None:
    """What to say where neither way did it."""
    if second is None:
        return None
    reasons = [error.reason for error in (first, second) if isinstance(error, NodeError)]
    reason = Reason.CONTENT_MISSING if Reason.CONTENT_MISSING in reasons else reasons[-1]
    return NodeError(f"{second}; before that: {first}", reason)


def _meta(item: Item) -> dict[str, str]:
    return {"job_id": item.keys[0][1], "node_id": item.node_id} if item.keys else {}


def _mb(item: Item) -> float:
    return UNKNOWN_MB if item.size_mb is None else item.size_mb
