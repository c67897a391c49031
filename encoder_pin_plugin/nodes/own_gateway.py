"""Whether a gateway is the encoder's own: what is read back through it proves nothing but that it is here.

A gateway does not say whose it is; our node says where its own listens: on loopback, port 8080, as everybody's does.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from encoder_pin_plugin.errors import InvalidSettings, NodeError
from encoder_pin_plugin.nodes.http import service_address
from encoder_pin_plugin.nodes.kubo_errors import OddReply
from encoder_pin_plugin.nodes.kubo_wire import call_directly
from encoder_pin_plugin.settings.address import is_loopback, parse_address

if TYPE_CHECKING:
    from collections.abc import Iterator

    from encoder_pin_plugin.nodes.kubo import KuboNode
    from encoder_pin_plugin.settings.address import NodeAddress


def refuse_own_gateway(gateway: str, local: KuboNode) -> None:
    """Raise InvalidSettings where `gateway` is the local node's. A node that does not tell where its own is, is not
    asked further: nothing is deleted on a gateway's word alone."""
    named = service_address(gateway, 80)
    with suppress(NodeError):
        if any(_are_one(named, own, local) for own in _own(local)):
            raise InvalidSettings(
                f"--gateway {gateway} is the gateway of the encoder's own node ({local.address}): what it gives back"
                " proves nothing about the target; write the address of the target's own gateway"
            )


def _are_one(named: NodeAddress, own: NodeAddress, local: KuboNode) -> bool:
    if named.port != own.port:
        return False
    here = local.on_this_machine and is_loopback(named.host) and is_loopback(own.host)
    return here or named.host in (own.host, local.where.host)


def _own(local: KuboNode) -> Iterator[NodeAddress]:
    """Where the node's gateway listens. Raises NodeError."""
    said = local.wire.ask(
        "config Addresses.Gateway",
        lambda kubo: _value(call_directly(kubo, "config", ("Addresses.Gateway",), {})),
        seconds=local.patience.ask,
    )
    for text in said if isinstance(said, list) else [said]:
        with suppress(InvalidSettings):
            yield parse_address(str(text))


def _value(reply: Any) -> Any:
    if not isinstance(reply, dict):
        raise OddReply("it is no object")
    return reply.get("Value")
