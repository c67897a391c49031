"""A node that pins in memory and fails on command: what the worker's tests need and no real node does when told.

It implements the port `PinNode` honestly; `tests/real/test_worker.py` runs the same stories on real daemons.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence

from encoder_hookspecs.events import ContentType, Reason
from encoder_pin_plugin.errors import NodeError
from encoder_pin_plugin.nodes.base import PIN_NAME, Answer, DagSize, Limits, Told, Whole


class MemoryNode:
    """Pins whatever it is asked to, unless `fail` says otherwise."""

    address = "memory"
    on_this_machine = True

    def __init__(self, *, has_everything: bool = True) -> None:
        self.pins: dict[str, str] = {}
        self.blocks: set[str] | None = None if has_everything else set()
        self.fail: Callable[[str, str], None] = lambda call, cid: None
        self.calls: list[tuple[str, str]] = []
        self.running = self.most_running = 0
        self.delay = 0.0
        self._lock = threading.Lock()

    def down(self, reason: Reason = Reason.REFUSED) -> None:
        """From now on every call fails."""

        def fail(call: str, cid: str) -> None:
            raise NodeError(f"memory: {call} refused", reason)

        self.fail = fail

    def up(self) -> None:
        """Calls work again."""
        self.fail = lambda call, cid: None

    def ping(self) -> str:
        self._called("ping", "")
        return "memory"

    def pinned(self, cids: Sequence[str], *, names: bool = False) -> Mapping[str, Told]:
        try:
            for cid in cids:
                self._called("pinned", cid)
        except NodeError as error:
            unknown = Told(answer=Answer.UNKNOWN, detail=str(error), reason=error.reason)
            return dict.fromkeys(cids, unknown)
        return {
            cid: Told(answer=Answer.YES, name=self.pins[cid]) if cid in self.pins else Told(answer=Answer.NO)
            for cid in cids
        }

    def pin(
        self, cid: str, *, name: str = PIN_NAME, limits: Limits, progress: Callable[[int], None] | None = None
    ) -> None:
        with self._lock:
            self.running += 1
            self.most_running = max(self.most_running, self.running)
        try:
            time.sleep(self.delay)
            self._called("pin", cid)
            self.pins[cid] = name
        finally:
            with self._lock:
                self.running -= 1

    def whole(self, cids: Sequence[str]) -> Mapping[str, Whole]:
        try:
            for cid in cids:
                self._called("whole", cid)
        except NodeError as error:
            return dict.fromkeys(cids, Whole(answer=Answer.UNKNOWN, detail=str(error), reason=error.reason))
        return {cid: self._whole(cid) for cid in cids}

    def unpin(self, cid: str) -> None:
        self._called("unpin", cid)
        self.pins.pop(cid, None)

    def describe(self, cid: str) -> tuple[DagSize | None, ContentType | None]:
        whole = self._whole(cid)
        return whole.dag, "directory" if whole.yes else None

    def count(self, call: str) -> int:
        """How often `call` was made."""
        return sum(name == call for name, _ in self.calls)

    def _whole(self, cid: str) -> Whole:
        if self.blocks is not None and cid not in self.blocks and cid not in self.pins:
            return Whole(answer=Answer.NO, detail="block was not found locally (offline)")
        return Whole(answer=Answer.YES, dag=DagSize(blocks=4, size=2_500_000))

    def _called(self, call: str, cid: str) -> None:
        with self._lock:
            self.calls.append((call, cid))
        self.fail(call, cid)
