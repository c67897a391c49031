"""Pushing: CARs streamed from the local node into a target, whatever their size, with a few pieces in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from encoder_hookspecs.events import Reason
from encoder_pin_plugin.archive.cluster_group import carry_together
from encoder_pin_plugin.errors import EncoderPinError, NodeError
from encoder_pin_plugin.nodes.cluster import ClusterNode
from encoder_pin_plugin.nodes.kubo import KuboNode
from encoder_pin_plugin.nodes.kubo_import import import_cars
from encoder_pin_plugin.nodes.kubo_transfer import export_car

if TYPE_CHECKING:
    from collections.abc import Sequence

    from encoder_pin_plugin.archive.target import Carried, Target
    from encoder_pin_plugin.archive.waiting import Item
    from encoder_pin_plugin.nodes.base import Limits


def push(target: Target, local: KuboNode, items: Sequence[Item], *, limits: Limits) -> Carried:
    """Send `items`; those that the local node has not whole are left out. Never raises for what a node answers."""
    carried: Carried = {}
    whole = local.whole([item.cid for item in items])
    for item in items:
        told = whole[item.cid]
        if not told.yes:
            words = f"{local.address}, the encoder's own node, does not have all of it either ({told.detail})"
            carried[item.cid] = NodeError(words, told.reason or Reason.CONTENT_MISSING)
    sent = [item for item in items if item.cid not in carried]
    return carried | (_send(target, local, sent, limits) if sent else {})


def _send(target: Target, local: KuboNode, items: Sequence[Item], limits: Limits) -> Carried:
    cids = [item.cid for item in items]
    if isinstance(target, KuboNode):
        return _import(target, local, cids, limits)
    if not isinstance(target, ClusterNode):
        words = f"nothing can be pushed to {target.address}, a pinning service: say --transfer pull"
        return dict.fromkeys(cids, NodeError(words, Reason.NOT_ALLOWED))
    return carry_together(
        target,
        items,
        lambda item: target.push_car(item.cid, export_car(local, item.cid, limits=limits), limits=limits),
        limits=limits,
    )


def _import(target: KuboNode, local: KuboNode, cids: Sequence[str], limits: Limits) -> Carried:
    """All in one request; where that fails, each in one of its own, so that one bad CID costs no other."""
    try:
        said = import_cars(target, ((cid, export_car(local, cid, limits=limits)) for cid in cids), limits=limits)
    except NodeError as error:
        if len(cids) == 1 or error.reason in (Reason.REFUSED, Reason.NOT_ALLOWED):
            return dict.fromkeys(cids, error)
        carried: Carried = {}
        for cid in cids:
            carried |= _import(target, local, [cid], limits)
        return carried
    return {cid: _judged(target, cid, said.get(cid)) for cid in cids}


def _judged(target: KuboNode, cid: str, words: str | None) -> EncoderPinError | None:
    if words == "":
        return None
    what = "said nothing about it" if words is None else f"took the blocks, but did not pin: {words}"
    return NodeError(f"{target.address} dag/import of {cid}: it {what}", Reason.NODE_ERROR)
