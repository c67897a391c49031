"""Jobs in a ledger, brought to where a test wants them."""

from __future__ import annotations

from typing import Any

from encoder_hookspecs.events import CompletedJob
from encoder_pin_plugin.lazy.jobfile import new_submission
from encoder_pin_plugin.lazy.ledger import Ledger
from encoder_pin_plugin.lazy.pins import LazyPin, State, Step, to_moment
from tests.cids import cid_of
from tests.lazy.conftest import NOW

LEASE = 120_000


def add(ledger: Ledger, *names: str, cid: str | None = None, now: int = NOW, **fields: Any) -> list[str]:
    """Submit jobs; their nonces."""
    fields.setdefault("completed_at", to_moment(now))
    submissions = [new_submission(CompletedJob(cid=cid or cid_of(name), job_id=name, **fields)) for name in names]
    ledger.ingest(submissions, now)
    return [submission.nonce for submission in submissions]


def claim(ledger: Ledger, owner: str = "w1", now: int = NOW, **options: Any) -> list[LazyPin]:
    return ledger.claim(owner, options.pop("state", State.PENDING), now, **({"limit": 10, "lease": LEASE} | options))


def end(ledger: Ledger, name: str, state: State = State.PINNED, now: int = NOW, **fields: Any) -> None:
    """Bring a job to a state."""
    (pin,) = [pin for pin in claim(ledger, "ender", now) if pin.job.job_id == name]
    ledger.commit([Step(**({"pin": pin, "state": state, "attempts": 0, "tries": 1} | fields))], now)
    ledger.release("ender")


def names(pins: list[LazyPin]) -> list[str]:
    return [pin.job.job_id for pin in pins]


def column(ledger: Ledger, name: str, what: str) -> Any:
    (row,) = ledger.read(f"SELECT {what} AS it FROM job WHERE job_id=?", (name,))
    return row["it"]


def key_of(ledger: Ledger, name: str) -> str:
    return str(column(ledger, name, "key"))


def holding(ledger: Ledger, *held: str) -> dict[str, str]:
    """Pinned jobs whose CIDs we hold: name -> key."""
    add(ledger, *held)
    for name in held:
        end(ledger, name)
    keys = {pin.job.job_id: pin.key for pin in ledger.select()}
    ledger.set_hold(dict.fromkeys(keys.values(), "ours"), NOW)
    return keys
