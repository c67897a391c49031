"""Many CIDs at once through a Cluster: accepted one by one, then waited for together, by one question about all.

A cluster pins ten at a time by itself and takes a millisecond to accept; waiting for each on its own would leave it
idle between two of our questions.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from encoder_pin_plugin.errors import EncoderPinError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from encoder_pin_plugin.archive.target import Carried
    from encoder_pin_plugin.archive.waiting import Item
    from encoder_pin_plugin.nodes.base import Limits
    from encoder_pin_plugin.nodes.cluster import ClusterNode

GROUP = 50
"""CIDs in one group."""

TOGETHER = 10.0
"""Seconds without one more of the group being pinned; then each that is left is followed on its own, which can tell
that nothing gets on and has Cluster try again."""

FOLLOWED_AT_ONCE = 16
"""How many of those that are left are followed at the same time."""

_PAUSE = 0.3
"""Seconds between two questions: each makes the peer ask all others about all CIDs of the group."""


def carry_together(
    target: ClusterNode, items: Sequence[Item], hand_over: Callable[[Item], object], *, limits: Limits
) -> Carried:
    """Hand each item over, and wait until all are pinned. Never raises for what a node answers.

    Args:
        target: the cluster.
        items: what to pin.
        hand_over: has the cluster accept one item, with its bytes or with where they are.
        limits: of each CID that has to be followed on its own.
    """
    carried: Carried = {}
    for item in items:
        carried[item.cid] = tried(lambda item=item: hand_over(item))  # type: ignore[misc]  # mypy: a default in a lambda
    accepted = [item.cid for item in items if carried[item.cid] is None]
    left = _left(target, accepted)
    with ThreadPoolExecutor(FOLLOWED_AT_ONCE) as pool:  # a dead peer makes each of them wait for its whole limit
        carried |= pool.map(lambda cid: (cid, tried(lambda: target.pin(cid, limits=limits))), left)
    return carried


def _left(target: ClusterNode, cids: Sequence[str]) -> list[str]:
    """Those that are not pinned when nothing has happened for a while."""
    left, moved = list(cids), time.monotonic()
    while left and time.monotonic() - moved < TOGETHER:
        time.sleep(_PAUSE)
        told = target.pinned(left)
        still = [cid for cid in left if not told[cid].yes]
        if len(still) < len(left):
            left, moved = still, time.monotonic()
    return left


def tried(call: Callable[[], object]) -> EncoderPinError | None:
    """What went wrong with a call, None where nothing did."""
    try:
        call()
    except EncoderPinError as error:
        return error
    return None
