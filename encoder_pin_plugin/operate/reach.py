"""Do the nodes answer? Asked side by side and for a few seconds only: a report must not hang where a node does."""

from __future__ import annotations

import queue
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from encoder_pin_plugin.errors import EncoderPinError

if TYPE_CHECKING:
    from collections.abc import Callable

    from encoder_pin_plugin.nodes.base import PinNode
    from encoder_pin_plugin.settings import Settings

SECONDS = 4.0
"""For each node."""


@dataclass(frozen=True, kw_only=True)
class Reached:
    """Whether a node answers.

    Args:
        address: of the node, without credentials.
        reachable: whether it answered as a node does.
        detail: its software and version, or why not.
    """

    address: str
    reachable: bool
    detail: str


@dataclass(frozen=True, kw_only=True)
class NodesReached:
    """The two nodes of an encoder; None where no supernode is configured."""

    supernode: Reached | None
    local: Reached


def reach_nodes(settings: Settings, *, seconds: float = SECONDS) -> NodesReached:
    """Ask the supernode and the local node of `settings` who they are. Never raises for what a node does."""
    from encoder_pin_plugin.service import Service

    service = Service(settings)
    cluster = settings.ipfs_cluster_endpoint if settings.use_cluster_for_pins else None
    supernode = None
    if not settings.supernode_missing:
        address = cluster or settings.threespeak_ipfs_endpoint or ""
        supernode = _begin(address, lambda: service.supernode)
    local = _begin(settings.ipfs_api_addr, lambda: service.local)
    return NodesReached(supernode=supernode(seconds) if supernode else None, local=local(seconds))


def _begin(address: str, node: Callable[[], PinNode | None]) -> Callable[[float], Reached]:
    """Ask in a thread of its own; call the result to have the answer, for which it waits some seconds."""
    answers: queue.SimpleQueue[Reached] = queue.SimpleQueue()
    threading.Thread(target=lambda: answers.put(_ask(address, node)), daemon=True).start()

    def answer(seconds: float) -> Reached:
        try:
            return answers.get(timeout=seconds)
        except queue.Empty:
            return Reached(address=address, reachable=False, detail=f"no answer within {seconds:g} s")

    return answer


def _ask(address: str, node: Callable[[], PinNode | None]) -> Reached:
    try:
        found = node()
        version = found.ping() if found is not None else ""
    except EncoderPinError as error:
        return Reached(address=address, reachable=False, detail=str(error).removeprefix(address).strip())
    except Exception as error:  # noqa: BLE001 - a report tells what an adapter does, whatever it is
        return Reached(address=address, reachable=False, detail=f"unexpected {type(error).__name__}: {error}")
    return Reached(address=address, reachable=True, detail=version)
