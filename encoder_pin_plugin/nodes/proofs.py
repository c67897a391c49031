"""What a target has to prove before anything is deleted on its word, and asking it for that.

A status code proves nothing, and a pin record outlives its blocks. So a Kubo node is asked whether it is `whole`,
twice, the second time right before the deletion; a Cluster whether the configured number of peers hold it, and are
whole where their Kubo nodes are known; a pinning service, which can be asked for nothing more, says `pinned` twice, at
least ten minutes apart. While a target is asked, it cannot fetch from us what it lacks: `dag/stat?offline=true` never
fetches (seen on Kubo 0.34 and 0.43), so a yes is about blocks that were there already. A gateway may fetch:
`gateway.py` says what follows from that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from encoder_hookspecs.events import Proof, Reason
from encoder_pin_plugin.errors import NodeError
from encoder_pin_plugin.nodes.base import Answer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from encoder_pin_plugin.durable import SharedSync
    from encoder_pin_plugin.nodes.base import PinNode, Told, Whole

APART = 600.0
"""Seconds between the two looks at a pinning service."""

BATCH = 100
"""CIDs in one look: one call for all, where all is well."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What each of the two looks before a deletion has to find.

    Args:
        whole: whether every block has to be there; else the target's record is enough.
        apart: seconds between the two looks.
    """

    whole: bool
    apart: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Look:
    """What one look at a target found about one CID.

    Args:
        proof: the strongest that there is; None where it is not proved to be pinned.
        enough: whether the rule for deleting is content with it, as one of two looks.
        detail: what is missing, in words, without secrets.
        reason: the same in one word.
    """

    proof: Proof | None = None
    enough: bool = False
    detail: str = ""
    reason: Reason | None = None


def rule_for(url: str, *, pinned_is_enough: bool = False) -> Rule:
    """The rule for a target as `read_target` takes it."""
    kind = url.partition("+")[0]
    if kind == "psa":
        return Rule(whole=False, apart=APART)
    if kind == "cluster" and "peer=" not in url.partition("?")[2]:
        return Rule(whole=False)
    return Rule(whole=not pinned_is_enough)


@dataclass(frozen=True, kw_only=True)
class Witness:
    """A target, asked for proof.

    Args:
        node: the target.
        rule: what it has to prove.
        sync: for a target on this machine, whose blocks must have reached the disk; Kubo does not fsync them.
        copy: our own node, where its count of blocks is to be compared with the target's.
        retrieve: reads a CID's bytes back from the target and checks them; None where that is not wanted.
    """

    node: PinNode
    rule: Rule
    sync: SharedSync
    copy: PinNode | None = None
    retrieve: Callable[[str], object] | None = None

    def look(self, cids: Sequence[str], *, again: bool = False) -> dict[str, Look]:
        """What the target proves now about each CID. Never raises for what a node answers.

        Args:
            cids: in canonical form.
            again: this is the second look: what was on the disk at the first is there still.
        """
        looks = {cid: _of_record(told) for cid, told in _ask(self.node.pinned, cids).items()}
        pinned = [cid for cid in cids if looks[cid].proof]
        if pinned:
            looks |= self._blocks(pinned, again=again)
        if self.retrieve is not None:
            looks |= {cid: self._read_back(cid, looks[cid]) for cid in pinned if looks[cid].proof}
        return looks

    def _blocks(self, cids: Sequence[str], *, again: bool) -> dict[str, Look]:
        if self.node.on_this_machine and not again:
            self.sync.wait()
        theirs = self.node.whole(cids)
        ours = self.copy.whole(cids) if self.copy and any(told.yes for told in theirs.values()) else {}
        return {cid: self._of_blocks(theirs[cid], ours.get(cid)) for cid in cids}

    def _of_blocks(self, theirs: Whole, ours: Whole | None) -> Look:
        if theirs.answer is Answer.NO:
            detail = f"{self.node.address} has a pin of it but not all of its blocks ({theirs.detail})"
            return Look(detail=detail, reason=Reason.UNPROVED)
        if theirs.answer is Answer.UNKNOWN:
            detail = f"whether {self.node.address} has every block cannot be told: {theirs.detail}"
            return Look(proof=Proof.PINNED, enough=not self.rule.whole, detail=detail, reason=theirs.reason)
        if ours is not None and ours.yes and ours.dag != theirs.dag:
            detail = f"{self.node.address} counts {_in_words(theirs)}, our own node {_in_words(ours)}"
            return Look(detail=detail, reason=Reason.UNPROVED)
        return Look(proof=Proof.WHOLE, enough=True)

    def _read_back(self, cid: str, look: Look) -> Look:
        if self.retrieve is None:
            return look
        try:
            self.retrieve(cid)
        except NodeError as error:
            return Look(proof=look.proof, enough=False, detail=f"not read back: {error}", reason=error.reason)
        return Look(proof=Proof.RETRIEVED, enough=True)


def _ask(pinned: Callable[[Sequence[str]], Mapping[str, Told]], cids: Sequence[str]) -> dict[str, Told]:
    answers = pinned(cids)
    return {cid: answers[cid] for cid in cids}


def _of_record(told: Told) -> Look:
    if told.yes:
        return Look(proof=Proof.PINNED)
    return Look(detail=told.detail or "not pinned", reason=told.reason or Reason.UNPROVED)


def _in_words(whole: Whole) -> str:
    return f"{whole.dag.blocks} blocks of {whole.dag.size} bytes" if whole.dag else "nothing"
