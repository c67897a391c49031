"""Hold: what the local node already has whole is pinned there at ingest, under our name, and released when it is safe.

So garbage collection cannot take a video between "job complete" and proof. Holding never fetches. Releasing deletes the
last copy that we answer for, so it follows the rule for deleting: the supernode is asked for proof twice, the second
time right before; and nothing is unpinned that another job or line still needs, or that is not ours.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loguru import logger

from encoder_pin_plugin.durable import SharedSync
from encoder_pin_plugin.errors import EncoderPinError, NodeError
from encoder_pin_plugin.lazy.ports import Holds, Released
from encoder_pin_plugin.nodes.apart import Apart
from encoder_pin_plugin.nodes.base import PIN_NAME, Answer, Limits
from encoder_pin_plugin.nodes.proofs import Rule, Witness

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from encoder_pin_plugin.lazy.pins import LazyPin
    from encoder_pin_plugin.lazy.ports import Nodes, Post
    from encoder_pin_plugin.nodes.base import PinNode, Told, Whole
    from encoder_pin_plugin.nodes.exclusion import Exclusion
    from encoder_pin_plugin.settings import Settings

_LIMITS = Limits(stall=60.0, total=900.0)


def holder_for(
    settings: Settings, nodes: Nodes, *, exclusion: Exclusion, needed: Callable[[LazyPin], bool], post: Post
) -> Holder | None:
    """Who holds on the local node, and releases what the supernode has proved; None where there is no local node.

    A Kubo node proves that it has every block. A Cluster, whose peers' own nodes no setting names, proves that the
    number of peers that are wanted hold it.
    """
    if nodes.local is None:
        return None
    witness = None
    apart = None
    if nodes.supernode is not None:
        rule = Rule(whole=not settings.use_cluster_for_pins)
        witness = Witness(node=nodes.supernode, rule=rule, sync=SharedSync())
        apart = Apart(nodes.supernode, nodes.local)
    return Holder(local=nodes.local, exclusion=exclusion, needed=needed, post=post, witness=witness, apart=apart)


@dataclass(frozen=True, kw_only=True)
class Holder:
    """Holds and releases on the local node.

    Args:
        local: the encoder's own node.
        exclusion: the locks of the CIDs.
        needed: whether another job or line still needs a CID.
        post: where results go.
        witness: the supernode, and what it has to prove before a CID is released; None where there is none.
        apart: tells what the supernode holds in another place: its proof may be of the very pin that is released.
    """

    local: PinNode
    exclusion: Exclusion
    needed: Callable[[LazyPin], bool]
    post: Post
    witness: Witness | None = None
    apart: Apart | None = None

    def hold(self, pins: Sequence[LazyPin]) -> None:
        """Pin what the local node has whole; what it has not is left alone. A node that does not answer is no error
        here: the job goes on without, and its fallback will say what is wrong."""
        holds: dict[str, str] = {}
        try:
            pinned = self.local.pinned([pin.job.cid for pin in pins], names=True)
            loose = [cid for cid, told in pinned.items() if told.answer is Answer.NO]
            whole = self.local.whole(loose) if loose else {}  # walks the DAGs: only of what nobody has pinned
            for pin in pins:
                held = self._hold(pin.job.cid, pinned[pin.job.cid], whole.get(pin.job.cid))
                if held is not None:
                    holds[pin.key] = held
        except NodeError as error:
            logger.debug("holds nothing more on {} for now: {}", self.local.address, error)
        finally:
            self.post(Holds(holds=holds, complete=len(holds) == len(pins)))

    def _hold(self, cid: str, pinned: Told, whole: Whole | None) -> str | None:
        """Who holds `cid` now: "ours", "theirs" or "none"; None where that is to be asked again."""
        if pinned.answer is Answer.UNKNOWN:
            return None
        if pinned.yes and pinned.name != PIN_NAME:
            return "theirs"
        if whole is not None and not whole.yes:
            return "none" if whole.answer is Answer.NO else None
        try:
            with self.exclusion.hold([cid]):  # asked again within: another job may have released it just now
                now = self.local.pinned([cid], names=True)[cid]
                if now.answer is Answer.UNKNOWN:
                    return None
                if not now.yes:
                    self.local.pin(cid, limits=_LIMITS)
        except EncoderPinError as error:
            logger.info("could not hold {} on {} for now: {}", cid, self.local.address, error)
            return None
        return "theirs" if now.yes and now.name != PIN_NAME else "ours"

    def release(self, pins: Sequence[LazyPin]) -> None:
        """Take one step towards unpinning each held CID; the results are posted together, to be written at once."""
        done: dict[str, bool | None] = {}
        try:
            done = self._proved([pin for pin in pins if pin.whole_at is None])
            for pin in pins:
                if pin.whole_at is not None:
                    done[pin.key] = self._tried_release(pin)
        finally:
            self.post(Released(done=done))

    def _proved(self, pins: Sequence[LazyPin]) -> dict[str, bool | None]:
        """The first step: False for what the supernode proves, None for what it does not."""
        try:
            proved = self._enough([pin.job.cid for pin in pins]) if pins else set()
        except EncoderPinError as error:
            logger.debug("releases nothing for now: {}", error)
            return dict.fromkeys(pin.key for pin in pins)
        return {pin.key: False if pin.job.cid in proved else None for pin in pins}

    def _enough(self, cids: Sequence[str], *, again: bool = False) -> set[str]:
        """Those of which the supernode proves enough to delete another copy. Raises NodeError, StorageError."""
        elsewhere = cids if self.apart is None else self.apart.elsewhere(cids)
        if not (self.witness and elsewhere):
            return set()
        looks = self.witness.look(elsewhere, again=again)
        return {cid for cid, look in looks.items() if look.enough}

    def _tried_release(self, pin: LazyPin) -> bool | None:
        try:
            return self._release(pin)
        except (EncoderPinError, sqlite3.Error) as error:
            logger.debug("does not release {} yet: {}", pin.job.cid, error)
            return None

    def _release(self, pin: LazyPin) -> bool | None:
        """The second step. True: unpinned. None: not safe yet."""
        cid = pin.job.cid
        with self.exclusion.hold([cid]):
            if self.needed(pin):
                return None
            mine = self.local.pinned([cid], names=True)[cid]
            if mine.answer is Answer.NO or (mine.yes and mine.name != PIN_NAME):
                return True  # gone, or somebody else's by now
            if not (mine.yes and cid in self._enough([cid], again=True)):
                return None
            self.local.unpin(cid)
        logger.info("released {} on {}: the supernode has proved twice that it has it", cid, self.local.address)
        return True
