"""Taking job files in: each is indexed, given time, or set aside, and none holds up another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from encoder_hookspecs.events import CompletedJob
from encoder_pin_plugin import durable
from encoder_pin_plugin.errors import StorageError
from encoder_pin_plugin.lazy import intake
from encoder_pin_plugin.lazy.intake import AT_ONCE, GRACE
from encoder_pin_plugin.lazy.jobfile import new_submission
from encoder_pin_plugin.lazy.ledger import Ledger
from encoder_pin_plugin.lazy.pins import to_moment
from encoder_pin_plugin.lazy.spool import Spool
from tests.cids import cid_of
from tests.lazy.booking import column, end
from tests.lazy.conftest import NOW
from tests.lazy.intaking import Desk, content, put
from tests.lazy.spooling import files


@pytest.fixture
def desk(spool: Spool, ledger: Ledger) -> Desk:
    return Desk(spool, ledger)


def at_once(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    monkeypatch.setattr(intake, "AT_ONCE", number)


def test_what_arrived_is_indexed_and_moved(desk: Desk) -> None:
    arrived = desk.arrive("a", "b")
    assert sorted(it.nonce for it in desk.intake.take_in(desk.ledger)) == sorted(it.nonce for it in arrived)
    assert desk.jobs() == ["a", "b"]
    found = files(desk.spool)
    assert (found["new"], found["open"]) == ([], sorted(it.name for it in arrived))
    assert desk.intake.take_in(desk.ledger) == []


def test_so_many_are_taken_in_at_once_and_the_others_next(desk: Desk) -> None:
    desk.arrive(*(f"job-{number}" for number in range(AT_ONCE + 1)))
    assert [len(desk.intake.take_in(desk.ledger)) for _ in range(3)] == [AT_ONCE, 1, 0]
    assert len(desk.jobs()) == AT_ONCE + 1


def test_a_job_waits_since_its_completion_by_the_clock_that_it_was_completed_by(desk: Desk) -> None:
    desk.clock.step = 86_400_000  # nobody has followed yet
    put(
        desk.spool.new,
        new_submission(CompletedJob(cid=cid_of("a"), job_id="a", completed_at=to_moment(NOW + 86_399_000))),
    )
    desk.intake.take_in(desk.ledger)
    assert (column(desk.ledger, "a", "next_at"), column(desk.ledger, "a", "waiting_since")) == (NOW, NOW - 1000)


def test_a_file_in_the_making_is_given_time_and_then_set_aside_with_its_reason(desk: Desk, log: list[str]) -> None:
    path = desk.half()
    for _ in range(2):
        assert desk.intake.take_in(desk.ledger) == []
        assert path.exists()
        desk.clock.passed += GRACE / 2
    assert log == []
    desk.intake.take_in(desk.ledger)
    (rejected,) = desk.spool.rejects()
    assert "not JSON" in desk.spool.why(rejected)
    (line,) = log
    assert all(it in line for it in ("ERROR REJECTED", path.name, "not JSON", str(rejected)))


def test_a_file_that_is_finished_in_time_is_a_job(desk: Desk) -> None:
    path = desk.half()
    desk.intake.take_in(desk.ledger)
    path.write_text(content("a"))
    desk.clock.passed += GRACE
    assert [it.job.job_id for it in desk.intake.take_in(desk.ledger)] == ["a"]


@pytest.mark.parametrize("seen_gone", [True, False])
def test_each_file_is_given_time_of_its_own_whatever_came_before_under_its_name(desk: Desk, seen_gone: bool) -> None:
    path = desk.half()
    desk.intake.take_in(desk.ledger)
    if seen_gone:
        path.unlink()  # another worker took it
    else:
        path.write_text(content("a"))
    desk.clock.passed += GRACE
    desk.intake.take_in(desk.ledger)
    desk.half()
    desk.intake.take_in(desk.ledger)
    assert path.exists()


def test_files_that_cannot_be_set_aside_hold_up_no_other_and_are_said_once(
    desk: Desk, log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once(monkeypatch, 1)
    desk.block()
    bad = [desk.half(f"bad-{number}") for number in range(12)]
    desk.arrive("good")
    for _ in range(9):
        desk.intake.take_in(desk.ledger)
        desk.clock.passed += GRACE
    assert desk.jobs() == ["good"]
    assert desk.alarms.lasting() == sorted(f"stuck {path.name}" for path in bad)
    assert len(log) == 12
    assert all("cannot set aside" in line and "tried again" in line for line in log)


def test_what_could_not_be_set_aside_is_set_aside_once_it_can_be(desk: Desk, log: list[str]) -> None:
    path = desk.half()
    desk.intake.take_in(desk.ledger)
    desk.clock.passed += GRACE
    desk.block()
    desk.intake.take_in(desk.ledger)
    assert desk.alarms.lasting() == ["stuck job.json"]
    desk.unblock()
    desk.intake.take_in(desk.ledger)
    assert (desk.alarms.lasting(), path.exists()) == ([], False)
    assert any(line.startswith(f"INFO the job file {path} is dealt with") for line in log)


def test_a_stuck_file_that_somebody_removes_is_stuck_no_more(desk: Desk) -> None:
    path = desk.half()
    desk.intake.take_in(desk.ledger)
    desk.clock.passed += GRACE
    desk.block()
    desk.intake.take_in(desk.ledger)
    path.unlink()
    desk.intake.take_in(desk.ledger)
    assert desk.alarms.lasting() == []
    desk.half()
    assert desk.intake.waiting()


def failing_reads(monkeypatch: pytest.MonkeyPatch, name: str, act: Callable[[Path], None]) -> pytest.MonkeyPatch:
    """Something happens whenever this file is read."""
    real = durable.read_regular

    def read(path: Path, limit: int) -> bytes:
        if path.name == name:
            act(path)
        return real(path, limit)

    monkeypatch.setattr(durable, "read_regular", read)


def test_a_file_that_the_disk_does_not_give_is_left_and_tried_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, log: list[str]
) -> None:
    def refuse(_: Path) -> None:
        raise OSError(5, "Input/output error")

    (desk.spool.new / "job.json").write_text(content("a"))
    desk.arrive("b")
    with monkeypatch.context() as patch:
        failing_reads(patch, "job.json", refuse)
        desk.intake.take_in(desk.ledger)
        assert desk.jobs() == ["b"]
        assert [line[:32] for line in log] == ["ERROR cannot read the job file /"]
        assert desk.alarms.lasting() == ["stuck job.json"]
        assert not desk.intake.waiting()
    desk.intake.take_in(desk.ledger)
    assert (desk.jobs(), desk.alarms.lasting()) == (["a", "b"], [])


def test_a_file_that_another_worker_takes_first_is_no_error(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, log: list[str]
) -> None:
    path = desk.half()
    desk.intake.take_in(desk.ledger)
    desk.clock.passed += GRACE
    desk.arrive("b")
    with monkeypatch.context() as patch:
        failing_reads(patch, "job.json", lambda path: path.unlink())
        assert [it.job.job_id for it in desk.intake.take_in(desk.ledger)] == ["b"]
    assert (log, desk.alarms.lasting()) == ([], [])
    desk.half()
    desk.intake.take_in(desk.ledger)
    assert path.exists(), "it is given time of its own"


def test_a_file_that_another_worker_sets_aside_first_is_no_error(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, log: list[str]
) -> None:
    path = desk.half()
    desk.intake.take_in(desk.ledger)
    desk.clock.passed += GRACE
    move = durable.move

    def gone(source: Path, target: Path) -> None:
        if source == path:
            path.unlink()
        move(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(durable, "move", gone)
        desk.intake.take_in(desk.ledger)
    assert (log, desk.alarms.lasting(), desk.spool.rejects()) == ([], [], [])
    desk.half()
    desk.intake.take_in(desk.ledger)
    assert path.exists(), "it is given time of its own"


def test_a_file_waits_unless_it_is_hidden_or_stuck(desk: Desk) -> None:
    for number in range(9):
        (desk.spool.new / f".hidden-{number}").touch()
    assert not desk.intake.waiting()
    desk.half("bad")
    desk.intake.take_in(desk.ledger)
    assert desk.intake.waiting()
    desk.block()
    desk.clock.passed += GRACE
    desk.intake.take_in(desk.ledger)
    assert not desk.intake.waiting()
    desk.arrive("a")
    assert desk.intake.waiting()


def test_files_of_finished_jobs_go_and_are_forgotten(desk: Desk) -> None:
    _, waiting = desk.open("a", "b")
    desk.intake.sweep(desk.ledger)
    assert len(desk.spool.opened()) == 2
    end(desk.ledger, "a")
    desk.intake.sweep(desk.ledger)
    assert desk.spool.opened_names() == [waiting.name]
    assert list(desk.ledger.nonces()) == [waiting.nonce]


def test_where_nothing_is_finished_no_disk_is_troubled(desk: Desk, said: Any) -> None:
    desk.open("a")
    said.clear()
    desk.intake.sweep(desk.ledger)
    assert said == []


def test_files_that_cannot_be_removed_are_said_and_remembered(desk: Desk, log: list[str]) -> None:
    (job,) = desk.open("a")
    end(desk.ledger, "a")
    desk.spool.open.rename(desk.spool.folder / "elsewhere")
    desk.spool.open.write_bytes(b"in the way")
    desk.intake.sweep(desk.ledger)
    assert desk.intake.unlink([(job.key, job.nonce)]) == ()
    assert desk.ledger.nonces() == {job.nonce: True}
    assert desk.alarms.lasting() == ["sweep"]
    assert log[0].startswith("ERROR files of finished jobs stay: cannot remove")
    desk.spool.open.unlink()
    (desk.spool.folder / "elsewhere").rename(desk.spool.open)
    assert desk.intake.unlink([(job.key, job.nonce)]) == (job.nonce,)
    assert (desk.alarms.lasting(), desk.spool.opened()) == ([], [])
    assert log[-1].startswith("INFO files of finished jobs are removed again")


def test_a_folder_that_cannot_be_listed_is_an_error(desk: Desk) -> None:
    desk.spool.new.rmdir()
    desk.spool.new.write_bytes(b"in the way")
    with pytest.raises(StorageError, match=f"^cannot list {desk.spool.new}"):
        desk.intake.take_in(desk.ledger)
