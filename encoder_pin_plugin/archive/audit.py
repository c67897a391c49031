"""Asking again about the archive's lines: what waits must be whole on our own node, what was migrated on its target.

What our node lost is pinned there again if any copy can be found. What a target lost goes back into the archive, so
that the next migration carries it again, but only once our own node holds it whole: a line that waits says that the
content is safe here. No line is ever removed by an audit.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from loguru import logger

from encoder_pin_plugin.archive.migration_lock import migrating
from encoder_pin_plugin.archive.record import WITHDRAWN, utc_text
from encoder_pin_plugin.errors import EncoderPinError, LockBusy, NodeError, StorageError
from encoder_pin_plugin.nodes.holding import Holding, Tally, not_held

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from encoder_hookspecs.events import LocalPin
    from encoder_pin_plugin.archive.jsonl import Archive
    from encoder_pin_plugin.archive.reading import Entry
    from encoder_pin_plugin.archive.record import ArchiveRecord, Key
    from encoder_pin_plugin.nodes.base import PinNode
    from encoder_pin_plugin.nodes.exclusion import Exclusion
    from encoder_pin_plugin.nodes.local import LocalPinner

Keys = dict[str, list["Key"]]
"""Lines by CID: the keys of all that name it."""


@dataclass(frozen=True, kw_only=True)
class Loss:
    """A CID that a node should hold and does not.

    Args:
        cid: what is lost there.
        jobs: whose content it is.
        detail: what the node says.
        outcome: what was done about it, in words.
        mended: whether it is safe again.
    """

    cid: str
    jobs: tuple[str, ...]
    detail: str
    outcome: str
    mended: bool


@dataclass(kw_only=True)
class Audited:
    """What asking one node again has shown.

    Args:
        what: which content, in words.
        node: the node's address, without credentials.
        tally: its answers.
        losses: what it does not hold.
    """

    what: str
    node: str
    tally: Tally = field(default_factory=Tally)
    losses: list[Loss] = field(default_factory=list)

    @property
    def well(self) -> bool:
        """Whether everything was asked about, and everything is there."""
        return not (self.losses or self.tally.unknown or self.tally.gave_up)


@dataclass(frozen=True, kw_only=True)
class Mender:
    """Gets content back on to our own node.

    Args:
        pinner: our own node.
        exclusion: the locks of the CIDs.
        fetch: has the node fetch the blocks it lacks of a pin it has. Raises NodeError. None where it cannot.
        meet: called before the first repair, to connect our node with others that may have a copy.
    """

    pinner: LocalPinner
    exclusion: Exclusion
    fetch: Callable[[str], None] | None = None
    meet: Callable[[], None] = lambda: None

    def mend(self, cid: str) -> LocalPin:
        """Pin `cid` here again, whole. The caller holds its lock. Raises NodeError where no copy can be found."""
        try:
            return self.pinner.pin(cid)
        except NodeError:
            if self.fetch is None or not self.pinner.node.pinned([cid])[cid].yes:
                raise
        self.fetch(cid)
        return self.pinner.prove(cid)


def audit_waiting(archive: Archive, local: PinNode, keys: Keys, mender: Mender | None) -> Audited:
    """Ask our own node about what waits; mend what it lost, unless `mender` is None.
    Raises StorageError, ArchiveError."""
    audited = Audited(what="waiting in the archive", node=local.address)
    missing = _not_migrating(not_held(local, keys, audited.tally, blocks=True), archive, audited.tally)

    def mend(loss: Loss, mender: Mender) -> list[Loss]:
        if not any(archive.where(*key) == archive.path for key in keys[loss.cid]):
            return []  # it was migrated meanwhile
        return [_mend_waiting(loss, mender)]

    _note_losses(audited, missing, keys, mender, mend)
    return audited


def audit_migrated(
    archive: Archive, target: PinNode, keys: Keys, mender: Mender | None, *, blocks: bool
) -> Audited:  # fmt: skip
    """Ask a target about what was migrated to it; let the lines wait again of what it lost and we still have or can
    get, unless `mender` is None. Raises StorageError, ArchiveError."""
    audited = Audited(what="migrated", node=target.address)
    missing = not_held(target, keys, audited.tally, blocks=blocks)
    _note_losses(audited, missing, keys, mender, lambda loss, mender: [_take_back(archive, target, loss, mender)])
    return audited


def lines_by_cid(entries: Iterable[Entry]) -> Keys:
    """The lines of an archive that can be read, by CID."""
    keys: Keys = {}
    for entry in entries:
        if entry.record is not None and not entry.torn:
            keys.setdefault(entry.record.hash, []).append(entry.record.key)
    return keys


def migrated_by_target(entries: Iterable[Entry]) -> Mapping[str, Keys]:
    """Migrated lines by the target that they name, without those that were taken back; the last of a key decides."""
    targets: dict[Key, str] = {}
    for entry in entries:
        if entry.record is None or entry.torn:
            continue
        if WITHDRAWN in entry.record.extra:
            targets.pop(entry.record.key, None)
        else:
            targets[entry.record.key] = str(entry.record.extra.get("migrated_to", ""))
    found: dict[str, Keys] = {}
    for key, target in targets.items():
        found.setdefault(target, {}).setdefault(key[0], []).append(key)
    return found


def merged(parts: Iterable[Keys]) -> Keys:
    """All lines of several parts."""
    keys: Keys = {}
    for part in parts:
        for cid, lines in part.items():
            keys.setdefault(cid, []).extend(lines)
    return keys


def _not_migrating(
    missing: Iterable[tuple[str, Holding]], archive: Archive, tally: Tally
) -> Iterator[tuple[str, Holding]]:  # fmt: skip
    """Without what is not pinned here while a migration is at work: it unpins first, and moves the lines later, many at
    once. Pinned again, it would stay so for ever. One that was killed in between holds no lock."""
    for cid, holding in missing:
        why = "" if holding.pinned else _may_be_migrating(archive)
        if why:
            tally.unknown[cid] = why
        else:
            yield cid, holding


def _may_be_migrating(archive: Archive) -> str:
    """Why a migration may have unpinned something; empty where none is at work. A lock that cannot be tried, on a disk
    that became read-only for one, ends no audit: it is then that losses are to be named."""
    try:
        who = migrating(archive.path.parent)
    except StorageError as error:
        return f"not pinned, and whether a migration is at work, which unpins, cannot be told: {error}"
    return who and f"{who}, and unpins here what its target has proved: ask again when it has ended"


def _note_losses(
    audited: Audited, missing: Iterable[tuple[str, Holding]], keys: Keys, mender: Mender | None,
    mend: Callable[[Loss, Mender], list[Loss]],
) -> None:  # fmt: skip
    """Write down what a node does not hold; where there is a mender, as it is after `mend`, with the CID locked."""
    for cid, holding in missing:
        loss = _loss(cid, keys, holding)
        if mender is None:
            audited.losses.append(loss)
            continue
        try:
            with mender.exclusion.hold([cid]):
                audited.losses += mend(loss, mender)
        except LockBusy as error:
            audited.tally.unknown[cid] = str(error)


def _loss(cid: str, keys: Keys, holding: Holding) -> Loss:
    detail = holding.detail or ("its pin has lost blocks" if holding.pinned else "not pinned")
    jobs = tuple(job_id for _, job_id in keys[cid])
    return Loss(cid=cid, jobs=jobs, detail=detail, outcome="nothing was done", mended=False)


def _mend_waiting(loss: Loss, mender: Mender) -> Loss:
    mender.meet()
    node = mender.pinner.node.address
    try:
        mender.mend(loss.cid)
    except EncoderPinError as error:
        outcome = f"no copy can be found now ({error}); its line stays, and the next audit tries again"
        logger.error("LOST: {} of the archive is not whole on {} any more, and {}", loss.cid, node, outcome)
        return replace(loss, outcome=outcome)
    logger.error("LOST AND FOUND: {} of the archive was not whole on {} any more: it is pinned again", loss.cid, node)
    return replace(loss, outcome="pinned again here, whole", mended=True)


def _take_back(archive: Archive, target: PinNode, loss: Loss, mender: Mender) -> Loss:
    keys = [(loss.cid, job_id) for job_id in loss.jobs]
    mender.meet()
    try:
        pin = mender.mend(loss.cid)
    except EncoderPinError as error:
        outcome = f"no copy can be found now ({error}); its lines stay among the migrated"
        logger.error("LOST: {} does not hold {} any more, which was migrated there, and {}", target.address, loss.cid,
                     outcome)  # fmt: skip
        return replace(loss, outcome=outcome)
    why = f"{target.address} does not hold it any more: {loss.detail}"
    for record in _standing(archive, keys):
        archive.take_back(replace(record, local_pin_timestamp=utc_text(pin.pinned_at)), why)
    outcome = "pinned here, and back in the archive: migrate it again"
    logger.error("LOST BY THE TARGET: {} does not hold {} any more: {}", target.address, loss.cid, outcome)
    return replace(loss, outcome=outcome, mended=True)


def _standing(archive: Archive, keys: Iterable[Key]) -> Iterator[ArchiveRecord]:
    """The records of migrated lines; not those that wait again already."""
    for key in keys:
        record = archive.find(*key)
        if record is not None:
            yield record
