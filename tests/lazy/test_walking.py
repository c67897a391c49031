"""Rounds without a worker: which of two copies is healed from which, and that every file is come to."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from encoder_hookspecs.events import CompletedJob
from encoder_pin_plugin.alarms import Alarms
from encoder_pin_plugin.errors import StorageError
from encoder_pin_plugin.lazy.jobfile import Submission, new_submission, read_submission
from encoder_pin_plugin.lazy.ledger import Ledger
from encoder_pin_plugin.lazy.pins import State
from encoder_pin_plugin.lazy.rounds import Rounds
from encoder_pin_plugin.lazy.spool import Spool
from tests.cids import cid_of
from tests.conftest import names_in
from tests.lazy.booking import end
from tests.lazy.conftest import NOW, StandingClock


class Walking:
    """Jobs that were taken in, and rounds through their files."""

    def __init__(self, spool: Spool, ledger: Ledger) -> None:
        self.spool, self.ledger = spool, ledger
        self.alarms = Alarms(StandingClock())
        self.rounds = Rounds(spool, self.alarms)

    def take_in(self, *names: str) -> list[Submission]:
        taken = [self.spool.record(CompletedJob(cid=cid_of(name), job_id=name)) for name in names]
        self.ledger.ingest(taken, NOW)
        self.spool.move_to_open([(self.spool.new / it.name, it) for it in taken])
        return taken

    def walk(self) -> int:
        return self.rounds.walk(self.ledger)

    def file(self, submission: Submission) -> Path:
        return self.spool.open / submission.name

    def copies(self, submission: Submission) -> tuple[bytes, bytes]:
        """What stands in the file, and in the ledger."""
        return self.file(submission).read_bytes(), self.ledger.body(submission.nonce)[1]


@pytest.fixture
def walking(spool: Spool, ledger: Ledger) -> Walking:
    return Walking(spool, ledger)


def _unsealed(submission: Submission) -> bytes:
    """The same job as another program would write it."""
    fields = json.loads(submission.body)
    del fields["sha256"]
    return json.dumps(fields).encode()


def test_sound_copies_are_left_alone(walking: Walking, log: list[str]) -> None:
    walking.take_in("a", "b")
    assert walking.walk() == 0
    assert log == []


def test_a_file_that_is_gone_is_written_again(walking: Walking, log: list[str]) -> None:
    a, b = walking.take_in("a", "b")
    walking.file(a).unlink()
    assert walking.walk() == 1
    assert walking.copies(a) == (a.body, a.body)
    assert walking.copies(b) == (b.body, b.body)
    said = f"WARNING the job file {walking.file(a)} was damaged (it was gone): written again from the ledger"
    assert log[0].startswith(said)
    assert len(log) == 1


@pytest.mark.parametrize(("damage", "why"), [(b"", "it is empty"), (b"{", "it is not JSON")])
def test_a_file_that_holds_no_job_is_written_again_and_said_why(
    walking: Walking, log: list[str], damage: bytes, why: str
) -> None:
    (a,) = walking.take_in("a")
    walking.file(a).write_bytes(damage)
    assert walking.walk() == 1
    assert walking.copies(a) == (a.body, a.body)
    assert why in log[0]


def test_a_file_that_cannot_be_read_is_written_again(
    walking: Walking, log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (a,) = walking.take_in("a")

    def refuse(path: Path) -> Submission:
        raise StorageError(f"cannot read {path.name}: input/output error")

    monkeypatch.setattr(walking.spool, "read", refuse)
    assert walking.walk() == 1
    assert walking.file(a).read_bytes() == a.body
    assert "input/output error" in log[0]


def test_a_file_with_another_sound_job_of_ours_gives_way_to_what_was_taken_in(walking: Walking, log: list[str]) -> None:
    (a,) = walking.take_in("a")
    other = new_submission(CompletedJob(cid=cid_of("a"), job_id="a", size_mb=7.0))
    walking.file(a).write_bytes(other.body)
    assert walking.walk() == 1
    assert walking.copies(a) == (a.body, a.body)
    assert "it is not what was taken in" in log[0]


def test_a_sealed_file_is_right_where_the_ledgers_copy_has_no_seal(walking: Walking, log: list[str]) -> None:
    (a,) = walking.take_in("a")
    walking.ledger.correct(a.nonce, _unsealed(a))
    assert walking.walk() == 1
    assert walking.copies(a) == (a.body, a.body)
    assert log == [
        f"WARNING the ledger's copy of the job file {a.name} was damaged: taken from the file again\n",
    ]


def test_of_two_copies_without_a_seal_the_ledgers_is_what_was_taken_in(walking: Walking) -> None:
    (a,) = walking.take_in("a")
    taken_in = _unsealed(a)
    walking.ledger.correct(a.nonce, taken_in)
    walking.file(a).write_bytes(taken_in.replace(b'"job_id"', b' "job_id"'))
    assert walking.walk() == 1
    assert walking.copies(a) == (taken_in, taken_in)


def test_a_ledgers_copy_that_is_no_job_is_taken_from_the_file(walking: Walking) -> None:
    (a,) = walking.take_in("a")
    walking.ledger.correct(a.nonce, b"\0")
    assert walking.walk() == 1
    assert walking.copies(a) == (a.body, a.body)


@pytest.mark.parametrize(("damage", "why"), [(b"", "it is empty"), (None, "it is gone")])
def test_two_damaged_copies_are_made_anew_from_the_jobs_row(
    walking: Walking, log: list[str], damage: bytes | None, why: str
) -> None:
    (a,) = walking.take_in("a")
    walking.ledger.correct(a.nonce, b"\0")
    walking.file(a).unlink() if damage is None else walking.file(a).write_bytes(damage)
    assert [walking.walk(), walking.walk()] == [1, 0]
    in_file, in_ledger = walking.copies(a)
    assert in_file == in_ledger
    found = read_submission(a.name, in_file)
    assert (found.key, found.nonce, found.job) == (a.key, a.nonce, read_submission(a.name, a.body).job)
    assert log[0].startswith(f"ERROR both copies of the job file {a.name} were damaged ({why}")
    assert len(log) == 1


def test_a_row_that_is_damaged_as_well_is_damage_to_the_ledger(walking: Walking) -> None:
    (a,) = walking.take_in("a")
    walking.ledger.correct(a.nonce, b"\0")
    walking.file(a).write_bytes(b"")
    with walking.ledger.transaction() as db:
        db.execute("UPDATE job SET job_id='another'")
    with pytest.raises(sqlite3.DatabaseError, match="is not what was written"):
        walking.walk()


@pytest.mark.parametrize("damage", [b"", None])
def test_a_job_that_has_no_row_either_is_an_alarm_while_it_is_open(
    walking: Walking, log: list[str], monkeypatch: pytest.MonkeyPatch, damage: bytes | None
) -> None:
    a, b = walking.take_in("a", "b")
    walking.ledger.correct(a.nonce, b"\0")
    walking.file(a).unlink() if damage is None else walking.file(a).write_bytes(damage)
    checks: list[bool] = []
    monkeypatch.setattr(walking.ledger, "check", lambda whole: checks.append(whole))
    with monkeypatch.context() as patched:
        patched.setattr(walking.ledger, "select", lambda *_: [])
        assert [walking.walk(), walking.walk()] == [0, 0]
    assert names_in(walking.spool.open) == sorted([b.name] if damage is None else [a.name, b.name])
    assert walking.alarms.lasting() == [f"damaged {a.name}"]
    assert f"both copies of the job file {a.name} are damaged (it is " in log[0]
    assert "and the ledger has no row of its job" in log[0]
    assert checks == ([True] if damage is None else [])
    end(walking.ledger, "a", State.PINNED)
    walking.walk()
    assert walking.alarms.lasting() == []
    assert log[1:] == [f"INFO the ledger has no open job any more for the damaged file {a.name}\n"]


def test_a_file_is_not_written_again_under_the_damaged_key_of_its_row(walking: Walking) -> None:
    """The ledger is damaged then, and made anew from the files: a copy under another name would be set aside."""
    (a,) = walking.take_in("a")
    walking.ledger.close()
    path = walking.ledger.path
    key, nonce = a.key.encode(), a.nonce.encode()
    other = (b"0" if key[:1] != b"0" else b"1") + key[1:]
    assert path.read_bytes().count(nonce + key) == 1  # the row of the submission: its nonce, then its key
    path.write_bytes(path.read_bytes().replace(nonce + key, nonce + other))
    with closing(Ledger(path)) as walking.ledger, pytest.raises(sqlite3.DatabaseError, match="integrity_check"):
        walking.walk()
    assert names_in(walking.spool.open) == [a.name]


def test_a_finished_job_needs_no_file(walking: Walking, log: list[str]) -> None:
    (a,) = walking.take_in("a")
    walking.file(a).unlink()
    end(walking.ledger, "a", State.PINNED)
    assert walking.walk() == 0
    assert names_in(walking.spool.open) == []
    assert log == []


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"")])
def test_a_job_that_another_worker_finishes_meanwhile_is_left_alone(
    walking: Walking, log: list[str], monkeypatch: pytest.MonkeyPatch, damage
) -> None:
    (a,) = walking.take_in("a")
    read = walking.spool.read

    def finish(path: Path) -> Submission:
        end(walking.ledger, "a", State.PINNED)
        damage(path)
        return read(path)

    monkeypatch.setattr(walking.spool, "read", finish)
    before = walking.copies(a)[1]
    assert walking.walk() == 0
    assert walking.ledger.body(a.nonce)[1] == before
    assert log == []


def test_a_file_that_is_not_moved_yet_is_not_missing(walking: Walking, log: list[str]) -> None:
    taken = walking.spool.record(CompletedJob(cid=cid_of("a"), job_id="a"))
    walking.ledger.ingest([taken], NOW)
    assert walking.walk() == 0
    assert names_in(walking.spool.open) == []
    assert log == []


def test_each_walk_goes_on_where_the_last_one_ended_and_begins_anew(
    walking: Walking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("encoder_pin_plugin.lazy.rounds.AT_ONCE", 3)
    taken = sorted(walking.take_in("a", "b", "c", "d"), key=lambda it: it.nonce)
    looked: list[list[str]] = []
    for _ in range(4):
        for it in taken:
            os.truncate(walking.file(it), 0)
        walking.walk()
        looked.append([it.job.job_id for it in taken if walking.file(it).stat().st_size])
    names = [it.job.job_id for it in taken]
    assert looked == [names[:3], names[3:], names[:3], names[3:]]
