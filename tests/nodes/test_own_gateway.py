"""The encoder's own gateway is told from another by where the node says that it listens."""

from __future__ import annotations

from typing import Any

import pytest

from encoder_hookspecs.events import Reason
from encoder_pin_plugin.errors import InvalidSettings, NodeError
from encoder_pin_plugin.nodes.kubo import KuboNode
from encoder_pin_plugin.nodes.own_gateway import refuse_own_gateway


def _local(says: Any, address: str = "/ip4/127.0.0.1/tcp/5001") -> KuboNode:
    node = KuboNode(address)

    class Wire:
        def ask(self, *_: Any, **__: Any) -> Any:
            if isinstance(says, NodeError):
                raise says
            return says

    node.wire = Wire()  # type: ignore[assignment]
    return node


@pytest.mark.parametrize("gateway", ["http://127.0.0.1:8080", "http://localhost:8080", "http://[::1]:8080"])
@pytest.mark.parametrize(
    "says",
    ["/ip4/127.0.0.1/tcp/8080", "/ip4/0.0.0.0/tcp/8080", ["nonsense", "/ip6/::1/tcp/8080"], "/ip6/::/tcp/8080"],
    ids=str,
)
def test_on_this_machine_every_name_of_loopback_is_one(gateway: str, says: Any) -> None:
    with pytest.raises(InvalidSettings, match="own node"):
        refuse_own_gateway(gateway, _local(says))


def test_elsewhere_it_is_at_the_node_s_own_host() -> None:
    local = _local("/ip4/0.0.0.0/tcp/8080", "http://encoder-1:5001")
    with pytest.raises(InvalidSettings, match="own node"):
        refuse_own_gateway("http://encoder-1:8080/", local)
    refuse_own_gateway("http://127.0.0.1:8080", local)  # a tunnel, to wherever


@pytest.mark.parametrize(
    "says", ["/ip4/127.0.0.1/tcp/8081", [], None, "", 7, "/unix/x", NodeError("no", Reason.NOT_ALLOWED)], ids=str
)
def test_another_port_and_a_node_that_does_not_tell_are_let_be(says: Any) -> None:
    refuse_own_gateway("http://127.0.0.1:8080", _local(says))
    refuse_own_gateway("https://gateway.example", _local(says))
