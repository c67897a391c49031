"""Whether a cluster holds every block: a question for the Kubo nodes of its peers, which alone know their blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from encoder_hookspecs.events import Reason
from encoder_pin_plugin.errors import NodeError
from encoder_pin_plugin.nodes.base import Answer, Whole
from encoder_pin_plugin.nodes.cluster_status import DEAD, CidStatus
from encoder_pin_plugin.nodes.kubo import KuboNode
from encoder_pin_plugin.nodes.kubo_transfer import peer_id

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from encoder_pin_plugin.nodes.base import PinNode
    from encoder_pin_plugin.nodes.cluster_status import PeerPin


class Peers:
    """The Kubo nodes of a cluster's peers, by Kubo peer id, Cluster peer id or peer name."""

    def __init__(self, nodes: Mapping[str, PinNode]) -> None:
        self._nodes = dict(nodes)

    def __bool__(self) -> bool:
        return bool(self._nodes)

    @property
    def on_this_machine(self) -> bool:
        return bool(self._nodes) and all(node.on_this_machine for node in self._nodes.values())

    def of(self, peer: PeerPin) -> PinNode | None:
        """The Kubo node behind `peer`, where one is configured for it."""
        names = (peer.kubo, peer.peer, peer.name)
        return next((self._nodes[name] for name in names if name in self._nodes), None)


def see_that_it_is_behind(node: PinNode, peer: PeerPin) -> None:
    """Raise NodeError where `node` is not the Kubo node of `peer`, or does not say so: an address that is given for the
    wrong one, the encoder's own at worst, would prove blocks that the cluster may have lost."""
    if peer.kubo and isinstance(node, KuboNode) and (found := peer_id(node)) != peer.kubo:
        words = f"{node.address} is the Kubo node {found}, and that of peer {peer.name or peer.peer} is {peer.kubo}"
        raise NodeError(f"{words}: correct peer=NAME@URL in the target", Reason.NOT_ALLOWED)


def places_of(statuses: Mapping[str, CidStatus | NodeError]) -> dict[str, frozenset[str]]:
    """The peer ids of the Kubo nodes that are to hold each CID, "" for one that is not named: of a CID without a status
    none is. Raises NodeError where no CID has one.

    A dead peer whose node the others have forgotten is left out: it may stay dead for ever, and what does not answer is
    counted as no copy.
    """
    errors = [status for status in statuses.values() if isinstance(status, NodeError)]
    if errors and len(errors) == len(statuses):
        raise errors[0]
    return {cid: _places(status) for cid, status in statuses.items()}


def _places(status: CidStatus | NodeError) -> frozenset[str]:
    if isinstance(status, NodeError):
        return frozenset({""})
    return frozenset(peer.kubo for peer in status.chosen if peer.kubo or peer.status != DEAD)


def ask_whole(
    peers: Peers,
    statuses: Mapping[str, CidStatus | NodeError],
    copies_of: Callable[[str, CidStatus], int],
) -> dict[str, Whole]:
    """Ask each Kubo node once, about all that its peer says it holds, and count the copies that are whole."""
    answers = _ask_each_node(peers, statuses)
    told: dict[str, Whole] = {}
    for cid, status in statuses.items():
        if isinstance(status, NodeError):
            told[cid] = Whole(answer=Answer.UNKNOWN, detail=str(status), reason=status.reason)
            continue
        try:
            told[cid] = _count(status, answers.get(cid, []), copies_of(cid, status))
        except NodeError as error:
            told[cid] = Whole(answer=Answer.UNKNOWN, detail=str(error), reason=error.reason)
    return told


def _ask_each_node(peers: Peers, statuses: Mapping[str, CidStatus | NodeError]) -> dict[str, list[Whole]]:
    questions: dict[str, tuple[PinNode, PeerPin, list[str]]] = {}  # two peers in front of one node are one copy
    for cid, status in statuses.items():
        for peer in status.holders if isinstance(status, CidStatus) else ():
            if (node := peers.of(peer)) is not None:
                questions.setdefault(peer.kubo or str(id(node)), (node, peer, []))[2].append(cid)
    answers: dict[str, list[Whole]] = {}
    for node, peer, cids in questions.values():
        for cid, whole in _ask(node, peer, cids).items():
            answers.setdefault(cid, []).append(whole)
    return answers


def _ask(node: PinNode, peer: PeerPin, cids: list[str]) -> Mapping[str, Whole]:
    try:
        see_that_it_is_behind(node, peer)
        return node.whole(cids)
    except NodeError as error:
        return {cid: Whole(answer=Answer.UNKNOWN, detail=str(error), reason=error.reason) for cid in cids}


def _count(status: CidStatus, answers: list[Whole], copies: int) -> Whole:
    whole = [answer for answer in answers if answer.yes]
    if len(whole) >= copies:
        return Whole(answer=Answer.YES, dag=whole[0].dag)
    short = [answer for answer in answers if answer.answer is Answer.NO]
    # A peer that holds it and was not asked, or could not tell, might make up for what is missing.
    possible = status.copies + len(status.doubtful) - len(short)
    words = "; ".join(answer.detail for answer in answers if answer.detail)
    detail = f"{len(whole)} of {copies} copies are whole; {words or status.in_words()}"
    if possible >= copies or (not short and status.judged(copies).answer is Answer.UNKNOWN):
        return Whole(answer=Answer.UNKNOWN, detail=detail)
    return Whole(answer=Answer.NO, detail=detail)
