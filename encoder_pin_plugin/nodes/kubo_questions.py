"""Asking a Kubo node about many CIDs in few calls: is each pinned, is each whole.

Kubo takes many `arg`s in one call and answers all or nothing: the first CID that is not so fails the call, by name. So
a batch that is all yes costs one call. After a named no the next question is about one CID, after a nameless one about
half as many, and each yes doubles it: a batch that is all no costs one cheap call for each CID, and a few no among many
yes cost a few calls more. A yes is taken only from a call that answered for that CID, never from the order in which
Kubo seems to look.
"""

from __future__ import annotations

import math
import re
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeGuard, TypeVar

from encoder_hookspecs.events import Reason
from encoder_pin_plugin.errors import InvalidCid, NodeError
from encoder_pin_plugin.nodes.base import Answer, DagSize, Told, Whole
from encoder_pin_plugin.nodes.cid import canonical
from encoder_pin_plugin.nodes.kubo_errors import OddReply
from encoder_pin_plugin.nodes.kubo_wire import call_directly
from encoder_pin_plugin.nodes.sayings import said

if TYPE_CHECKING:
    from collections.abc import Mapping

    from encoder_pin_plugin.nodes.kubo_wire import KuboWire

T = TypeVar("T")

BATCH = 100
"""CIDs in one call."""

_QUERY = 6800
"""Characters of all CIDs in one call: proxies take request lines of 8 KB."""


def ask_pinned(wire: KuboWire, cids: Sequence[str], *, names: bool, seconds: float) -> dict[str, Told]:
    """For each CID whether the node holds a recursive pin of exactly it; never raises for what a node answers."""
    options = {"names": "true"} if names else {}

    def ask(batch: Sequence[str]) -> dict[str, Told]:
        return wire.ask(
            f"pin/ls of {_in_words(batch)}",
            lambda kubo: _read_pins(kubo.pin.ls(*batch, type="recursive", opts=dict(options)).as_json(), batch),
            seconds=seconds,
            body=_room(batch),
        )

    def unknown(detail: str, reason: Reason) -> Told:
        return Told(answer=Answer.UNKNOWN, detail=detail, reason=reason)

    return _Asking(cids, ask, _not_pinned, unknown=unknown).answers(seconds=seconds)


def ask_whole(wire: KuboWire, cids: Sequence[str], *, seconds: float) -> dict[str, Whole]:
    """For each CID whether every block is on the node; never raises for what a node answers, never fetches."""
    options = {"offline": "true", "progress": "false", "timeout": f"{math.ceil(seconds) + 30}s"}

    def ask(batch: Sequence[str]) -> dict[str, Whole]:
        return wire.ask(
            f"dag/stat of {_in_words(batch)}",
            lambda kubo: _read_dags(call_directly(kubo, "dag/stat", batch, options), batch),
            seconds=seconds,
            body=_room(batch),
        )

    def unknown(detail: str, reason: Reason) -> Whole:
        return Whole(answer=Answer.UNKNOWN, detail=detail, reason=reason)

    return _Asking(cids, ask, _not_whole, unknown=unknown).answers(seconds=seconds)


_Ask = Callable[[Sequence[str]], dict[str, T]]
_No = Callable[[NodeError, Sequence[str]], dict[str, T]]


class _Asking(Generic[T]):
    """One question about many CIDs: which to ask about together next, and what is known so far.

    Args:
        cids: as the caller wrote them.
        ask: asks about a batch, and returns an answer for each; raises `NodeError`.
        no: the answers "no" that an error contains.
        unknown: makes an answer "unknown" from the words for it.
    """

    def __init__(self, cids: Sequence[str], ask: _Ask[T], no: _No[T], *, unknown: Callable[[str, Reason], T]) -> None:
        self._ask, self._no, self._unknown = ask, no, unknown
        self._written = {cid: _canonical_or_fault(cid) for cid in cids}
        self._todo = deque(dict.fromkeys(text for text, fault in self._written.values() if not fault))
        self._known: dict[str, T] = {}
        self._size = BATCH

    def answers(self, *, seconds: float) -> dict[str, T]:
        """Ask until everything is known, or the node is not worth asking further. `seconds` are for one call; all of
        them may take four times as long."""
        end = time.monotonic() + 4 * seconds
        while self._todo:
            if time.monotonic() > end:
                self._give_up("not asked: the node answered too slowly", Reason.TIMEOUT)
            else:
                self._next()
        return {
            cid: self._unknown(fault, Reason.BAD_REPLY) if fault else self._known[text]
            for cid, (text, fault) in self._written.items()
        }

    def _next(self) -> None:
        batch = self._take()
        try:
            self._known.update(self._ask(batch))
        except NodeError as error:
            self._failed(batch, error)
        else:
            self._size = min(BATCH, 2 * self._size)

    def _take(self) -> list[str]:
        batch, length = [self._todo.popleft()], 0
        while self._todo and len(batch) < self._size and (length := length + len(batch[-1]) + 5) < _QUERY:
            batch.append(self._todo.popleft())
        return batch

    def _failed(self, batch: list[str], error: NodeError) -> None:
        no = self._no(error, batch)
        self._known.update(no)
        self._size = 1 if no or error.reason is Reason.TIMEOUT else max(1, len(batch) // 2)
        if no or len(batch) > 1:
            self._todo.extendleft(cid for cid in reversed(batch) if cid not in no)
        else:
            self._known[batch[0]] = self._unknown(str(error), error.reason)
        hopeless = _HOPELESS if len(batch) > 1 else _HOPELESS | {Reason.TIMEOUT}
        if not no and error.reason in hopeless:
            self._give_up(str(error), error.reason)

    def _give_up(self, why: str, reason: Reason) -> None:
        self._known.update({cid: self._unknown(why, reason) for cid in self._todo})
        self._todo.clear()


_HOPELESS = frozenset({Reason.REFUSED, Reason.CUT, Reason.STALLED, Reason.NOT_ALLOWED})
"""After these the next CID would fare no better."""


def _canonical_or_fault(cid: Any) -> tuple[str, str]:
    try:
        return canonical(cid), ""
    except InvalidCid as error:
        return "", str(error)


def _in_words(batch: Sequence[str]) -> str:
    return batch[0] if len(batch) == 1 else f"{batch[0]} and {len(batch) - 1} more"


def _room(batch: Sequence[str]) -> int:
    """Bytes that an answer about so many CIDs may have: names of 255 bytes may be escaped sixfold."""
    return 16384 + 2048 * len(batch)


_SILENT = "the node answered without a word about this CID"
_NAMED = re.compile(r"path '(?:/ipfs/)?([A-Za-z0-9]+)' is not pinned")


def _not_pinned(error: NodeError, batch: Sequence[str]) -> dict[str, Told]:
    """Kubo names the first CID of a batch that is not pinned; another node's name for it means nothing."""
    match = _NAMED.search(str(error)) if error.reason is Reason.NODE_ERROR else None
    named = _canonical_or_fault(match[1])[0] if match else ""
    return {named: Told(answer=Answer.NO, detail="not pinned")} if named in batch else {}


def _not_whole(error: NodeError, batch: Sequence[str]) -> dict[str, Whole]:
    """Kubo names the missing block, not the DAG it belongs to: only a question about one CID is answered by it."""
    if len(batch) > 1 or error.reason is not Reason.CONTENT_MISSING:
        return {}
    return {batch[0]: Whole(answer=Answer.NO, detail=str(error))}


def _read_pins(reply: object, batch: Sequence[str]) -> dict[str, Told]:
    keys = reply.get("Keys") if isinstance(reply, dict) else None
    if not isinstance(keys, dict):
        raise OddReply("it has no 'Keys'")
    if not all(cid in keys for cid in batch):  # they may stand there in another base
        keys = {_canonical_or_fault(key)[0]: row for key, row in keys.items()}
    return {cid: _read_pin(keys.get(cid)) for cid in batch}


def _read_pin(row: object) -> Told:
    if not isinstance(row, dict) or not isinstance(row.get("Type"), str):
        return Told(answer=Answer.UNKNOWN, detail=_SILENT, reason=Reason.BAD_REPLY)
    if row["Type"] != "recursive":
        return Told(answer=Answer.NO, detail=f"not pinned recursively: {said(row['Type'], 80)}")
    name = row.get("Name")
    return Told(answer=Answer.YES, name=name if isinstance(name, str) else "")


def _read_dags(reply: object, batch: Sequence[str]) -> dict[str, Whole]:
    rows = reply.get("DagStats") if isinstance(reply, dict) else None
    if not isinstance(rows, list):
        raise OddReply("it has no 'DagStats'")
    by_cid = {_cid_of(row, batch): row for row in rows if isinstance(row, dict)}
    return {cid: _read_dag(by_cid.get(cid)) for cid in batch}


def _cid_of(row: Mapping[str, Any], batch: Sequence[str]) -> str:
    cid = row.get("Cid")
    text = cid.get("/") if isinstance(cid, dict) else cid  # a link in dag-json, or a text: both have been used
    return str(text) if text in batch else _canonical_or_fault(text)[0]


def _read_dag(row: object) -> Whole:
    blocks, size = (row.get("NumBlocks"), row.get("Size")) if isinstance(row, dict) else (None, None)
    if not _is_count(blocks) or not blocks or not _is_count(size):  # the root alone is a block
        return Whole(answer=Answer.UNKNOWN, detail=_SILENT, reason=Reason.BAD_REPLY)
    return Whole(answer=Answer.YES, dag=DagSize(blocks=blocks, size=size))


def _is_count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
