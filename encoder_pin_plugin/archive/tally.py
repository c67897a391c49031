"""What a migration has done so far, counted for people and programs."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from encoder_hookspecs.events import Reason

if TYPE_CHECKING:
    from encoder_hookspecs.events import Proof
    from encoder_pin_plugin.archive.waiting import Item


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """Why a CID was not migrated, or not cleaned.

    Args:
        cid: or the place of a line that names none.
        reason: in one word.
        detail: in the words of the node, or ours; without secrets.
        node_id: the encoder that had it last.
    """

    cid: str
    reason: str
    detail: str
    node_id: str = ""


@dataclass(kw_only=True)
class Tally:
    """Counts of one migration, all of CIDs unless they say otherwise.

    Args:
        total, lines, mb: what is to be migrated: CIDs, lines, MB.
        left: what waits besides, and was left out because only so many were wanted.
        there: found on the target before anything was pinned.
        pinned: pinned by this run.
        proofs: proved, each with its strongest proof.
        proved_mb: MB of them.
        cleaned_lines: lines that left the archive.
        released: local pins removed.
        kept: local pins that stay, each with why.
        later: proved once, to be proved again by a later run before anything is deleted.
        troubles: what failed, by CID.
        stopped: whether it was asked to stop, or gave up, before all was tried.
        gave_up: why it gave up.
    """

    total: int = 0
    lines: int = 0
    mb: float = 0.0
    left: int = 0
    there: int = 0
    pinned: int = 0
    pinned_mb: float = 0.0
    proofs: dict[str, Proof] = field(default_factory=dict)
    proved_mb: float = 0.0
    cleaned_lines: int = 0
    released: int = 0
    kept: dict[str, str] = field(default_factory=dict)
    later: set[str] = field(default_factory=set)
    troubles: dict[str, Trouble] = field(default_factory=dict)
    stopped: bool = False
    gave_up: str = ""
    began: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began

    @property
    def rate(self) -> float:
        """CIDs proved in a second."""
        return len(self.proofs) / max(self.seconds, 1e-3)

    @property
    def untried(self) -> int:
        return max(self.total - len(self.proofs.keys() | self.troubles.keys()), 0)

    @property
    def complete(self) -> bool:
        """Whether everything that waited is proved, and cleaned where that was wanted."""
        return not (self.troubles or self.later or self.untried or self.gave_up)

    def by_reason(self) -> Counter[str]:
        """How many failed, by reason."""
        return Counter(trouble.reason for trouble in self.troubles.values())

    def failed(self, item: Item, reason: Reason | str | None, detail: str) -> None:
        """Note that `item` was not migrated, or not cleaned."""
        word = reason.value if isinstance(reason, Reason) else reason or Reason.NODE_ERROR.value
        self.troubles[item.cid] = Trouble(cid=item.cid, reason=word, detail=detail, node_id=item.node_id)
