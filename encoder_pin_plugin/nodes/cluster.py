"""An IPFS Cluster as a `PinNode`: many Kubo nodes that share a pinset, asked at one peer's REST API.

Accepting a pin costs Cluster a millisecond and says nothing; what counts is `peer_map`, where each peer says what its
Kubo node has done. A pin that the cluster already has keeps its options: posting it again with fewer drops its name,
metadata and allocations. An error there is not final, Cluster goes on trying for ever, and so may we.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import quote

from encoder_hookspecs.events import ContentType, Reason
from encoder_pin_plugin.errors import NodeError
from encoder_pin_plugin.nodes.base import PIN_NAME, Answer, DagSize, Limits, Told, Whole
from encoder_pin_plugin.nodes.cluster_push import push_car
from encoder_pin_plugin.nodes.cluster_status import EVERYWHERE, CidStatus, WantedPin, nodes_behind
from encoder_pin_plugin.nodes.cluster_whole import Peers, ask_whole, places_of, see_that_it_is_behind
from encoder_pin_plugin.nodes.cluster_wire import ClusterWire
from encoder_pin_plugin.nodes.http import ASK_SECONDS, service_address
from encoder_pin_plugin.nodes.pin_wait import PinWait
from encoder_pin_plugin.nodes.sayings import said

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from encoder_pin_plugin.nodes.base import PinNode
    from encoder_pin_plugin.settings import Credentials

PORT = 9094
"""Of the REST API, for an http URL that names none."""


class ClusterNode:
    """One cluster, through one of its peers. Safe to be used by many threads at once.

    Args:
        address: of the REST API (9094, not the proxy on 9095, which says "pinned" before a byte moved). Raises
            `InvalidSettings` for what is no address.
        auth: credentials for it, or None.
        replication_min, replication_max: copies of what we pin; 0 leaves it to the cluster, -1 is everywhere. A pin
            that is there with fewer copies is raised to ours, never lowered.
        quorum: copies that are enough where a pin is wanted everywhere; None for all peers that the cluster counts.
            It soon stops counting a dead one (seen: after 16 s), so a cluster that matters names a quorum.
        peers: the Kubo nodes of the peers, by Kubo peer id, Cluster peer id or peer name, for `whole` and `describe`.
        ask_seconds: for one question; a peer that is asked about all peers waits for the slowest.
    """

    def __init__(
        self,
        address: str,
        *,
        auth: Credentials | None = None,
        replication_min: int = 0,
        replication_max: int = 0,
        quorum: int | None = None,
        peers: Mapping[str, PinNode] | None = None,
        ask_seconds: float = ASK_SECONDS,
    ) -> None:
        self.where = service_address(address, PORT)
        self.wire = ClusterWire(self.where, auth, seconds=ask_seconds)
        self._factors = (replication_min, replication_max or replication_min)
        self._quorum = quorum
        self._peers = Peers(peers or {})

    def __repr__(self) -> str:
        return f"ClusterNode({self.where.text!r})"

    @property
    def address(self) -> str:
        return self.where.text

    @property
    def on_this_machine(self) -> bool:
        """Only where all of its Kubo nodes are known to be: the REST API's address says nothing about blocks."""
        return self._peers.on_this_machine

    def ping(self) -> str:
        """Software and version. Raises `NodeError`."""
        return f"ipfs-cluster {self.wire.version()}"

    def pinned(self, cids: Sequence[str], *, names: bool = False) -> Mapping[str, Told]:
        """For each CID whether enough peers hold it, on a fresh question; one call for a hundred CIDs."""
        return {cid: self._told(cid, status, named=names) for cid, status in self._statuses(cids).items()}

    def pin(
        self,
        cid: str,
        *,
        name: str = PIN_NAME,
        limits: Limits,
        progress: Callable[[int], None] | None = None,
        meta: Mapping[str, str] | None = None,
        origins: Sequence[str] = (),
    ) -> None:
        """As `PinNode.pin`; returns when enough peers say `pinned`. `progress` counts copies.

        Args:
            meta: kept with the pin, such as job_id and node_id.
            origins: multiaddresses, ending in a peer id, where the content can be fetched; others are left out.

        Raises:
            NodeError: STALLED where no peer has worked on it for the stall limit, TIMEOUT at the total limit, NODE_FULL
                or NODE_ERROR where a peer says why, NOT_ALLOWED for what only other settings can mend.
        """
        wait = PinWait(limits)
        wanted = self.submit(cid, name=name, meta=meta, origins=origins)
        self._follow(wanted, quote(cid, safe=""), wait, progress or (lambda _: None))

    def submit(
        self,
        cid: str,
        *,
        name: str = PIN_NAME,
        meta: Mapping[str, str] | None = None,
        origins: Sequence[str] = (),
    ) -> WantedPin:
        """Ask for a pin and return at once; `pinned` says later what came of it. Looks first: a pin that is there
        is left as it is, unless it wants fewer copies than we do or is to expire. Raises `NodeError`."""
        cid = quote(cid, safe="")
        ours = self._ours(cid, name, meta, origins)
        there = self.wire.wanted(cid)
        better = _raised(there, ours) if there else ours
        return better if there == better else self.wire.post(cid, better.options())

    def push_car(
        self,
        cid: str,
        car: Iterable[bytes],
        *,
        limits: Limits,
        name: str = PIN_NAME,
        meta: Mapping[str, str] | None = None,
    ) -> None:
        """Send a CAR whose one root is `cid`, to be pinned; held in memory piece by piece only. Returns when Cluster
        named our CID as added: a claim, to be proved by `pinned`. Raises `NodeError`; what `car` raises passes."""
        quoted = quote(cid, safe="")
        ours, there = self._ours(quoted, name, meta, ()), self.wire.wanted(quoted)
        options = (_raised(there, ours) if there else ours).options()
        push_car(self.wire.http, cid, car, options=options, limits=limits)

    def whole(self, cids: Sequence[str]) -> Mapping[str, Whole]:
        """Asked of the peers' own Kubo nodes, where they are configured; *unknown* elsewhere."""
        if not self._peers:
            words = "the cluster itself cannot tell; configure its peers' Kubo nodes"
            return {cid: Whole(answer=Answer.UNKNOWN, detail=words) for cid in cids}
        return ask_whole(self._peers, self._statuses(cids), self._copies_of)

    def unpin(self, cid: str) -> None:
        """Take `cid` out of the pinset, whoever put it there; one that is gone is no error. The peers' Kubo nodes
        follow within seconds."""
        self.wire.delete(quote(cid, safe=""))

    def describe(self, cid: str) -> tuple[DagSize | None, ContentType | None]:
        """Asked of a Kubo node that holds it, where one is configured."""
        status = self.wire.status(quote(cid, safe=""))
        for node in self._known(status):
            size, kind = node.describe(cid)
            if size is not None:
                return size, kind
        return None, None

    @property
    def knows_kubo(self) -> bool:
        """Whether a Kubo node of any peer is configured."""
        return bool(self._peers)

    def holders(self, cid: str) -> list[PinNode]:
        """The configured Kubo nodes of the peers that say `pinned`, on a fresh question. Raises `NodeError`, also where
        none of them is the one that its peer names."""
        found: list[PinNode] = []
        failed: NodeError | None = None
        for peer in self.wire.status(quote(cid, safe="")).holders:
            if (node := self._peers.of(peer)) is not None:
                try:
                    see_that_it_is_behind(node, peer)
                    found.append(node)
                except NodeError as error:
                    failed = error
        if failed is not None and not found:
            raise failed
        return found

    def places(self, cids: Sequence[str]) -> Mapping[str, frozenset[str]]:
        """The peer ids of the Kubo nodes that are to hold each CID, "" for one that is not named. Raises `NodeError`
        where the cluster says nothing of any."""
        return places_of(self._statuses(cids))

    def _statuses(self, cids: Sequence[str]) -> dict[str, CidStatus | NodeError]:
        answers = self.wire.statuses([quote(cid, safe="") for cid in cids])
        return {cid: answers[quote(cid, safe="")] for cid in cids}

    def _known(self, status: CidStatus) -> list[PinNode]:
        return [node for node in map(self._peers.of, status.holders) if node is not None]

    def _follow(self, wanted: WantedPin, cid: str, wait: PinWait, progress: Callable[[int], None]) -> None:
        recovered, trouble = False, None
        status = CidStatus(cid=cid)
        wait.begin()
        while (over := wait.over()) is None:
            try:
                status, trouble = self.wire.status(cid, seconds=wait.left(self.wire.http.seconds)), None
            except NodeError as error:  # one question of many: the pin goes on without it
                if error.reason is Reason.NOT_ALLOWED:
                    raise
                trouble = error
            told = status.judged(self._copies(wanted.replication_min, status))
            if wait.saw((status.peers, str(trouble)), working=status.working and not trouble):
                progress(status.copies)
            if told.yes and not trouble:
                return
            if status.failed and not recovered:
                recovered = True
                with contextlib.suppress(NodeError):  # Cluster tries again by itself, later
                    self.wire.recover(cid)
            wait.pause()
        raise trouble or _given_up(f"{self.address} pinning {cid}", status, over, told.detail)

    def _told(self, cid: str, answer: CidStatus | NodeError, *, named: bool) -> Told:
        if isinstance(answer, NodeError):
            return Told(answer=Answer.UNKNOWN, detail=str(answer), reason=answer.reason)
        try:
            told = answer.judged(self._copies_of(cid, answer), named=named)
            return self._lasting(cid, told) if told.yes and not answer.ours else told
        except NodeError as error:
            return Told(answer=Answer.UNKNOWN, detail=str(error), reason=error.reason)

    def _lasting(self, cid: str, told: Told) -> Told:
        """A yes about a pin that somebody else asked for, unless it ends by itself: no status tells that."""
        wanted = self.wire.wanted(quote(cid, safe=""))
        if wanted is None or not wanted.expire_at:
            return told
        return replace(told, answer=Answer.NO, detail=f"pinned, but only until {said(wanted.expire_at, 40)}")

    def _copies_of(self, cid: str, status: CidStatus) -> int:
        """As `_copies`, for a CID of which only the status is known; asks for the wanted pin where that decides."""
        ours = self._factors[0]
        if not status.allocations or ours == EVERYWHERE:
            return self._copies(EVERYWHERE, status)
        if not status.holders:
            return max(ours, 1)
        enough = max(len(status.allocations), ours)
        if status.copies >= enough:
            return enough
        wanted = self.wire.wanted(quote(cid, safe=""))
        return self._copies(wanted.replication_min if wanted else EVERYWHERE, status)

    def _copies(self, theirs: int, status: CidStatus) -> int:
        """How many peers have to hold a pin that wants `theirs` copies; never fewer than we want ourselves."""
        ours = self._factors[0]
        if ours == EVERYWHERE:
            return max(self._quorum or nodes_behind(status.peers), 1)
        if theirs == EVERYWHERE:
            return max(self._quorum or nodes_behind(status.chosen), ours, 1)
        return max(ours, theirs, 1)

    def _ours(self, cid: str, name: str, meta: Mapping[str, str] | None, origins: Sequence[str]) -> WantedPin:
        return WantedPin(
            cid=cid,
            name=name,
            metadata={"app": PIN_NAME} | dict(meta or {}),
            origins=tuple(origin for origin in origins if "/p2p/" in origin),
            replication_min=self._factors[0],
            replication_max=self._factors[1],
        )


def _fewer(theirs: int, ours: int) -> bool:
    """Whether `theirs` asks for fewer copies than `ours`; 0 asks for nothing of its own."""
    if ours == EVERYWHERE:
        return theirs != EVERYWHERE
    return EVERYWHERE < theirs < ours


def _raised(there: WantedPin, ours: WantedPin) -> WantedPin:
    """The pin that is there, for ever and with at least our number of copies; everything else as it was."""
    if not _fewer(there.replication_min, ours.replication_min):
        return replace(there, expire_at="")
    most = max(ours.replication_max, there.replication_max)
    if EVERYWHERE in (ours.replication_max, there.replication_max):
        most = EVERYWHERE
    return replace(there, expire_at="", replication_min=ours.replication_min, replication_max=most)


def _given_up(what: str, status: CidStatus, over: Reason, detail: str) -> NodeError:
    """Why the waiting ended, in the words of the peers that failed where there are any."""
    errors = " ".join(peer.error for peer in status.failed if peer.error)
    if "no space left" in errors or "quota exceeded" in errors:
        over = Reason.NODE_FULL
    elif over is Reason.STALLED and errors and "context" not in errors:
        over = Reason.NODE_ERROR  # "context canceled" is how Cluster says that no block came for two minutes
    return NodeError(f"{what}: {over.value}, {detail}", over)
