"""Which pins carry our name, on nodes that do not tell it when asked about a CID.

Before 0.38 Kubo answers `pin/ls?arg=CID&names=true` with an empty name (ipfs/kubo#10970); but it lists all pins of a
name (since 0.29), so there the pins of ours are found by listing them once.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from encoder_pin_plugin.errors import NodeError
from encoder_pin_plugin.nodes.base import PIN_NAME, Told
from encoder_pin_plugin.nodes.cid import canonical, is_cid
from encoder_pin_plugin.nodes.kubo_errors import OddReply

if TYPE_CHECKING:
    from collections.abc import Mapping

    from encoder_pin_plugin.nodes.kubo_wire import KuboWire


def tells_names(version: str) -> bool:
    """Whether a node of this version ("Kubo 0.43.0") tells a pin's name when asked about its CID."""
    match = re.match(r"Kubo (\d+)\.(\d+)", version)
    return match is None or (int(match[1]), int(match[2])) >= (0, 38)


def with_our_names(wire: KuboWire, told: Mapping[str, Told], *, seconds: float) -> dict[str, Told]:
    """The answers, with our name put in where the node lists the CID under it; as they were where it won't list."""
    options = {"type": "recursive", "names": "true", "name": PIN_NAME, "stream": "true"}
    pins = wire.stream(
        "pin/ls of our name",
        lambda kubo: kubo.pin.ls(type="recursive", opts=dict(options), stream=True),
        seconds=seconds,
        silence=seconds,
    )
    try:
        ours = {_ours(pin.as_json()) for pin in pins}
    except (NodeError, OddReply):
        return dict(told)
    return {
        cid: replace(answer, name=PIN_NAME) if answer.yes and is_cid(cid) and canonical(cid) in ours else answer
        for cid, answer in told.items()
    }


def _ours(pin: Any) -> str:
    """The CID of a listed pin if the name is ours exactly: Kubo looks for names that contain it."""
    if not isinstance(pin, dict) or not isinstance(pin.get("Cid"), str):
        raise OddReply("a pin without a CID")
    return canonical(pin["Cid"]) if pin.get("Name") == PIN_NAME and is_cid(pin["Cid"]) else ""
