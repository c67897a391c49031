"""How a target is reached before anything is carried: who it is, whether it can fetch from us, and what follows."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

from loguru import logger

from encoder_hookspecs.events import Reason
from encoder_pin_plugin.archive.carrying import Carrier, Meeting, Transfer
from encoder_pin_plugin.errors import InvalidSettings, NodeError
from encoder_pin_plugin.nodes.apart import one_address
from encoder_pin_plugin.nodes.cluster import ClusterNode
from encoder_pin_plugin.nodes.cluster_peers import kubo_nodes
from encoder_pin_plugin.nodes.kubo import KuboNode
from encoder_pin_plugin.nodes.kubo_transfer import id_addresses, peer_id, swarm_connect
from encoder_pin_plugin.nodes.pinning_service import PinningService

if TYPE_CHECKING:
    from collections.abc import Sequence

    from encoder_pin_plugin.archive.target import Target
    from encoder_pin_plugin.nodes.base import Limits
    from encoder_pin_plugin.nodes.pinning_service import Dial

SECONDS = 20.0
"""In which dials to introduce nodes to each other are begun; an address that nobody answers at costs some of them."""

MOST_ADDRESSES = 6


def choose(target: Target, local: KuboNode | None, transfer: Transfer, limits: Limits) -> Carrier:
    """A carrier that does what `transfer` says; AUTO pulls where the nodes can meet, else pushes.

    Raises:
        InvalidSettings: the target is the local node, or cannot do what was asked for.
    """
    if local is not None:
        refuse_itself(target, local)
    if transfer is Transfer.PUSH and isinstance(target, PinningService):
        raise InvalidSettings("a pinning service takes no CARs: say --transfer pull, or leave it out")
    if isinstance(target, KuboNode):
        return _to_kubo(target, local, transfer, limits)
    if isinstance(target, ClusterNode) and local is not None:
        _meet_cluster(target, local)
    return Carrier(
        target=target,
        local=local,
        transfer=Transfer.PUSH if transfer is Transfer.PUSH else Transfer.PULL,
        switch=transfer is Transfer.AUTO and local is not None and isinstance(target, ClusterNode),
        limits=limits,
        origins=_public_first(_addresses(local)) if local else (),
    )


def _to_kubo(target: KuboNode, local: KuboNode | None, transfer: Transfer, limits: Limits) -> Carrier:
    meets = transfer is not Transfer.PUSH and local is not None and introduce(target, local)
    either = transfer is Transfer.AUTO and local is not None
    push = transfer is Transfer.PUSH or (either and not meets)
    return Carrier(
        target=target,
        local=local,
        transfer=Transfer.PUSH if push else Transfer.PULL,
        switch=either,
        limits=limits,
        meeting=Meeting(lambda: introduce(target, local)) if meets and local else None,
    )


def refuse_itself(target: Target, local: KuboNode) -> None:
    """Raise InvalidSettings where the target is the local node, or may be: cleaning would then delete the only copy."""
    if isinstance(target, PinningService):
        return
    if isinstance(target, ClusterNode):
        refuse_member(target, local)
        return
    if one_address(target, local) or _are_one(target, local):
        raise InvalidSettings(
            f"the target {target.address} is the encoder's own node (IPFS_API_ADDR {local.address}): a migration"
            " needs another one; write the permanent server's address after --to"
        )


def refuse_member(target: ClusterNode, local: KuboNode) -> None:
    """Raise InvalidSettings where the local node is one of the cluster's: its pins are copies that the cluster counts.
    Raises NodeError where the cluster does not tell."""
    ours = _peer_id(local)
    if ours and ours in {kubo.peer_id for kubo in kubo_nodes(target)}:
        raise InvalidSettings(
            f"the encoder's own node ({local.address}) is one of the nodes of the cluster {target.address}: what it"
            " pins is a copy that the cluster counts, and there is nothing to migrate; migrate to another target"
        )


def dial_with(local: KuboNode) -> Dial:
    """Connects the local node to addresses that a pinning service names, so that it finds the content."""

    def dial(addresses: Sequence[str]) -> None:
        end = time.monotonic() + SECONDS
        for address in addresses[:MOST_ADDRESSES]:
            if time.monotonic() > end:
                return
            with suppress(NodeError):
                swarm_connect(local, address)

    return dial


def _meet_cluster(target: ClusterNode, local: KuboNode) -> None:
    """Connect the local node to the cluster's; what does not work is no failure."""
    end = time.monotonic() + SECONDS
    with suppress(NodeError):
        for kubo in kubo_nodes(target):
            for address in _order(kubo.addresses, near=target.on_this_machine or target.where.on_this_machine):
                if time.monotonic() > end:
                    return
                with suppress(NodeError):
                    swarm_connect(local, address)
                    break


def introduce(target: KuboNode, local: KuboNode) -> bool:
    """Connect the two nodes, whichever of them can dial the other; whether they are connected."""
    end = time.monotonic() + SECONDS
    for dialler, other in ((target, local), (local, target)):
        for address in _order(_addresses(other), near=target.on_this_machine and local.on_this_machine):
            if time.monotonic() > end:
                return False
            try:
                swarm_connect(dialler, address)
            except NodeError as error:
                logger.debug("{}", error)
                if error.reason is Reason.NOT_ALLOWED:
                    break
            else:
                return True
    return False


def _addresses(node: KuboNode) -> tuple[str, ...]:
    try:
        return id_addresses(node)
    except NodeError as error:
        logger.debug("{}", error)
        return ()


def _are_one(target: KuboNode, local: KuboNode) -> bool:
    theirs, ours = _peer_id(target), _peer_id(local)
    return theirs == ours != ""


def _peer_id(node: KuboNode) -> str:
    """Empty where it cannot be reached now. Raises InvalidSettings where it answers and does not say."""
    try:
        return peer_id(node)
    except NodeError as error:
        if error.reason not in (Reason.NOT_ALLOWED, Reason.BAD_REPLY):
            return ""
        raise InvalidSettings(
            f"{node.address} does not say who it is, and where that is not known, a target cannot be told from the"
            " encoder's own node, whose pins are the only copy: allow the call /api/v0/id there"
        ) from error


def _order(addresses: tuple[str, ...], *, near: bool) -> list[str]:
    """Those worth dialling, the likeliest first: plain TCP before more, and loopback first on one machine, and only
    there; the others too, because a tunnel that begins on loopback looks like a node there."""
    chosen = addresses if near else [address for address in addresses if not _is_loopback(address)] or addresses
    return sorted(chosen, key=lambda address: (not _is_plain_tcp(address), not _is_loopback(address)))[:MOST_ADDRESSES]


def _is_plain_tcp(address: str) -> bool:
    return "/tcp/" in address and "/ws" not in address


def _public_first(addresses: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted(addresses, key=lambda address: (_is_loopback(address), _is_private(address))))


def _is_loopback(address: str) -> bool:
    return address.startswith(("/ip4/127.", "/ip6/::1/"))


def _is_private(address: str) -> bool:
    return address.startswith(("/ip4/10.", "/ip4/192.168.", "/ip4/172.", "/ip4/100.", "/ip6/f"))
