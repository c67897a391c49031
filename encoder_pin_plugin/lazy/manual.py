"""What a person may do to a job beside the workers: have it tried now, or reject it.

Each is one transaction that a worker's lease cannot undo: a rejected job's epoch is raised, so that the late result of
an attempt under way is dropped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from encoder_pin_plugin.lazy.pins import State

if TYPE_CHECKING:
    from collections.abc import Collection

    from encoder_pin_plugin.lazy.ledger import Ledger

_HURRY = "UPDATE job SET next_at=min(next_at, waiting_since, :now) WHERE key=:key AND closed_at IS NULL"

_REJECT = """
UPDATE job SET state=:state, error=:why, closed_at=:now, epoch=epoch+1, owner=NULL, lease_until=NULL, release_at=NULL
WHERE key=:key AND closed_at IS NULL
"""


def hurry(ledger: Ledger, key: str, now: int) -> bool:
    """Make an open job due at `now` (wall-clock milliseconds); False where it is open no more.

    It is due since it waits: that holds wherever a step of the clock, which no worker has noticed yet, moves its times.

    Raises: LedgerError.
    """
    with ledger.transaction() as db:
        return db.execute(_HURRY, {"key": key, "now": now}).rowcount == 1


def reject(ledger: Ledger, key: str, nonces: Collection[str], why: str, now: int) -> bool:
    """Close an open job as rejected, the files of its submissions `nonces` being set aside already; False where it is
    open no more, or has been submitted again: that file is not set aside, and with the job closed it would be unlinked.

    Raises: LedgerError.
    """
    with ledger.transaction() as db:
        submissions = db.execute("SELECT nonce FROM submission WHERE key=? AND closed=0", (key,)).fetchall()
        if not {row["nonce"] for row in submissions} <= set(nonces):
            return False
        row = {"key": key, "why": why, "now": now, "state": State.REJECTED}
        if db.execute(_REJECT, row).rowcount == 0:
            return False
        db.execute("UPDATE submission SET closed=1 WHERE key=?", (key,))
        return True
