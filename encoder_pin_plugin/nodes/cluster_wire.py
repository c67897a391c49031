"""The calls of Cluster's REST API that we use, each with the answers that are no errors told from those that are.

Seen on Cluster 1.1.6: a CID that was never pinned is a 200 with `unpinned`; 404 `pin is not part of the pinset` is an
answer, 404 `not found` a wrong address; a request line of more than 8 KB is a 431; one bad CID makes a whole batch a
400; "not enough peers" is a 500 that no second try mends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from encoder_hookspecs.events import Reason
from encoder_pin_plugin.errors import NodeError
from encoder_pin_plugin.nodes.cid import comparable
from encoder_pin_plugin.nodes.cluster_status import CidStatus, WantedPin, read_status, read_wanted
from encoder_pin_plugin.nodes.http import Http

if TYPE_CHECKING:
    from collections.abc import Sequence

    from encoder_pin_plugin.nodes.http_reply import Reply
    from encoder_pin_plugin.settings import Credentials
    from encoder_pin_plugin.settings.address import NodeAddress

BATCH = 100
"""CIDs in one question: 130 were answered, 200 were a 431."""

_NOT_IN_PINSET = "not part of the pinset"
_SETTINGS = ("not enough peers to allocate", "replication_factor_min is larger", "bad pin replication")


class ClusterWire:
    """The REST API of one peer."""

    def __init__(self, address: NodeAddress, auth: Credentials | None, *, seconds: float) -> None:
        self.http = Http(address, auth, seconds=seconds)

    def version(self) -> str:
        """The Cluster's version. Raises NodeError where it is none."""
        reply = self.http.call("GET", "/version")
        version = reply.object().get("version")
        if not isinstance(version, str) or not version:
            raise NodeError(f"{reply.where}: it names no version: not an IPFS Cluster", Reason.BAD_REPLY)
        return version[:40]

    def wanted(self, cid: str) -> WantedPin | None:
        """What the pinset has of `cid`, None for nothing."""
        reply = self._ask("GET", f"/allocations/{cid}")
        return None if _absent(reply) else read_wanted(_same(reply, cid))

    def post(self, cid: str, options: Sequence[tuple[str, str]]) -> WantedPin:
        """Ask for a pin. Repeating it changes nothing; other options replace the former ones."""
        reply = self._ask("POST", f"/pins/{cid}", query=options)
        if any(text in reply.words() for text in _SETTINGS):
            raise NodeError(
                f"{reply.where}{reply.words()}; correct the replication factors of this target, or bring the missing"
                " peers back",
                Reason.NOT_ALLOWED,
            )
        return read_wanted(_same(reply, cid))

    def recover(self, cid: str) -> None:
        """Have peers with an error try again now; of no effect on others."""
        self._ask("POST", f"/pins/{cid}/recover").need_ok()

    def delete(self, cid: str) -> None:
        """Take a pin out of the pinset; one that is not there is no error."""
        reply = self._ask("DELETE", f"/pins/{cid}")
        if not _absent(reply):
            reply.need_ok()

    def status(self, cid: str, *, seconds: float | None = None) -> CidStatus:
        return read_status(_same(self.http.call("GET", f"/pins/{cid}", seconds=seconds), cid))

    def statuses(self, cids: Sequence[str]) -> dict[str, CidStatus | NodeError]:
        """For each CID its status, or why there is none."""
        answers: dict[str, CidStatus | NodeError] = {}
        for start in range(0, len(cids), BATCH):
            answers |= self._statuses(cids[start : start + BATCH])
        return answers

    def _statuses(self, cids: Sequence[str]) -> dict[str, CidStatus | NodeError]:
        try:
            reply = self._ask("GET", "/pins", query=[("cids", ",".join(cids))])
            if reply.status in (400, 414, 431) and len(cids) > 1:
                middle = len(cids) // 2
                return self._statuses(cids[:middle]) | self._statuses(cids[middle:])
            found = _by_cid(reply)
        except NodeError as error:
            return dict.fromkeys(cids, error)
        silent = NodeError(f"{reply.where}: the answer does not name this CID", Reason.BAD_REPLY)
        return {cid: found.get(comparable(cid), silent) for cid in cids}

    def _ask(self, method: str, path: str, *, query: Sequence[tuple[str, str]] = ()) -> Reply:
        return self.http.ask(method, path, query=query)


def _by_cid(reply: Reply) -> dict[str, CidStatus | NodeError]:
    """The statuses in a stream; of a CID that it says two things about it says nothing. Raises `NodeError`."""
    found: dict[str, CidStatus | NodeError] = {}
    for status in map(read_status, reply.lines()):
        cid = comparable(status.cid)
        if found.setdefault(cid, status) != status:
            words = f"{reply.where}: the answer contradicts itself about this CID"
            found[cid] = NodeError(words, Reason.BAD_REPLY)
    return found


def _absent(reply: Reply) -> bool:
    return reply.status == 404 and _NOT_IN_PINSET in reply.words()


def _same(reply: Reply, cid: str) -> dict[str, object]:
    """The object of an answer about `cid`. Raises `NodeError` where it is about another."""
    answer = reply.object()
    told = read_status(answer).cid
    if comparable(told) != comparable(cid):
        raise NodeError(f"{reply.where}: the answer is about {told[:80] or 'no CID'!r}", Reason.BAD_REPLY)
    return answer
