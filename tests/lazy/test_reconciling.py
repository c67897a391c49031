"""Files and ledger are brought to agree: the file is the truth, the ledger its index, and either is enough."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from encoder_pin_plugin.lazy import intake
from encoder_pin_plugin.lazy.ledger import Ledger
from encoder_pin_plugin.lazy.spool import Spool
from tests.conftest import names_in
from tests.lazy.booking import column, end
from tests.lazy.conftest import NOW
from tests.lazy.intaking import Desk, put, submission
from tests.lazy.spooling import files


@pytest.fixture
def desk(spool: Spool, ledger: Ledger) -> Desk:
    return Desk(spool, ledger)


def test_where_all_agree_nothing_is_said_nor_changed(desk: Desk, log: list[str]) -> None:
    desk.open("a", "b")
    before = files(desk.spool)
    assert desk.intake.reconcile(desk.ledger) == 0
    assert (files(desk.spool), desk.jobs(), log) == (before, ["a", "b"], [])


def test_only_the_ledger_that_was_compared_agrees(desk: Desk, tmp_path: Path) -> None:
    other = Ledger(tmp_path / "other.db")
    assert not desk.intake.agrees(None)
    assert not desk.intake.agrees(desk.ledger)
    desk.intake.reconcile(desk.ledger)
    assert desk.intake.agrees(desk.ledger)
    assert not desk.intake.agrees(other)
    other.close()


def test_a_file_that_the_ledger_does_not_know_is_an_open_job(
    desk: Desk, log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "AT_ONCE", 2)
    lost = [put(desk.spool.open, submission(f"job-{number}")) for number in range(5)]
    assert desk.intake.reconcile(desk.ledger) == 5
    assert desk.jobs() == [f"job-{number}" for number in range(5)]
    assert sorted(desk.spool.opened_names()) == sorted(it.name for it in lost)
    assert [line[:10] for line in log] == ["WARNING 5 "]


def test_they_are_indexed_in_several_steps(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "AT_ONCE", 2)
    for number in range(5):
        put(desk.spool.open, submission(f"job-{number}"))
    ingest, steps = desk.ledger.ingest, []
    monkeypatch.setattr(
        desk.ledger, "ingest", lambda them, *now, **options: (steps.append(len(them)), ingest(them, *now, **options))[1]
    )
    desk.intake.reconcile(desk.ledger)
    assert steps == [2, 2, 1]


def test_an_open_job_without_a_file_gets_it_back(desk: Desk, log: list[str]) -> None:
    gone, _ = desk.open("a", "b")
    (desk.spool.open / gone.name).unlink()
    assert desk.intake.reconcile(desk.ledger) == 1
    assert (desk.spool.open / gone.name).read_bytes() == gone.body
    assert [line[:10] for line in log] == ["WARNING 1 "]


def test_a_lost_file_whose_copy_in_the_ledger_is_damaged_is_said_and_left(desk: Desk, log: list[str]) -> None:
    gone, _ = desk.open("a", "b")
    (desk.spool.open / gone.name).unlink()
    desk.ledger.correct(gone.nonce, b"\0")
    assert desk.intake.reconcile(desk.ledger) == 0
    assert desk.jobs() == ["a", "b"]
    assert gone.name not in desk.spool.opened_names()
    assert log[0].startswith(f"ERROR the lost job file {gone.name} cannot be written again from the ledger: it is not")
    assert len(log) == 1


def test_both_at_once_are_an_older_copy(desk: Desk, log: list[str]) -> None:
    gone, _ = desk.open("a", "b")
    (desk.spool.open / gone.name).unlink()
    put(desk.spool.open, submission("c"))
    assert desk.intake.reconcile(desk.ledger) == 2
    assert desk.jobs() == ["a", "b", "c"]
    assert [line.partition(" ")[0] for line in log] == ["ERROR", "WARNING", "WARNING"]
    assert "older copy" in log[0]


def test_a_job_that_another_worker_finishes_meanwhile_gets_no_file(
    desk: Desk, log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (job,) = desk.open("a")
    (desk.spool.open / job.name).unlink()
    nonces = desk.ledger.nonces()

    def finished_right_after() -> dict[str, bool]:
        end(desk.ledger, "a")
        return nonces

    monkeypatch.setattr(desk.ledger, "nonces", finished_right_after)
    assert desk.intake.reconcile(desk.ledger) == 0
    assert (desk.spool.opened(), log) == ([], [])


def test_the_file_of_a_finished_job_goes(desk: Desk) -> None:
    job, other = desk.open("a", "b")
    end(desk.ledger, "a")
    assert desk.intake.reconcile(desk.ledger) == 0
    assert desk.spool.opened_names() == [other.name]
    assert job.nonce not in desk.ledger.nonces()


def test_a_strange_file_is_set_aside_with_its_reason(desk: Desk, log: list[str]) -> None:
    (desk.spool.open / "notes.txt").write_text("remember the milk")
    assert desk.intake.reconcile(desk.ledger) == 0
    (path,) = desk.spool.rejects()
    assert path.read_text() == "remember the milk"
    assert "did not come through new/" in desk.spool.why(path)
    assert desk.spool.opened() == []
    assert len(log) == 1


def test_an_open_file_that_is_damaged_is_set_aside_at_once(desk: Desk) -> None:
    job = submission("a")
    (desk.spool.open / job.name).write_bytes(job.body[:30])
    desk.intake.reconcile(desk.ledger)
    assert [path.name for path in desk.spool.rejects()] == [job.name]
    assert desk.jobs() == []


def test_rows_that_contradict_each_other_are_said_and_opened(desk: Desk, log: list[str]) -> None:
    desk.open("a")
    with desk.ledger.transaction() as db:
        db.execute("UPDATE job SET state='pinned', next_at=0")
    desk.clock.step = 86_400_000
    desk.intake.reconcile(desk.ledger)
    assert column(desk.ledger, "a", "state") == "pending"
    assert column(desk.ledger, "a", "next_at") == NOW
    assert [line[:18] for line in log] == ["ERROR 1 rows of th"]


def test_folders_and_what_a_killed_host_left_are_seen_to(desk: Desk) -> None:
    desk.spool.rejected.rmdir()
    left = put(desk.spool.tmp, submission("a"))
    os.utime(desk.spool.tmp / left.name, (1, 1))
    desk.intake.reconcile(desk.ledger)
    assert files(desk.spool) == {"tmp": [], "new": [left.name], "open": [], "rejected": []}


def test_a_ledger_that_is_new_where_files_were_is_said(tmp_path: Path, ledger: Ledger, log: list[str]) -> None:
    spool = Spool(tmp_path / "data")
    desk = Desk(spool, ledger)
    desk.intake.begin(ledger)
    assert names_in(spool.folder) == ["new", "open", "rejected", "tmp"]
    assert log == [], "the first start of all"
    put(spool.open, submission("a"))
    desk.intake.begin(ledger, told=True)
    assert log == [], "it was said why"
    desk.intake.begin(ledger)
    assert [line.startswith(f"ERROR the ledger {ledger.path} was gone or empty") for line in log] == [True]
    again = Ledger(ledger.path)
    desk.intake.begin(again)
    assert len(log) == 1
    again.close()


def test_where_no_job_was_open_a_ledger_that_is_gone_is_a_warning(desk: Desk, log: list[str]) -> None:
    desk.intake.begin(desk.ledger)
    assert [line.startswith(f"WARNING the ledger {desk.ledger.path} was gone or empty") for line in log] == [True]
    assert "no job was open" in log[0]
