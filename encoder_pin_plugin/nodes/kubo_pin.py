"""Following one pin on Kubo until it is done, or can be seen not to get there.

Kubo sends an item each half second while it pins, whether it gets on or not; so neither a timeout of the socket nor the
end of the stream says anything. Getting on means that `Progress` (blocks) or `Bytes` grow; being done is a last item
that names our CID in `Pins`.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from encoder_hookspecs.events import Reason
from encoder_pin_plugin.errors import NodeError
from encoder_pin_plugin.nodes.cid import comparable
from encoder_pin_plugin.nodes.kubo_errors import OddReply
from encoder_pin_plugin.nodes.sayings import said

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from encoder_pin_plugin.nodes.cid import Cid


def follow_pin(
    items: Iterator[Any], cid: Cid, *, stall: float, progress: Callable[[int], None] | None, node: str
) -> None:
    """Read the items of `pin/add` until the one that says it is done.

    Args:
        items: as they come; closed by the caller.
        cid: what is being pinned.
        stall: seconds without growth.
        progress: called with the number of blocks, each time it has grown.
        node: its address, for messages.

    Raises:
        NodeError: it stalled, ended without that item, or answered something else.
    """
    following = _Following(f"{node} pin/add of {cid}", stall, progress)
    for item in items:
        reply = following.object_of(item)
        if "Pins" in reply:
            following.check_done(reply, cid)
            for _ in items:  # to its end, so that the connection can serve the next call
                pass
            return
        following.look_at(reply)
    raise following.ended()


def check_pins(reply: object, cid: Cid) -> None:
    """Raise `OddReply` unless the reply says that it is about exactly this CID."""
    pins = reply.get("Pins") if isinstance(reply, dict) else None
    if not isinstance(pins, list) or not all(isinstance(pin, str) for pin in pins):
        raise OddReply("it has no list of 'Pins'")
    if not any(_same(pin, cid) for pin in pins):
        raise OddReply(f"it is about {said(', '.join(pins[:3]) or 'nothing', 120)} instead")


class _Following:
    def __init__(self, call: str, stall: float, progress: Callable[[int], None] | None) -> None:
        self._call, self._stall, self._progress = call, stall, progress
        self._best = (0, 0)
        self._grown_at = time.monotonic()
        self._items = 0

    def object_of(self, item: Any) -> dict[str, Any]:
        self._items += 1
        reply = item.as_json()
        if not isinstance(reply, dict):
            raise self._odd(f"an item that is a {type(reply).__name__}")
        return reply

    def check_done(self, reply: dict[str, Any], cid: Cid) -> None:
        try:
            check_pins(reply, cid)
        except OddReply as error:
            raise self._odd(str(error)) from error

    def look_at(self, reply: dict[str, Any]) -> None:
        blocks, size = self._count(reply, "Progress"), self._count(reply, "Bytes")
        more_blocks = blocks > self._best[0]
        if more_blocks or size > self._best[1]:
            self._best = (max(blocks, self._best[0]), max(size, self._best[1]))
            self._grown_at = time.monotonic()
        elif time.monotonic() - self._grown_at > self._stall:
            words = f"no progress for {self._stall:g} s, after {self._best[0]} blocks"
            raise NodeError(f"{self._call}: {words}", Reason.STALLED)
        if more_blocks and self._progress:
            self._progress(blocks)

    def ended(self) -> NodeError:
        if not self._items:
            return self._odd("it is empty")
        return NodeError(f"{self._call}: the answer ended without saying that it is pinned", Reason.CUT)

    def _count(self, reply: dict[str, Any], key: str) -> int:
        value = reply.get(key, 0)
        if not isinstance(value, int) or value < 0:
            raise self._odd(f"a {key} that is no number of anything")
        return value

    def _odd(self, what: str) -> NodeError:
        return NodeError(f"{self._call}: not a Kubo node's answer: {what}", Reason.BAD_REPLY)


def _same(text: str, cid: Cid) -> bool:
    return text == cid.text or comparable(text) == cid.text
