"""Cleaning: what a target has proved twice is unpinned here, and its lines move to what was migrated.

    unpin -> append to migrated-pins.jsonl, fsync -> replace the archive

A kill between any two of these leaves a line in the archive whose CID the target holds: the next run asks, finds it
there, and goes on. The second look is taken under the CIDs' locks, right before the unpin, so that no job can pin,
prove or append one of them in between.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from loguru import logger

from encoder_hookspecs.events import Reason
from encoder_pin_plugin.archive.record import utc_text
from encoder_pin_plugin.archive.waiting import WaitingLines
from encoder_pin_plugin.clock import SystemClock
from encoder_pin_plugin.errors import LedgerError, LockBusy, NodeError
from encoder_pin_plugin.nodes.base import PIN_NAME, Answer

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from encoder_pin_plugin.archive.jsonl import Archive
    from encoder_pin_plugin.archive.record import ArchiveRecord, Key
    from encoder_pin_plugin.archive.sightings import Sightings
    from encoder_pin_plugin.archive.waiting import Item
    from encoder_pin_plugin.nodes.base import PinNode, Told
    from encoder_pin_plugin.nodes.exclusion import Exclusion
    from encoder_pin_plugin.nodes.proofs import Look, Witness

LINES_AT_ONCE = 500
"""Lines that leave the archive in one rewriting; more where the archive is large, so that it is rewritten some twenty
times in all."""

LOCK_PATIENCE = 60.0
"""Seconds to wait for whoever is at work on one of the CIDs."""

Failed = tuple["Item", "Reason | str", str]


@dataclass(kw_only=True)
class Cleaned:
    """What a step of cleaning did.

    Args:
        lines: lines that left the archive.
        released: local pins removed.
        kept: local pins that stay although their lines leave: CID -> why.
        failed: items that were not cleaned, each with why; their lines stay.
    """

    lines: int = 0
    released: int = 0
    kept: dict[str, str] = field(default_factory=dict)
    failed: list[Failed] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Policy:
    """Whose pins may go.

    Args:
        target: what migrated lines say of where their CID is now.
        open_jobs: those of some CIDs that a job still needs here. Raises EncoderPinError where it cannot tell.
        remove_others: whether pins that are not ours go as well (REMOVE_LOCAL_AFTER_SYNC).
        sightings: when the first of two looks was taken, for targets whose looks must be apart.
    """

    target: str
    open_jobs: Callable[[Collection[str]], set[str]]
    remove_others: bool = False
    sightings: Sightings | None = None


class Cleaner:
    """Cleans one archive and one local node.

    Args:
        archive: whose lines move.
        local: the node whose pins go.
        witness: the target.
        exclusion: the locks of the CIDs.
        policy: whose pins may go.
    """

    def __init__(
        self, archive: Archive, local: PinNode, witness: Witness, exclusion: Exclusion, *, policy: Policy
    ) -> None:
        self._archive, self._local, self._witness, self._exclusion = archive, local, witness, exclusion
        self._policy = policy
        self._lines: WaitingLines | None = None
        self._done: dict[Key, bytes] = {}
        self._at_once = LINES_AT_ONCE

    def expect(self, items: Collection[Item], lines: int) -> None:
        """Say what may come, out of how many lines, before the first `clean`."""
        self._lines = WaitingLines(self._archive.path, items)
        self._at_once = max(LINES_AT_ONCE, lines // 20)

    def patience(self, items: Sequence[Item]) -> Mapping[str, float]:
        """For items that were proved just now: in how many seconds each may be looked at for the second time."""
        apart, sightings = self._witness.rule.apart, self._policy.sightings
        if not apart or sightings is None:
            return {}
        return sightings.patience([item.cid for item in items], apart, SystemClock().steady())

    def forget(self, items: Sequence[Item]) -> None:
        """The target was just seen not to hold these: a first look that was taken before counts no more."""
        self._forget({item.cid for item in items})

    def clean(self, items: Sequence[Item]) -> Cleaned:
        """Take the second look at `items`, unpin, and move their lines, perhaps with later ones.
        Raises StorageError, ArchiveError: nothing is lost then, and the next run goes on."""
        cleaned = Cleaned()
        if self._lines is None:
            self.expect(items, len(items))
        try:
            with self._exclusion.hold([item.cid for item in items], timeout=LOCK_PATIENCE):
                self._release(items, cleaned)
        except (LockBusy, LedgerError) as error:
            cleaned.failed += [(item, "busy", str(error)) for item in items]
        if len(self._done) >= self._at_once:
            cleaned.lines = self._move()
        return cleaned

    def finish(self) -> Cleaned:
        """Move what is unpinned and still stands in the archive."""
        return Cleaned(lines=self._move())

    def _release(self, items: Sequence[Item], cleaned: Cleaned) -> None:
        cids = [item.cid for item in items]
        needed = self._needed(items)
        mine = self._local.pinned(cids, names=True)
        looks = self._witness.look(cids, again=True)
        waiting = self._archive.find_waiting([key for item in items for key in item.keys])
        self.forget([item for item in items if looks[item.cid].proof is None])
        for item in items:
            records = [waiting[key] for key in item.keys if key in waiting]
            why = _why_not(looks[item.cid], mine[item.cid])
            if why is not None:
                cleaned.failed.append((item, *why))
            elif records and self._unpin(item, mine[item.cid], needed.get(item.cid, ""), cleaned):
                self._done |= {record.key: self._moved(record, looks[item.cid]) for record in records}

    def _needed(self, items: Sequence[Item]) -> dict[str, str]:
        """Which CIDs something here still needs, and what that is."""
        lines = self._lines
        if lines is None:
            return {}
        lines.refresh()
        jobs = self._policy.open_jobs([item.cid for item in items])
        needed = dict.fromkeys(jobs, "an open job still needs it")
        for item in items:
            others = lines.keys(item.cid) - set(item.keys)
            if others:
                needed[item.cid] = f"the line of job {min(others)[1]!a} still waits for it"
        return needed

    def _unpin(self, item: Item, mine: Told, needed: str, cleaned: Cleaned) -> bool:
        """Remove the local pin where that is allowed; whether the item's lines may leave."""
        if mine.answer is Answer.NO:
            return True
        if needed or (mine.name != PIN_NAME and not self._policy.remove_others):
            cleaned.kept[item.cid] = needed or f"it is not ours: its name is {mine.name!a}"
            return True
        try:
            self._local.unpin(item.cid)
        except NodeError as error:
            cleaned.failed.append((item, error.reason, f"the local pin could not be removed: {error}"))
            return False
        cleaned.released += 1
        logger.info("released {} on {}: {} proved that it holds it", item.cid, self._local.address, self._policy.target)
        return True

    def _moved(self, record: ArchiveRecord, look: Look) -> bytes:
        extra = dict(record.extra) | {
            "migrated_to": self._policy.target,
            "migration_proof": look.proof.value if look.proof else "",
            "migrated_at": utc_text(datetime.now(UTC)),
        }
        return replace(record, extra=extra).line()

    def _move(self) -> int:
        if not self._done:
            return 0
        compacted = self._archive.compact(set(self._done), list(self._done.values()))
        self._forget({cid for cid, _ in self._done})
        self._done.clear()
        if self._lines is not None:
            self._lines.forget()
        return compacted.removed

    def _forget(self, cids: Collection[str]) -> None:
        if self._policy.sightings is not None:
            self._policy.sightings.forget(cids)


def _why_not(look: Look, mine: Told) -> tuple[Reason | str, str] | None:
    """Why nothing of a CID may be deleted; None where it may."""
    if look.proof is None or not look.enough:
        return ("held" if look.proof else look.reason or Reason.UNPROVED), f"on the second look: {look.detail}"
    if mine.answer is Answer.UNKNOWN:
        return mine.reason or Reason.NODE_ERROR, f"whether the encoder's own node still pins it: {mine.detail}"
    return None
