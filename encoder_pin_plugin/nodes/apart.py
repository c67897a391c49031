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
    from collections.abc import Sequence

    from encoder_pin_plugin.nodes.base import PinNode

STANDS = 600.0
"""Seconds for which it stands that two nodes are two: a name may lead elsewhere one day, and a cluster takes peers."""


def are_one(other: PinNode, local: PinNode) -> bool:
    """Whether a pin on `local` is a copy that `other` answers with. Raises NodeError where that cannot be told now."""
    if not isinstance(local, KuboNode):
        return False
    if isinstance(other, ClusterNode):
        return peer_id(local) in {kubo.peer_id for kubo in kubo_nodes(other)}
    return isinstance(other, KuboNode) and (one_address(other, local) or peer_id(other) == peer_id(local))


class Apart:
    """Whether what the supernode holds is another copy than the local node's pin; where it never is, that is said, now
    and every hour.

    Args:
        supernode: which proves what it holds.
        local: where is deleted what the supernode has proved.
    """

    def __init__(self, supernode: PinNode, local: PinNode) -> None:
        self._supernode, self._local = supernode, local
        self._alarms, self._lock = Alarms(SystemClock()), threading.Lock()
        self._until = 0.0

    def elsewhere(self, cids: Sequence[str]) -> list[str]:
        """Those of which a pin on the local node is none of the supernode's copies. Raises NodeError where that cannot
        be told now."""
        supernode, local = self._supernode, self._local
        try:
            if isinstance(supernode, ClusterNode) and isinstance(local, KuboNode):
                return self._not_on_ours(local, supernode, cids)
            return list(cids) if self._are_two() else []
        except NodeError as error:
            if error.reason in (Reason.NOT_ALLOWED, Reason.BAD_REPLY):  # it will not pass by itself
                text = f"that {local.address} is not the supernode {supernode.address} itself cannot be told ({error})"
                self._alarms.begin("one node", f"{text}: no local copy is released until that call is allowed")
            raise

    def _not_on_ours(self, local: KuboNode, cluster: ClusterNode, cids: Sequence[str]) -> list[str]:
        found = _not_on(peer_id(local), cluster, cids)
        self._alarms.end("one node", f"{local.address} and {cluster.address} say who they are")
        return found

    def _are_two(self) -> bool:
        with self._lock:
            if time.monotonic() >= self._until:
                local, supernode = self._local.address, self._supernode.address
                if are_one(self._supernode, self._local):
                    text = f"the local node {local} is the supernode {supernode} itself: a pin there is its own copy"
                    self._alarms.begin("one node", f"{text}, and none is released")
                    return False
                self._alarms.end("one node", f"{local} and {supernode} are two nodes")
                self._until = time.monotonic() + STANDS
            return True


def _not_on(kubo: str, cluster: ClusterNode, cids: Sequence[str]) -> list[str]:
    """Those that none of the peers in front of this Kubo node is to hold."""
    places = cluster.places(cids)
    return [cid for cid in cids if not places[cid] & {kubo, ""}]


def one_address(other: KuboNode, local: KuboNode) -> bool:
    """Whether both are reached in one way: two nodes may stand behind one proxy, or at two sockets."""
    one, two = other.where, local.where
    return (one.unix_path, one.url, one.prefix) == (two.unix_path, two.url, two.prefix)
