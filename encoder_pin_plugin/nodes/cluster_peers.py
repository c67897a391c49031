"""Which Kubo nodes stand behind a cluster: their peer ids, and where others reach them.

A migration needs to know both: to let the nodes meet, and because the encoder's own node may be one of them. Then its
pins are the cluster's copies, and nothing may be unpinned there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from encoder_pin_plugin.nodes.cluster import ClusterNode

SECONDS = 60.0
"""A peer asks all others; a dead one makes it wait."""


@dataclass(frozen=True, kw_only=True)
class PeerKubo:
    """The Kubo node of one peer: its id, empty where the peer could not tell, and its multiaddrs."""

    peer_id: str
    addresses: tuple[str, ...]


def kubo_nodes(cluster: ClusterNode) -> tuple[PeerKubo, ...]:
    """The Kubo node of every peer that the cluster knows. Raises NodeError."""
    reply = cluster.wire.http.call("GET", "/peers", seconds=SECONDS)
    return tuple(_kubo(row.get("ipfs")) for row in reply.lines())


def _kubo(row: object) -> PeerKubo:
    peer_id, addresses = (row.get("id"), row.get("addresses")) if isinstance(row, dict) else ("", ())
    texts = addresses if isinstance(addresses, list) else ()
    return PeerKubo(
        peer_id=peer_id if isinstance(peer_id, str) else "",
        addresses=tuple(text for text in texts if isinstance(text, str) and "/p2p/" in text),
    )
