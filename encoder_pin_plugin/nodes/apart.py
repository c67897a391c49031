"""Whether another node is really another one: what is deleted here because the other has it must not be its copy too.

One Kubo node may be reached by two addresses, and the encoder's own may be one of those behind a cluster. It then says
truly that it holds everything, once more under the other name, and an unpin here takes the only pin there is.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from encoder_hookspecs.events import Reason
from encoder_pin_plugin.alarms import Alarms
from encoder_pin_plugin.clock import SystemClock
from encoder_pin_plugin.errors import NodeError
from encoder_pin_plugin.nodes.cluster import ClusterNode
from encoder_pin_plugin.nodes.cluster_peers import kubo_nodes
from encoder_pin_plugin.nodes.kubo import KuboNode
from encoder_pin_plugin.nodes.kubo_transfer import peer_id

if TYPE_CHECKING:
    from encoder_pin_plugin.nodes.base import PinNode

STANDS = 600.0
"""Seconds for which it stands that two nodes are two: a name may lead elsewhere one day, and a cluster takes peers."""


def are_one(other: PinNode, local: PinNode) -> bool:
    """Whether a pin on `local` is a copy that `other` answers with. Raises NodeError where that cannot be told now."""
    if not isinstance(local, KuboNode):
        return False
    if isinstance(other, ClusterNode):
        return peer_id(local) in {kubo.peer_id for kubo in kubo_nodes(other)}
    return isinstance(other, KuboNode) and (_one_address(other, local) or peer_id(other) == peer_id(local))


class Apart:
    """Whether the supernode and the local node are two; that they are one is said, now and every hour.

    Args:
        supernode: which proves what it holds.
        local: where is deleted what the supernode has proved.
    """

    def __init__(self, supernode: PinNode, local: PinNode) -> None:
        self._supernode, self._local = supernode, local
        self._alarms, self._lock = Alarms(SystemClock()), threading.Lock()
        self._until = 0.0

    def sure(self) -> bool:
        """Whether they are two for sure. Raises NodeError where that cannot be told now."""
        with self._lock:
            if time.monotonic() >= self._until:
                if self._one():
                    return False
                self._until = time.monotonic() + STANDS
            return True

    def _one(self) -> bool:
        local, supernode = self._local.address, self._supernode.address
        try:
            one = are_one(self._supernode, self._local)
        except NodeError as error:
            if error.reason in (Reason.NOT_ALLOWED, Reason.BAD_REPLY):  # it will not pass by itself
                text = f"that the local node {local} is not the supernode {supernode} itself cannot be told ({error})"
                self._alarms.begin("one node", f"{text}: no local copy is released until that call is allowed")
            raise
        if one:
            text = f"the local node {local} is the supernode {supernode} itself, or one of its nodes"
            self._alarms.begin("one node", f"{text}: a pin there is the supernode's own copy, and none is released")
        else:
            self._alarms.end("one node", f"{local} and {supernode} are two nodes")
        return one


def _one_address(other: KuboNode, local: KuboNode) -> bool:
    one, two = other.where, local.where
    return (one.unix_path, one.url, one.prefix) == (two.unix_path, two.url, two.prefix)
