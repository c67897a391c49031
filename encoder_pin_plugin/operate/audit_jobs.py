"""The part of an audit that the ledger and the spool have: jobs that were lazily pinned, asked about again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from encoder_pin_plugin.archive.audit import Audited, Loss
from encoder_pin_plugin.lazy.sample import reopen
from encoder_pin_plugin.lazy.statements import lazy_pin
from encoder_pin_plugin.nodes.holding import not_held

if TYPE_CHECKING:
    from collections.abc import Iterator

    from encoder_pin_plugin.lazy.pins import LazyPin
    from encoder_pin_plugin.lazy.spool import Spool
    from encoder_pin_plugin.nodes.base import PinNode
    from encoder_pin_plugin.operate.ledger_view import LedgerView

_PAGE = 1000
_NEXT = f"SELECT * FROM job WHERE key > :after AND +state = 'pinned' ORDER BY key LIMIT {_PAGE}"  # noqa: S608
_SOME = "SELECT * FROM job WHERE state = 'pinned' ORDER BY random() LIMIT :number"
_SAME_CID = "SELECT * FROM job WHERE cid = :cid AND state = 'pinned'"


def audit_pinned(
    ledger: LedgerView, supernode: PinNode, spool: Spool, *, sample: int | None, repair: bool
) -> Audited:  # fmt: skip
    """Ask the supernode about what was lazily pinned, or about some of it; submit again what it does not hold.
    Raises LedgerError, NotRecorded, StorageError."""
    audited = Audited(what="lazily pinned", node=supernode.address)
    cids = dict.fromkeys(pin.job.cid for pin in _pins(ledger, sample))
    waiting = {path.name.partition(".")[0] for path in spool.arrivals(1_000_000)}
    for cid, holding in not_held(supernode, cids, audited.tally, blocks=False):
        pins = [lazy_pin(row) for row in ledger.rows(_SAME_CID, cid=cid)]
        for pin in pins if repair else ():
            if pin.key not in waiting:  # another audit may have been here just now
                reopen(pin, supernode, spool)
        jobs = tuple(pin.job.job_id for pin in pins)
        outcome = "submitted again, the worker pins it" if repair else "nothing was done"
        detail = holding.detail or "not pinned"
        audited.losses.append(Loss(cid=cid, jobs=jobs, detail=detail, outcome=outcome, mended=False))
    return audited


def _pins(ledger: LedgerView, sample: int | None) -> Iterator[LazyPin]:
    """All pinned jobs, a page at a time so that no worker waits for us; or some."""
    if sample is not None:
        yield from map(lazy_pin, ledger.rows(_SOME, number=sample))
        return
    after = ""
    while rows := ledger.rows(_NEXT, after=after):
        yield from map(lazy_pin, rows)
        after = rows[-1]["key"]
