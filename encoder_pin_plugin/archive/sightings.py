"""When a target was first seen to hold a CID, for targets whose two looks must lie ten minutes apart.

One small file beside the archive. Losing it costs another ten minutes, and nothing else; so it is not fsynced. Its
times are of the clock that only counts up, and hold for one boot: a wall clock that is set forward makes ten minutes of
none.
"""

from __future__ import annotations

import json
import math
import threading
from typing import TYPE_CHECKING

from encoder_pin_plugin.durable import read_note, replace_file, storage_errors

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

NAME = "migration-first-looks.json"


class Sightings:
    """First looks at one target. Safe for threads.

    Args:
        data_dir: the data folder.
        target: looks at others do not count.
        boot: nor do those of another boot, see `clock`.
    """

    def __init__(self, data_dir: Path, target: str, boot: str) -> None:
        self._path = data_dir / NAME
        self._target, self._boot = target, boot
        self._lock = threading.Lock()
        self._seen = self._read()

    def patience(self, cids: Sequence[str], apart: float, now: float) -> dict[str, float]:
        """In how many seconds each CID, seen now, may be looked at again. `now` is the steady clock's; a first look
        that lies in its future counts as taken now."""
        left: dict[str, float] = {}
        with self._lock:
            for cid in cids:
                first = self._seen.get(cid, now)
                self._seen[cid] = first = float(min(first, now))
                left[cid] = max(0.0, first + apart - now)
            self._write()
        return left

    def forget(self, cids: Collection[str]) -> None:
        """Their lines are no longer there, or the target does not hold them any more, or not for sure."""
        with self._lock:
            if gone := self._seen.keys() & set(cids):
                self._seen = {cid: at for cid, at in self._seen.items() if cid not in gone}
                self._write()

    def _read(self) -> dict[str, float]:
        of_this_boot = read_note(self._path).get(self._boot)
        seen = of_this_boot.get(self._target) if isinstance(of_this_boot, dict) else None
        looks = seen.items() if isinstance(seen, dict) else ()
        return {cid: at for cid, at in looks if isinstance(at, float) and math.isfinite(at)}

    def _write(self) -> None:
        with storage_errors("write", self._path):
            replace_file(self._path, json.dumps({self._boot: {self._target: self._seen}}).encode("ascii"))
