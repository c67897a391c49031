"""What the ledger's statements say, place by place: reopening, leasing, agreeing, and which files may go."""

from __future__ import annotations

from typing import Any

import pytest

from encoder_hookspecs.events import CompletedJob, Reason
from encoder_pin_plugin.lazy.jobfile import new_submission
from encoder_pin_plugin.lazy.ledger import Ledger
from encoder_pin_plugin.lazy.pins import State, Step, to_moment
from tests.cids import cid_of
from tests.lazy.booking import LEASE, add, claim, column, end, holding, names
from tests.lazy.conftest import NOW

LATER = NOW + 50_000
KEPT = {
    "state": "pending", "attempts": 2, "tries": 3, "fallbacks": 4, "first_tried_at": NOW - 5, "waiting_since": NOW,
    "next_at": NOW + 7, "reason": "timeout", "error": "no answer", "hold": "ours", "closed_at": None,
}  # fmt: skip
FRESH = {
    "state": "pending", "attempts": 0, "tries": 0, "fallbacks": 0, "first_tried_at": None, "waiting_since": LATER,
    "next_at": LATER, "reason": None, "error": None, "hold": None, "closed_at": None, "release_at": None,
    "whole_at": None,
}  # fmt: skip


def row(ledger: Ledger, name: str) -> dict[str, Any]:
    (found,) = ledger.read("SELECT * FROM job WHERE job_id=?", (name,))
    return dict(found)


def tried(ledger: Ledger, state: State) -> None:
    """A job `a` with something in every column, then in this state."""
    add(ledger, "a")
    (pin,) = claim(ledger)
    ledger.set_hold({pin.key: "ours"}, NOW)
    step = Step(
        pin=pin, state=state, attempts=2, tries=3, fallbacks=4, delay=7, took=5, reason=Reason.TIMEOUT,
        error="no answer", whole_for=0,
    )  # fmt: skip
    ledger.commit([step], NOW)


def test_an_open_job_that_is_submitted_again_stays_as_it_is(ledger: Ledger) -> None:
    tried(ledger, State.PENDING)
    add(ledger, "a", now=LATER)
    assert {name: row(ledger, "a")[name] for name in KEPT} == KEPT


def test_a_finished_job_that_is_submitted_again_begins_anew_in_every_column(ledger: Ledger) -> None:
    tried(ledger, State.PINNED)
    assert (row(ledger, "a")["release_at"], row(ledger, "a")["whole_at"]) == (NOW, NOW)
    add(ledger, "a", now=LATER)
    assert {name: row(ledger, "a")[name] for name in FRESH} == FRESH


def test_what_a_later_submission_knows_is_learnt_and_nothing_is_unlearnt(ledger: Ledger) -> None:
    for size, kind in ((None, None), (2.5, "file"), (9.5, "directory"), (None, None)):
        add(ledger, "a", size_mb=size, type=kind)
    assert (row(ledger, "a")["size_mb"], row(ledger, "a")["type"]) == (2.5, "file")


def test_a_pin_of_ours_is_due_for_release_when_its_job_is_pinned(ledger: Ledger) -> None:
    for state, due in ((State.PENDING, None), (State.PINNED, NOW)):
        tried(ledger, state) if state is State.PENDING else end(ledger, "a", state, now=NOW + 7)
        assert row(ledger, "a")["release_at"] == (due and NOW + 7)


BOTH = pytest.mark.parametrize("by", [{}, {"waited": 0}], ids=["due", "age"])


@BOTH
def test_a_lease_holds_to_its_end_and_no_longer(ledger: Ledger, by: dict[str, int]) -> None:
    add(ledger, "a")
    assert len(claim(ledger, **by)) == 1
    for later in (0, 1, LEASE - 1):
        assert claim(ledger, "w2", NOW + later, **by) == []
    assert len(claim(ledger, "w2", NOW + LEASE, **by)) == 1


@BOTH
@pytest.mark.parametrize(("owner", "until"), [(None, None), (None, NOW + 5), ("w1", None), ("w1", NOW + LEASE + 1)])
def test_half_a_lease_and_one_of_a_wrong_clock_hold_nothing(
    ledger: Ledger, by: dict[str, int], owner: str | None, until: int | None
) -> None:
    add(ledger, "a")
    with ledger.transaction() as db:
        db.execute("UPDATE job SET owner=?, lease_until=?", (owner, until))
    assert len(claim(ledger, "w2", **by)) == 1


@BOTH
@pytest.mark.parametrize(
    ("owner", "until", "free"),
    [("w1", NOW + 1, False), ("w1", NOW + LEASE, False), ("w1", NOW, True), ("w1", NOW + LEASE + 1, True),
     (None, NOW + 1, True), ("w1", None, True)],
)  # fmt: skip
def test_a_cid_is_taken_while_another_job_of_it_is_leased(
    ledger: Ledger, by: dict[str, int], owner: str | None, until: int | None, free: bool
) -> None:
    add(ledger, "a", "b", cid=cid_of("one"))
    add(ledger, "c")
    with ledger.transaction() as db:
        db.execute("UPDATE job SET owner=?, lease_until=? WHERE job_id='a'", (owner, until))
        db.execute("UPDATE job SET state='falling_back' WHERE job_id='a'")
    assert sorted(names(claim(ledger, "w2", **by))) == (["b", "c"] if free else ["c"])


@BOTH
def test_small_jobs_alone_are_claimed_where_that_is_asked_for(ledger: Ledger, by: dict[str, int]) -> None:
    add(ledger, "edge", size_mb=1000)
    add(ledger, "small", size_mb=999.9)
    add(ledger, "unknown", "stalled", "timeout", "refused")
    for name in ("stalled", "timeout", "refused"):
        end(ledger, name, State.PENDING, reason=Reason(name))
    assert sorted(names(claim(ledger, small_only=True, **by))) == ["refused", "small", "unknown"]
    assert sorted(names(claim(ledger, "w2", **by))) == ["edge", "stalled", "timeout"]


def test_the_earliest_of_several_in_either_state_is_due_next(ledger: Ledger) -> None:
    for state, first in ((State.PENDING, 30), (State.FALLING_BACK, 20)):
        for number in (1, 0, 2):
            add(ledger, f"{state} {number}")
            end(ledger, f"{state} {number}", state, delay=first + number)
    assert [ledger.next_due(NOW + after) for after in (0, 20, 21, 22)] == [NOW + it for it in (20, 21, 22, 30)]


@pytest.mark.parametrize(
    ("state", "kept"), [(None, True), (State.ARCHIVED, True), (State.PINNED, False), (State.REJECTED, False)]
)
def test_a_pin_that_another_job_needs_is_not_released(ledger: Ledger, state: State | None, kept: bool) -> None:
    holding(ledger, "a")
    add(ledger, "b", cid=cid_of("a"))
    add(ledger, "unrelated")
    if state is not None:
        end(ledger, "b", state)
    assert names(ledger.releases(NOW, limit=9, again=1)) == ([] if kept else ["a"])


def test_a_file_may_go_when_its_job_is_finished_or_has_another(ledger: Ledger) -> None:
    (finished,), (closed,), (again,) = add(ledger, "a"), add(ledger, "b"), add(ledger, "c")
    for name in ("a", "c"):
        end(ledger, name)
    add(ledger, "c")
    with ledger.transaction() as db:
        db.execute("UPDATE submission SET closed=1 WHERE nonce=?", (closed,))  # as damage might, its job being open
    assert {nonce for _, nonce in ledger.closed_submissions()} == {finished, again}


def test_a_finished_job_with_an_open_file_is_opened_and_due(ledger: Ledger) -> None:
    add(ledger, "a", "b")
    for name in ("a", "b"):
        end(ledger, name)
    (nonce,) = [nonce for nonce in ledger.nonces() if ledger.body(nonce)[0] == row(ledger, "a")["key"]]
    with ledger.transaction() as db:
        db.execute("UPDATE submission SET closed=0 WHERE nonce=?", (nonce,))
    assert ledger.agree(LATER) == 1
    assert [row(ledger, "a")[name] for name in ("state", "next_at", "closed_at")] == ["pending", LATER, None]
    assert row(ledger, "b")["closed_at"] == NOW


def test_an_open_job_without_an_open_file_gets_one_back(ledger: Ledger) -> None:
    (alone,), (one,), (two,), (other,) = add(ledger, "a"), add(ledger, "b"), add(ledger, "b"), add(ledger, "c")
    end(ledger, "c")
    with ledger.transaction() as db:
        db.execute("UPDATE submission SET closed=1 WHERE nonce IN (?, ?)", (alone, one))
    assert ledger.agree(NOW) == 1
    assert ledger.nonces() == {alone: False, one: True, two: False, other: True}
    assert row(ledger, "c")["closed_at"] == NOW


def test_a_submission_of_another_job_changes_nothing(ledger: Ledger) -> None:
    add(ledger, "a")
    before = row(ledger, "a")
    job = CompletedJob(cid=cid_of("a"), job_id="another", completed_at=to_moment(NOW))
    ledger.ingest([new_submission(job)], LATER)
    assert row(ledger, "a") == before
    assert column(ledger, "another", "next_at") == LATER
