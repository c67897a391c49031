"""Do the nodes answer? Asked side by side and for a few seconds only: a report must not hang where a node does."""

from __future__ import annotations

import queue
import threading
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar, cast

from encoder_pin_plugin.errors import EncoderPinError

if TYPE_CHECKING:
    from collections.abc import Callable

    from encoder_pin_plugin.nodes.base import PinNode
    from encoder_pin_plugin.service import Service
    from encoder_pin_plugin.settings import Settings

T = TypeVar("T")

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
    """The two nodes of an encoder; None where no supernode is configured. `are_one` where two addresses lead to one
    Kubo node; None where that cannot be told."""

    supernode: Reached | None
    local: Reached
    are_one: bool | None = None


def reach_nodes(settings: Settings) -> NodesReached:
    """Ask the supernode and the local node of `settings` who they are. Never raises for what a node does."""
    from encoder_pin_plugin.service import Service

    service = Service(settings)
    cluster = settings.ipfs_cluster_endpoint if settings.use_cluster_for_pins else None
    supernode = None
    if not settings.supernode_missing:
        address = cluster or settings.threespeak_ipfs_endpoint or ""
        supernode = _begin(address, lambda: service.supernode)
    local = _begin(settings.ipfs_api_addr, lambda: service.local)
    one = ask_beside(lambda: _are_one(service))
    reached = NodesReached(supernode=supernode(SECONDS) if supernode else None, local=local(SECONDS))
    if reached.supernode is None or not (reached.supernode.reachable and reached.local.reachable):
        return reached
    with suppress(Exception):  # it is not told: the doctor says more
        reached = replace(reached, are_one=one(SECONDS))
    return reached


def _are_one(service: Service) -> bool | None:
    from encoder_pin_plugin.nodes.apart import are_one
    from encoder_pin_plugin.nodes.kubo import KuboNode

    return are_one(service.supernode, service.local) if isinstance(service.supernode, KuboNode) else None


class NoAnswer(Exception):
    """Nothing came back in time; what was asked goes on in a thread that nobody waits for."""


def ask_beside(call: Callable[[], T]) -> Callable[[float], T]:
    """Begin `call` in a daemon thread of its own. Call the result with seconds to have its answer, or what it raised,
    or `NoAnswer`."""
    answers: queue.SimpleQueue[tuple[T | None, Exception | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            answers.put((call(), None))
        except Exception as error:  # noqa: BLE001 - it is raised again where the answer is wanted
            answers.put((None, error))

    threading.Thread(target=run, daemon=True).start()

    def answer(seconds: float) -> T:
        try:
            result, error = answers.get(timeout=seconds)
        except queue.Empty:
            raise NoAnswer from None
        if error is not None:
            raise error
        return cast("T", result)

    return answer


def _begin(address: str, node: Callable[[], PinNode | None]) -> Callable[[float], Reached]:
    answer = ask_beside(lambda: _ask(address, node))

    def reached(seconds: float) -> Reached:
        try:
            return answer(seconds)
        except NoAnswer:
            return Reached(address=address, reachable=False, detail=f"no answer within {seconds:g} s")

    return reached


def _ask(address: str, node: Callable[[], PinNode | None]) -> Reached:
    try:
        found = node()
        version = found.ping() if found is not None else ""
    except EncoderPinError as error:
        return Reached(
            address=address, reachable=False, detail=str(error).removeprefix(address).strip().removeprefix("version: ")
        )
    except Exception as error:  # noqa: BLE001 - a report tells what an adapter does, whatever it is
        return Reached(address=address, reachable=False, detail=f"unexpected {type(error).__name__}: {error}")
    return Reached(address=address, reachable=True, detail=version)
