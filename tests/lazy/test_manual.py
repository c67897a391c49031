"""What a person does to a job beside the workers holds, whatever they are at."""

from __future__ import annotations

from encoder_pin_plugin.lazy.ledger import Ledger
from encoder_pin_plugin.lazy.manual import hurry, reject
from encoder_pin_plugin.lazy.pins import State, Step
from tests.lazy.booking import add, claim, column, end, key_of, names
from tests.lazy.conftest import NOW

LATER = NOW + 5000


def _put_off(ledger: Ledger, *jobs: str) -> None:
    """Jobs that are due in an hour."""
    add(ledger, *jobs)
    with ledger.transaction() as db:
        db.execute("UPDATE job SET next_at=?", (NOW + 3_600_000,))


def test_a_job_is_due_at_once_and_no_other(ledger: Ledger) -> None:
    _put_off(ledger, "a", "b")
    assert names(claim(ledger, now=LATER)) == []
    assert hurry(ledger, key_of(ledger, "a"), LATER) is True
    assert names(claim(ledger, now=LATER)) == ["a"]
    assert column(ledger, "b", "next_at") == NOW + 3_600_000


def test_a_job_is_due_since_it_waits_and_never_later_than_before(ledger: Ledger) -> None:
    _put_off(ledger, "a")
    assert hurry(ledger, key_of(ledger, "a"), LATER)
    assert column(ledger, "a", "next_at") == NOW
    assert hurry(ledger, key_of(ledger, "a"), NOW - 7)
    assert column(ledger, "a", "next_at") == NOW - 7
    assert hurry(ledger, key_of(ledger, "a"), LATER)
    assert column(ledger, "a", "next_at") == NOW - 7


def test_neither_a_finished_job_nor_none_can_be_hurried_or_rejected(ledger: Ledger) -> None:
    add(ledger, "a")
    end(ledger, "a", State.PINNED)
    key = key_of(ledger, "a")
    for which in (key, "no such key"):
        assert hurry(ledger, which, LATER) is False
        assert reject(ledger, which, ledger.nonces(), "why", LATER) is False
    assert column(ledger, "a", "state") == State.PINNED


def test_a_rejected_job_is_closed_with_its_reason_and_no_other(ledger: Ledger) -> None:
    (nonce, other) = add(ledger, "a", "b")
    assert reject(ledger, key_of(ledger, "a"), [nonce], "a test upload", LATER) is True
    (pin,) = ledger.select("job_id='a'")
    assert (pin.state, pin.error, pin.closed_at) == (State.REJECTED, "a test upload", LATER)
    assert ledger.nonces() == {nonce: True, other: False}
    assert names(claim(ledger, now=LATER)) == ["b"]


def test_a_submission_of_a_job_that_is_finished_stays_as_it_is(ledger: Ledger) -> None:
    (nonce,) = add(ledger, "a")
    with ledger.transaction() as db:
        db.execute("UPDATE job SET closed_at=1")
    assert reject(ledger, key_of(ledger, "a"), ledger.nonces(), "why", LATER) is False
    assert ledger.nonces() == {nonce: False}


def test_a_job_that_was_submitted_again_meanwhile_stays_open(ledger: Ledger) -> None:
    (nonce,) = add(ledger, "a")
    (again,) = add(ledger, "a")
    assert reject(ledger, key_of(ledger, "a"), [nonce], "why", LATER) is False
    assert column(ledger, "a", "closed_at") is None
    assert ledger.nonces() == {nonce: False, again: False}
    assert reject(ledger, key_of(ledger, "a"), [nonce, again], "why", LATER) is True


def test_what_is_under_way_for_a_rejected_job_comes_too_late(ledger: Ledger) -> None:
    add(ledger, "a")
    (pin,) = claim(ledger)
    assert reject(ledger, pin.key, ledger.nonces(), "why", LATER)
    assert ledger.owners() == set()
    assert column(ledger, "a", "lease_until") is None
    step = Step(pin=pin, state=State.PINNED, attempts=0, tries=1)
    assert ledger.commit([step], LATER) == []
    assert column(ledger, "a", "state") == State.REJECTED


def test_what_was_held_for_a_rejected_job_is_not_due_for_release(ledger: Ledger) -> None:
    add(ledger, "a")
    with ledger.transaction() as db:
        db.execute("UPDATE job SET release_at=?", (NOW,))
    assert reject(ledger, key_of(ledger, "a"), ledger.nonces(), "why", LATER)
    assert column(ledger, "a", "release_at") is None
