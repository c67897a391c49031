"""The local pin: on the encoder's own node, pinned and whole, with the blocks on the disk and not in its cache."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from encoder_hookspecs.events import LocalPin, Proof, Reason
from encoder_pin_plugin.errors import NodeError
from encoder_pin_plugin.nodes.base import Answer, Limits, Told, Whole

if TYPE_CHECKING:
    from encoder_pin_plugin.durable import SharedSync
    from encoder_pin_plugin.nodes.base import PinNode

Answered = TypeVar("Answered", Told, Whole)


@dataclass(frozen=True, kw_only=True)
class LocalPinner:
    """Pins on one local node.

    Args:
        node: the encoder's own node.
        limits: of one pin, which may have to fetch what is missing.
        sync: shared by all pinners of a process.
    """

    node: PinNode
    limits: Limits
    sync: SharedSync

    def pin(self, cid: str) -> LocalPin:
        """Pin `cid` and prove it `pinned` and `whole`. The caller holds the CID's lock.

        Raises:
            NodeError: it is not pinned, or not proved; trying again is harmless.
        """
        made = not _known(self.node.pinned([cid])[cid], "whether it is pinned", cid).yes
        if made:
            self.node.pin(cid, limits=self.limits)
            if not _known(self.node.pinned([cid])[cid], "whether it is pinned", cid).yes:
                text = f"{self.node.address} said that it pinned {cid}, and then that it did not"
                raise NodeError(text, Reason.UNPROVED)
        return replace(self.prove(cid), made=made)

    def prove(self, cid: str) -> LocalPin:
        """Prove that `cid`, which is pinned, is whole. Raises NodeError where it is not, or not known to be."""
        if self.node.on_this_machine:
            self.sync.wait()
        whole = _known(self.node.whole([cid])[cid], "whether it has every block", cid)
        if not whole.yes:
            raise NodeError(
                f"{self.node.address} has a pin of {cid} but not all of its blocks ({whole.detail})",
                Reason.CONTENT_MISSING,
            )
        size, kind = self.node.describe(cid)
        dag = whole.dag or size
        return LocalPin(cid=cid, node=self.node.address, proof=Proof.WHOLE, size_mb=dag.mb if dag else None, type=kind)

    def holds(self, cid: str) -> bool:
        """Whether `cid` is pinned here and whole: the check of a plugin's word. Never raises for a node's answer."""
        try:
            return self.node.pinned([cid])[cid].yes and self.prove(cid).proof is Proof.WHOLE
        except NodeError:
            return False


def _known(answer: Answered, question: str, cid: str) -> Answered:
    """`answer`, unless it is unknown: then it raises NodeError."""
    if answer.answer is Answer.UNKNOWN:
        detail = answer.detail or f"no answer about {cid}"
        raise NodeError(f"cannot tell {question}: {detail}", answer.reason or Reason.NODE_ERROR)
    return answer
