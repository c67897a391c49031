"""The ledger, call by call: who gets which job, what a commit closes, what is released, and what a clock may move."""

from __future__ import annotations

import os
import sqlite3
import threading
from pathlib import Path

import pytest

from encoder_hookspecs.events import CompletedJob, Reason
from encoder_pin_plugin.errors import LedgerError
from encoder_pin_plugin.lazy import schema
from encoder_pin_plugin.lazy.jobfile import new_submission
from encoder_pin_plugin.lazy.ledger import Ledger
from encoder_pin_plugin.lazy.mark import Mark
from encoder_pin_plugin.lazy.pins import State, Step, to_moment
from encoder_pin_plugin.lazy.timeline import TOLERANCE, clamp, shift
from tests.cids import cid_of
from tests.lazy.booking import LEASE, add, claim, column, end, holding, names
from tests.lazy.conftest import NOW


def test_it_tells_whether_it_made_the_file_and_whether_that_is_still_there(ledger: Ledger) -> None:
    assert ledger.new
    assert not ledger.replaced()
    again = Ledger(ledger.path)
    assert not again.new
    ledger.path.rename(ledger.path.with_name("aside"))
    assert again.replaced()
    ledger.path.touch()
    assert again.replaced()
    again.close()
    with pytest.raises(sqlite3.ProgrammingError):
        again.read("SELECT 1")


@pytest.mark.parametrize(("size", "whole", "read_whole"), [(0, False, False), (1 << 40, False, True), (0, True, True)])
def test_a_small_ledger_is_read_whole_and_a_large_one_when_asked(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, size: int, whole: bool, read_whole: bool
) -> None:
    seen: list[bool] = []
    check = schema.check
    monkeypatch.setattr(schema, "QUICK_TO_READ", size)
    monkeypatch.setattr(
        schema, "check", lambda db, path, *, whole: (seen.append(whole), check(db, path, whole=whole), path)[2]
    )
    ledger.check(whole=whole)
    assert seen == [read_whole]


def test_a_ledger_of_just_the_quick_size_is_read_whole(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[Path, bool]] = []
    monkeypatch.setattr(schema, "QUICK_TO_READ", ledger.path.stat().st_size)
    monkeypatch.setattr(schema, "check", lambda _, path, *, whole: seen.append((path, whole)))
    ledger.check()
    monkeypatch.setattr(schema, "QUICK_TO_READ", 0)
    ledger.check()
    assert seen == [(ledger.path, True), (ledger.path, False)]


def test_what_is_neither_open_nor_closed_is_opened_and_counted(ledger: Ledger) -> None:
    add(ledger, "a", "b", "c")
    with ledger.transaction() as db:
        db.execute("UPDATE job SET closed_at=1 WHERE job_id='a'")
        db.execute("UPDATE job SET state='pinned' WHERE job_id='b'")
    assert ledger.agree(NOW + 5) == 2
    assert ledger.agree(NOW + 5) == 0
    assert {pin.state for pin in ledger.select()} == {State.PENDING}
    assert column(ledger, "b", "next_at") == NOW + 5
    assert column(ledger, "a", "closed_at") is None


def test_a_busy_ledger_is_told_from_a_damaged_one(ledger: Ledger) -> None:
    other = Ledger(ledger.path, busy_timeout=0.05)
    assert other.read("PRAGMA busy_timeout")[0][0] == 50
    with (
        ledger.transaction(),
        pytest.raises(LedgerError, match=f"the ledger {ledger.path} cannot be written: .*locked"),
    ):
        add(other, "a")
    with pytest.raises(LedgerError, match=f"the ledger {ledger.path} cannot be read: no such table"):
        other.read("SELECT * FROM nowhere")
    other.close()


class Broken:
    """A connection whose every statement fails so."""

    def __init__(self, code: int) -> None:
        self.error = sqlite3.OperationalError("as asked")
        self.error.sqlite_errorcode = code

    def execute(self, *_: object) -> None:
        raise self.error


def test_damage_is_raised_as_it_is(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    for act in (lambda: ledger.read("SELECT 1"), lambda: add(ledger, "a")):
        with monkeypatch.context() as patched:
            patched.setattr(ledger, "_connection", Broken(sqlite3.SQLITE_CORRUPT))
            with pytest.raises(sqlite3.OperationalError, match="as asked"):
                act()
            patched.setattr(ledger, "_connection", Broken(sqlite3.SQLITE_FULL))
            with pytest.raises(LedgerError, match="as asked"):
                act()


def test_a_known_nonce_changes_nothing(ledger: Ledger) -> None:
    submission = new_submission(CompletedJob(cid=cid_of("a"), job_id="a", completed_at=to_moment(NOW)))
    assert ledger.ingest([submission], NOW) == []
    before = ledger.select()
    assert ledger.ingest([submission], NOW + 5) == []
    assert ledger.select() == before
    end(ledger, "a")
    assert ledger.ingest([submission], NOW + 5) == [submission]
    assert ledger.select()[0].closed_at == NOW


def test_a_claim_takes_so_many_and_holds_them_for_so_long(ledger: Ledger) -> None:
    add(ledger, "a", "b", "c")
    first = claim(ledger, limit=2, lease=1000)
    assert len(first) == 2
    assert {(pin.owner, pin.epoch) for pin in first} == {("w1", 1)}
    assert len(claim(ledger, "w2", NOW + 999)) == 1
    assert claim(ledger, "w3", NOW + 999) == []
    assert sorted(names(claim(ledger, "w3", NOW + 1000))) == sorted(names(first))


def test_two_jobs_of_one_cid_never_come_in_one_claim(ledger: Ledger) -> None:
    add(ledger, "a", "b", cid=cid_of("one"))
    add(ledger, "c", "d")
    assert sorted(pin.job.cid for pin in claim(ledger)) == sorted({cid_of("one"), cid_of("c"), cid_of("d")})


def test_a_job_is_claimed_in_its_own_state_when_it_is_due(ledger: Ledger) -> None:
    add(ledger, "a", "b")
    end(ledger, "b", State.FALLING_BACK, delay=10)
    assert names(claim(ledger)) == ["a"]
    assert claim(ledger, state=State.FALLING_BACK, now=NOW + 9) == []
    assert names(claim(ledger, state=State.FALLING_BACK, now=NOW + 10)) == ["b"]


def test_age_counts_instead_of_the_due_time_where_it_is_asked_for(ledger: Ledger) -> None:
    add(ledger, "old", now=NOW - 100)
    add(ledger, "young", now=NOW)
    for name in ("old", "young"):
        end(ledger, name, State.PENDING, delay=900_000)
    assert claim(ledger, waited=101) == []
    assert names(claim(ledger, waited=100)) == ["old"]
    ledger.release("w1")
    assert names(claim(ledger, waited=0, limit=1)) == ["old"]


def test_what_may_keep_a_slot_for_long_is_left_out_where_that_is_asked_for(ledger: Ledger) -> None:
    add(ledger, "edge", size_mb=1000)
    add(ledger, "small", size_mb=999.9)
    add(ledger, "unknown", "slow")
    end(ledger, "slow", State.PENDING, reason=Reason.STALLED)
    assert sorted(names(claim(ledger, small_only=True))) == ["small", "unknown"]
    assert sorted(names(claim(ledger))) == ["edge", "slow"]


def test_only_its_owner_prolongs_a_lease(ledger: Ledger) -> None:
    add(ledger, "a", "b")
    keys = [pin.key for pin in claim(ledger, lease=10)]
    ledger.renew("w2", keys, NOW, 1000)
    ledger.renew("w1", keys[:1], NOW, 1000)
    assert len(taken := claim(ledger, "w3", NOW + 10)) == 1
    assert taken[0].key == keys[1]
    assert claim(ledger, "w4", NOW + 999) == []
    assert ledger.owners() == {"w1", "w3"}


def test_a_release_ends_the_leases_of_one_owner_alone(ledger: Ledger) -> None:
    add(ledger, "a", "b")
    claim(ledger, limit=1)
    claim(ledger, "w2")
    assert ledger.release("w1") == 1
    assert ledger.owners() == {"w2"}
    assert column(ledger, "a", "lease_until") is None or column(ledger, "b", "lease_until") is None
    assert ledger.release("nobody") == 0


def test_a_commit_tells_what_took_effect_and_closes_all_submissions_of_a_finished_job(ledger: Ledger) -> None:
    first, again = add(ledger, "a"), add(ledger, "a")
    other = add(ledger, "b")
    pins = {pin.job.job_id: pin for pin in claim(ledger)}
    steps = [
        Step(pin=pins["a"], state=State.PINNED, attempts=0, tries=1),
        Step(pin=pins["b"], state=State.PENDING, attempts=0, tries=1),
    ]
    assert ledger.commit(steps, NOW) == steps
    assert ledger.commit(steps, NOW) == []
    assert ledger.nonces() == {first[0]: True, again[0]: True, other[0]: False}
    assert [ledger.is_open(nonce) for nonce in (first[0], other[0], "unknown")] == [False, True, False]


def test_submissions_are_listed_by_what_their_files_are_to_do(ledger: Ledger) -> None:
    done = add(ledger, "a", "b")
    waiting = sorted(add(ledger, "c", "d", "e"))
    for name in ("a", "b"):
        end(ledger, name)
    keys = {pin.job.job_id: pin.key for pin in ledger.select()}
    assert sorted(ledger.closed_submissions()) == sorted(zip((keys["a"], keys["b"]), done, strict=True))
    assert len(ledger.closed_submissions(1)) == 1
    assert [nonce for nonce, _, _ in ledger.open_submissions("", 9)] == waiting
    assert [nonce for nonce, _, _ in ledger.open_submissions("", 2)] == waiting[:2]
    rest = ledger.open_submissions(waiting[0], 9)
    assert [nonce for nonce, _, _ in rest] == waiting[1:]
    assert all(ledger.body(nonce) == (key, body) for nonce, key, body in rest)


def test_a_file_content_can_be_corrected_and_only_what_is_finished_forgotten(ledger: Ledger) -> None:
    (done,), (waiting,) = add(ledger, "a"), add(ledger, "b")
    end(ledger, "a")
    ledger.correct(waiting, b"whole again")
    assert ledger.body(waiting)[1] == b"whole again"
    assert ledger.body(done)[1] != b"whole again"
    ledger.forget([waiting, done])
    assert ledger.nonces() == {waiting: False}


def test_a_hold_of_ours_is_due_for_release_once_its_job_is_pinned(ledger: Ledger) -> None:
    add(ledger, "ours", "theirs", "waits")
    held = {pin.job.job_id: pin.key for pin in ledger.select()}
    for name in ("ours", "theirs"):
        end(ledger, name)
    ledger.set_hold({held["ours"]: "ours", held["theirs"]: "theirs", held["waits"]: "ours"}, NOW + 7)
    assert [column(ledger, name, "hold") for name in held] == [
        "ours" if name != "theirs" else "theirs" for name in held
    ]
    assert {pin.job.job_id: pin.hold for pin in ledger.select()}["theirs"] == "theirs"
    assert [column(ledger, name, "release_at") for name in ("ours", "theirs", "waits")] == [NOW + 7, None, None]


def test_releases_are_handed_out_when_due_and_again_only_later(ledger: Ledger) -> None:
    holding(ledger, "a", "b", "c")
    assert ledger.releases(NOW - 1, limit=9, again=100) == []
    assert len(ledger.releases(NOW, limit=2, again=100)) == 2
    assert len(ledger.releases(NOW, limit=9, again=100)) == 1
    assert ledger.releases(NOW + 99, limit=9, again=100) == []
    assert sorted(names(ledger.releases(NOW + 100, limit=9, again=100))) == ["a", "b", "c"]
    assert len(ledger.releases(NOW - 10**9, limit=9, again=100)) == 3, "a clock that was set back parks nothing"


def test_the_steps_of_a_release_are_noted(ledger: Ledger) -> None:
    keys = holding(ledger, "done", "once", "not yet")
    ledger.released({keys["once"]: False, keys["not yet"]: False}, NOW + 1, again=50)
    assert [column(ledger, name, "whole_at") for name in ("once", "not yet")] == [NOW + 1] * 2
    ledger.released({keys["done"]: True, keys["not yet"]: None}, NOW + 2, again=50)
    assert [column(ledger, name, "whole_at") for name in ("done", "once", "not yet")] == [None, NOW + 1, None]
    assert [column(ledger, name, "hold") for name in ("done", "once", "not yet")] == ["released", "ours", "ours"]
    assert [column(ledger, name, "release_at") for name in ("done", "once", "not yet")] == [None, NOW + 51, NOW + 51]


@pytest.mark.parametrize(
    ("state", "needed"), [(State.PENDING, True), (State.ARCHIVED, True), (State.PINNED, False), (State.REJECTED, False)]
)
def test_a_cid_is_needed_by_other_jobs_that_are_open_or_archived(ledger: Ledger, state: State, needed: bool) -> None:
    add(ledger, "a", cid=cid_of("one"))
    end(ledger, "a")
    (pin,) = ledger.select()
    assert not ledger.needs(pin)
    add(ledger, "b", cid=cid_of("one"))
    if state is not State.PENDING:
        end(ledger, "b", state)
    assert ledger.needs(pin) is needed


def test_the_next_due_time_is_the_earliest_later_one(ledger: Ledger) -> None:
    assert ledger.next_due(NOW) is None
    add(ledger, "a", "b", "c")
    end(ledger, "a", State.PENDING, delay=30)
    end(ledger, "b", State.FALLING_BACK, delay=20)
    end(ledger, "c", State.PENDING)
    assert ledger.next_due(NOW) == NOW + 20
    assert ledger.next_due(NOW + 20) == NOW + 30
    assert ledger.next_due(NOW + 30) is None


def test_only_what_is_parked_beyond_the_cap_is_made_due(ledger: Ledger) -> None:
    for name, ahead in (("at", 100), ("beyond", 101)):
        for state in (State.PENDING, State.FALLING_BACK):
            add(ledger, f"{name} {state}")
            end(ledger, f"{name} {state}", state, delay=ahead)
    assert clamp(ledger, NOW, 100) == 2
    due = {pin.job.job_id: pin.next_at - NOW for pin in ledger.select()}
    assert due == {"at pending": 100, "at falling_back": 100, "beyond pending": 0, "beyond falling_back": 0}


def test_a_step_of_the_clock_moves_every_time_of_an_open_job(ledger: Ledger) -> None:
    keys = holding(ledger, "closed")
    ledger.released(dict.fromkeys(keys.values(), False), NOW, again=0)
    add(ledger, "open")
    (pin,) = claim(ledger)
    ledger.commit([Step(pin=pin, state=State.PENDING, attempts=0, tries=1, took=7, whole_for=0)], NOW)
    claim(ledger)
    assert shift(ledger, 1000, "boot") == 0
    assert shift(ledger, 1000 + TOLERANCE, "boot") == 0
    assert shift(ledger, 1001 + TOLERANCE, "boot") == 1 + TOLERANCE
    assert shift(ledger, 1001 + TOLERANCE, "boot") == 0
    moved = NOW + 1 + TOLERANCE
    assert [column(ledger, "open", it) for it in ("next_at", "waiting_since", "whole_at")] == [moved] * 3
    assert [column(ledger, "open", it) for it in ("first_tried_at", "lease_until")] == [moved - 7, moved + LEASE]
    assert [column(ledger, "closed", it) for it in ("release_at", "whole_at")] == [moved] * 2
    assert column(ledger, "closed", "next_at") == NOW
    assert shift(ledger, 0, "boot") == -1001 - TOLERANCE
    assert column(ledger, "open", "next_at") == NOW - 1000


def test_another_boot_begins_anew(ledger: Ledger) -> None:
    shift(ledger, 1000, "boot")
    assert shift(ledger, 90_000, "another") == 0
    assert ledger.mark == Mark("another", 90_000)
    assert shift(ledger, 99_000, "another") == 9_000


def test_every_write_is_made_where_the_rows_now_lie(ledger: Ledger) -> None:
    """Another worker has followed a step of the clock that this one has not noticed."""
    keys = holding(ledger, "held", "once")
    add(ledger, "a", "b")
    shift(ledger, 1000, "boot")
    other = Ledger(ledger.path)
    assert shift(other, 61_000, "boot") == 60_000
    other.close()
    moved = NOW + 60_000
    pins = claim(ledger)
    assert [(pin.turn_at, pin.next_at) for pin in pins] == [(moved, moved)] * 2
    assert column(ledger, "a", "lease_until") == moved + LEASE
    ledger.renew("w1", [pin.key for pin in pins], NOW, 5)
    assert column(ledger, "a", "lease_until") == moved + 5
    by_name = {pin.job.job_id: pin for pin in pins}
    steps = [
        Step(pin=by_name["a"], state=State.PENDING, attempts=0, tries=1, delay=9),
        Step(pin=by_name["b"], state=State.PINNED, attempts=0, tries=1),
    ]
    ledger.commit(steps, NOW)
    assert (column(ledger, "a", "next_at"), column(ledger, "b", "closed_at")) == (moved + 9, moved)
    ledger.set_hold({by_name["b"].key: "ours"}, NOW)
    assert column(ledger, "b", "release_at") == moved
    assert len(ledger.releases(NOW, limit=9, again=100)) == 3
    assert column(ledger, "held", "release_at") == moved + 100
    ledger.released({keys["once"]: False}, NOW, again=50)
    assert [column(ledger, "once", it) for it in ("whole_at", "release_at")] == [moved, moved + 50]
    add(ledger, "c")
    assert [column(ledger, "c", it) for it in ("next_at", "waiting_since", "completed_at")] == [moved, moved, NOW]
    assert claim(ledger, waited=1) == []
    with ledger.transaction() as db:
        db.execute("UPDATE job SET state='archived' WHERE job_id='c'")
    assert ledger.agree(NOW + 1) == 1
    assert column(ledger, "c", "next_at") == moved + 1
    assert clamp(ledger, NOW, 8) == 1


def test_a_job_has_waited_since_it_was_completed_by_its_own_clock(ledger: Ledger) -> None:
    job = CompletedJob(cid=cid_of("a"), job_id="a", completed_at=to_moment(NOW + 300))
    ledger.ingest([new_submission(job)], NOW, wall=NOW + 1000)
    assert column(ledger, "a", "waiting_since") == NOW - 700


def test_a_condition_of_ours_selects(ledger: Ledger) -> None:
    add(ledger, "a", "b")
    assert sorted(names(ledger.select())) == ["a", "b"]
    assert names(ledger.select("job_id=?", ("b",))) == ["b"]


def test_a_fork_waits_for_a_transaction_and_its_child_can_make_one(ledger: Ledger) -> None:
    forked = threading.Event()

    def fork() -> None:
        child = os.fork()
        if child == 0:
            os._exit(0)
        forked.set()
        os.waitpid(child, 0)

    with ledger.transaction() as db:
        db.execute("INSERT INTO meta VALUES ('x', 'y')")
        thread = threading.Thread(target=fork)
        thread.start()
        assert not forked.wait(0.2)
    assert forked.wait(20)
    thread.join()
    assert len(ledger.read("SELECT * FROM meta WHERE name='x'")) == 1


def test_after_a_failed_transaction_the_next_one_works(ledger: Ledger) -> None:
    with pytest.raises(KeyboardInterrupt), ledger.transaction() as db:
        db.execute("INSERT INTO meta VALUES ('x', 'y')")
        raise KeyboardInterrupt
    add(ledger, "a")
    assert ledger.read("SELECT * FROM meta WHERE name='x'") == []
