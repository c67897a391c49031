"""What a Kubo node has pinned, by one listing of all its pins: 3,000 pins in 0.04 s.

A batch of questions about CIDs that are not pinned costs one call for each of them; before a migration, and while many
new jobs are pinned, that is most. A listing saves only the asking: what it says is proved again before anything depends
on it.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from encoder_hookspecs.events import Reason
from encoder_pin_plugin.errors import NodeError

if TYPE_CHECKING:
    from collections.abc import Collection, Generator

    from encoder_pin_plugin.nodes.kubo import KuboNode

SECONDS = 120.0


def listed_pins(node: KuboNode, wanted: Collection[str]) -> set[str]:
    """Those of `wanted` (canonical CIDs) that the node lists as pinned recursively. Raises NodeError."""
    with closing(_recursive(node, SECONDS)) as pins:
        return {cid for cid in pins if cid in wanted}


def every_pin(node: KuboNode, *, at_most: int, seconds: float) -> set[str] | None:
    """All CIDs that the node lists as pinned recursively; None where they are more than `at_most`, where listing them
    takes longer than `seconds`, and where there is none, for any web server lists none. Raises NodeError otherwise."""
    found: set[str] = set()
    try:
        with closing(_recursive(node, seconds)) as pins:
            for cid in pins:
                found.add(cid)
                if len(found) > at_most:
                    return None
    except NodeError as error:
        if error.reason is Reason.TIMEOUT:
            return None
        raise
    return found or None


def _recursive(node: KuboNode, seconds: float) -> Generator[str, None, None]:
    rows = node.wire.stream(
        "pin/ls of everything",
        lambda kubo: kubo._client.request(  # noqa: SLF001 - the library's own call cannot stream
            "pin/ls", opts={"type": "recursive", "stream": "true"}, decoder="json", stream=True
        ),
        seconds=seconds,
        silence=seconds,
    )
    with closing(rows):
        for row in rows:
            cid, kind = (row.get("Cid"), row.get("Type")) if isinstance(row, dict) else (None, None)
            if not isinstance(cid, str) or not isinstance(kind, str):
                raise NodeError(f"{node.address} pin/ls of everything: not a Kubo node's answer", Reason.BAD_REPLY)
            if kind == "recursive":
                yield cid
