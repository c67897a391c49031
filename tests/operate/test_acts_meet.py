"""`reject` and `retry` meet each other and a worker, in the middle of what they do: no job is lost by it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from encoder_pin_plugin.lazy import manual
from encoder_pin_plugin.lazy.jobfile import Submission
from encoder_pin_plugin.lazy.pins import State
from encoder_pin_plugin.lazy.spool import Spool
from encoder_pin_plugin.operate import act_commands, choose, rows
from tests.operate.conftest import Desk, worker_takes_in


def _open(desk: Desk) -> list[str]:
    return [row["job_id"] for row in desk.json("jobs", "--state", "open")["jobs"]]


def _before(monkeypatch: pytest.MonkeyPatch, module: Any, name: str, act: Callable[[], object]) -> None:
    """Have `act` happen once, before this function is called for the first time."""
    function, acts = getattr(module, name), [act]

    def acts_first(*arguments: Any) -> Any:
        while acts:
            acts.pop()()
        return function(*arguments)

    monkeypatch.setattr(module, name, acts_first)


@pytest.mark.parametrize("command", ["retry", "submit"])
def test_a_job_that_comes_back_while_it_is_rejected_stays_open(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """Its file is set aside, and another one is taken in before the ledger hears of it."""
    desk.submit("job-1")
    desk.ledger().close()
    comes_back = {"retry": lambda: desk.run("retry", "job-1"), "submit": lambda: desk.submit("job-1")}[command]
    _before(monkeypatch, manual, "reject", lambda: (comes_back(), worker_takes_in(desk)))
    result = desk.run("reject", "job-1")
    assert (result.exit_code, "reject it again" in result.stderr) == (1, True)
    worker_takes_in(desk)
    assert _open(desk) == ["job-1"]
    assert "job-1" in {desk.spool.read(path).job.job_id for path in desk.spool.opened()}
    assert desk.run("reject", "job-1").exit_code == 0
    assert _open(desk) == []


def test_a_file_that_was_taken_in_before_it_could_be_set_aside_is_no_crash(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.submit("job-1")
    _before(monkeypatch, act_commands, "_set_aside", lambda: worker_takes_in(desk))
    result = desk.run("reject", "job-1")
    assert (result.exit_code, "taken in, just now" in result.stderr) == (1, True)
    assert _open(desk) == ["job-1"]
    assert desk.spool.rejects() == []


@pytest.mark.parametrize("command", ["retry", "reject"])
def test_a_job_that_is_taken_in_while_it_is_looked_for_is_found(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    desk.submit("job-1")
    _before(monkeypatch, choose, "_in_files", lambda: worker_takes_in(desk))
    result = desk.run(command, "job-1")
    assert result.exit_code == 0, result.output
    assert _open(desk) == (["job-1"] if command == "retry" else [])


@pytest.mark.parametrize("reads", [0, 1])
def test_a_file_that_is_taken_in_while_the_jobs_are_listed_is_no_crash(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, reads: int
) -> None:
    """Before its file is read, or after."""
    desk.submit("job-1")
    read = rows._read

    def reads_while_taken_in(spool: Spool, path: Path) -> tuple[Submission | None, str]:
        found = read(spool, path) if reads else None
        worker_takes_in(desk)
        return found or read(spool, path)

    monkeypatch.setattr(rows, "_read", reads_while_taken_in)
    assert desk.run("jobs", "--state", "arrived").exit_code == 0


def test_a_job_that_was_finished_before_its_file_could_be_set_aside_is_said(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.submit("job-1")
    desk.ledger().close()
    _before(
        monkeypatch, act_commands, "_set_aside", lambda: (desk.finish(State.ARCHIVED), worker_takes_in(desk))
    )  # fmt: skip
    result = desk.run("reject", "job-1")
    assert (result.exit_code, "finished just now" in result.stderr) == (1, True)
    assert desk.spool.rejects() == []


def test_what_two_reject_at_once_is_rejected_once(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.submit("job-1")
    _before(monkeypatch, act_commands, "_set_aside", lambda: desk.run("reject", "job-1"))
    result = desk.run("reject", "job-1")
    assert (result.exit_code, "just now" in result.stderr) == (1, True)
    assert len(desk.spool.rejects()) == 1
    assert _open(desk) == []


def test_what_two_retry_at_once_is_submitted_once(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.submit("job-1")
    desk.run("reject", "job-1")
    _before(monkeypatch, act_commands, "_submit_again", lambda: desk.run("retry", "job-1"))
    result = desk.run("retry", "job-1")
    assert (result.exit_code, "just now" in result.stderr) == (1, True)
    assert _open(desk) == ["job-1"]
    assert len(desk.spool.arrivals(10)) == 1
