"""Getting a DAG's bytes from one Kubo node to another: have them meet, have one fetch, or carry the blocks ourselves.

Kept apart from `PinNode`: only Kubo has these calls, and only a migration or an audit needs them.
"""

from __future__ import annotations

import math
from contextlib import closing
from typing import TYPE_CHECKING, Any

from encoder_hookspecs.events import Reason
from encoder_pin_plugin.errors import NodeError
from encoder_pin_plugin.nodes.cid import parse_cid
from encoder_pin_plugin.nodes.kubo_errors import OddReply
from encoder_pin_plugin.nodes.kubo_wire import call_directly

if TYPE_CHECKING:
    from collections.abc import Iterator

    from encoder_pin_plugin.nodes.base import Limits
    from encoder_pin_plugin.nodes.kubo import KuboNode

CONNECT_SECONDS = 15.0
"""For one dial: a node that is there answers within two or three, from the other side of the world."""


def id_addresses(node: KuboNode) -> tuple[str, ...]:
    """The multiaddrs at which other nodes reach this one, with its peer id; empty for an offline node.

    Raises:
        NodeError: the node did not tell.
    """
    return node.wire.ask("id", lambda kubo: _addresses(kubo.id().as_json()), seconds=node.patience.ask)


def peer_id(node: KuboNode) -> str:
    """The node's peer id.

    Raises:
        NodeError: the node did not tell; `Reason.BAD_REPLY` where it answers, and names none.
    """
    return node.wire.ask("id", lambda kubo: _peer_id(kubo.id().as_json()), seconds=node.patience.ask)


def swarm_connect(node: KuboNode, peer: str) -> None:
    """Have the node connect to a peer (a multiaddr that ends in /p2p/ID), so that each gets the other's blocks.

    It means "connected to that peer", not "by that address" (ipfs/kubo#3658), and an idle connection may be dropped
    later: connect while a pin is waiting.

    Raises:
        NodeError: they did not connect, or the node did not say so.
    """
    if "/p2p/" not in peer or not peer.startswith("/"):
        raise NodeError(f"{node.address} swarm/connect: {peer[:200]!a} names no peer (/…/p2p/ID)", Reason.REFUSED)
    node.wire.ask(
        f"swarm/connect to {peer}",
        lambda kubo: _check_connected(call_directly(kubo, "swarm/connect", (peer,), {})),
        seconds=CONNECT_SECONDS,
    )


def fetch_missing(node: KuboNode, cid: str, *, seconds: float) -> None:
    """Have the node walk the whole DAG of `cid`, which it has pinned, fetching the blocks that it lost. A claim, to be
    proved by `whole`.

    A second `pin/add` would drop the pin where its walk fails (seen on 0.43), and with it what keeps the remaining
    blocks from being collected. `dag/stat`, which may fetch, leaves the pin alone.

    Raises:
        NodeError: it did not get to the end within `seconds`.
    """
    options = {"progress": "false", "timeout": f"{math.ceil(seconds)}s"}
    node.wire.ask(
        f"dag/stat of {cid}", lambda kubo: call_directly(kubo, "dag/stat", (cid,), options), seconds=seconds + 5
    )


def export_car(node: KuboNode, cid: str, *, limits: Limits) -> Iterator[bytes]:
    """The DAG as a CAR (v1), in pieces of at most 64 KiB, without fetching what the node has not.

    Close the iterator to hang up. Kubo says in a trailer alone that a block was missing and the CAR is short; behind a
    proxy that drops trailers nobody says it, so ask the receiving node whether it is `whole`.

    Raises:
        NodeError: while iterating; `Reason.CONTENT_MISSING` where the node lacks a block.
    """
    wanted = parse_cid(cid)
    options = {"offline": "true", "progress": "false"}
    pieces = node.wire.stream(
        f"dag/export of {wanted}",
        lambda kubo: kubo._client.request("dag/export", (wanted.text,), opts=options, stream=True),  # noqa: SLF001
        seconds=limits.total,
        silence=limits.stall,
        lines=False,
    )
    with closing(pieces):
        yield from pieces


def _addresses(reply: Any) -> tuple[str, ...]:
    addresses = reply.get("Addresses") if isinstance(reply, dict) else 0
    if addresses is None:
        return ()
    if not isinstance(addresses, list) or not all(isinstance(address, str) for address in addresses):
        raise OddReply("it has no list of 'Addresses'")
    return tuple(addresses)


def _peer_id(reply: Any) -> str:
    peer = reply.get("ID") if isinstance(reply, dict) else None
    if not isinstance(peer, str) or not peer:
        raise OddReply("it has no 'ID'")
    return peer


def _check_connected(reply: Any) -> None:
    words = reply.get("Strings") if isinstance(reply, dict) else None
    if not isinstance(words, list) or not any(isinstance(word, str) and word.endswith(" success") for word in words):
        raise OddReply("it does not say that they connected")
