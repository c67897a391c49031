"""From where the bytes of a pin are read back, for the proof `retrieved`: a Kubo node itself; a Cluster through the
Kubo node of a peer or a gateway; a pinning service through a gateway."""

from __future__ import annotations

from typing import TYPE_CHECKING

from encoder_hookspecs.events import Reason
from encoder_pin_plugin.errors import InvalidSettings, NodeError
from encoder_pin_plugin.nodes.car import read_back
from encoder_pin_plugin.nodes.cluster import ClusterNode
from encoder_pin_plugin.nodes.gateway import Gateway
from encoder_pin_plugin.nodes.kubo import KuboNode

if TYPE_CHECKING:
    from collections.abc import Callable

    from encoder_pin_plugin.nodes.base import Limits
    from encoder_pin_plugin.nodes.pinning_service import PinningService


def reader_of(
    target: KuboNode | ClusterNode | PinningService, *, gateway: str, limits: Limits
) -> Callable[[str], object]:
    """What reads a CID back, whole, and raises NodeError where that does not succeed.

    Raises:
        InvalidSettings: there is nothing to read from; the message says which option to add.
    """
    if isinstance(target, KuboNode):
        if gateway:
            raise InvalidSettings("--gateway with a Kubo node, which is read from itself: leave --gateway out")
        return lambda cid: read_back(target, cid, limits=limits)
    if gateway:
        through = Gateway(gateway)
        return lambda cid: through.read_back(cid, limits=limits)
    if not isinstance(target, ClusterNode):
        raise InvalidSettings(
            "--proof retrieved: a pinning service gives nothing back by itself; add --gateway URL, its own gateway"
        )
    if not target.knows_kubo:
        raise InvalidSettings(
            "--proof retrieved: the cluster itself gives nothing back; name its peers' Kubo nodes in the target"
            " (?peer=NAME@http://HOST:5001), or add --gateway URL, the gateway of one of them"
        )
    return lambda cid: from_a_peer(target, cid, limits=limits)


def from_a_peer(cluster: ClusterNode, cid: str, *, limits: Limits) -> int:
    """Read from the first Kubo node that gives it whole, of those whose peers say `pinned`; its number of blocks.
    Raises NodeError: the last one's, where none does."""
    failed = NodeError(
        f"{cluster.address}: no peer that holds {cid} has its Kubo node named in the target (peer=NAME@URL)",
        Reason.UNPROVED,
    )
    for node in cluster.holders(cid):
        if isinstance(node, KuboNode):
            try:
                return read_back(node, cid, limits=limits)
            except NodeError as error:
                failed = error
    raise failed
