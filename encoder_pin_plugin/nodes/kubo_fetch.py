"""Fetching the blocks that a Kubo node has a pin of and lost, without touching the pin.

A second `pin/add` of an existing pin drops the pin when its walk fails (seen on 0.43), and with it what keeps the
remaining blocks from being collected. A walk with `dag/stat`, which may fetch, leaves the record alone.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from encoder_pin_plugin.nodes.kubo_wire import call_directly

if TYPE_CHECKING:
    from encoder_pin_plugin.nodes.kubo import KuboNode


def fetch_missing(node: KuboNode, cid: str, *, seconds: float) -> None:
    """Have the node walk the whole DAG of `cid`, fetching what it lacks. A claim, to be proved by `whole`.

    Raises:
        NodeError: it did not get to the end within `seconds`.
    """
    options = {"progress": "false", "timeout": f"{math.ceil(seconds)}s"}
    node.wire.ask(
        f"dag/stat of {cid}", lambda kubo: call_directly(kubo, "dag/stat", (cid,), options), seconds=seconds + 5
    )
