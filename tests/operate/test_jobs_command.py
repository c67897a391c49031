"""`jobs`, `retry`, `reject`: single jobs, looked at and acted on, and never lost by it."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest

from encoder_hookspecs import Reason
from encoder_pin_plugin.alarms import Alarms
from encoder_pin_plugin.clock import EvenClock, SystemClock
from encoder_pin_plugin.lazy.intake import Intake
from encoder_pin_plugin.lazy.pins import State, Step
from encoder_pin_plugin.lazy.worker import LEDGER_NAME
from tests.operate.conftest import CIDS, Desk, now


def _states(desk: Desk, *arguments: str) -> dict[str, str]:
    return {row["job_id"]: row["state"] for row in desk.json("jobs", *arguments)["jobs"]}


def _worker_takes_in(desk: Desk) -> None:
    """What a worker does first: reconcile, take in, sweep."""
    ledger = desk.ledger()
    intake = Intake(desk.spool, Alarms(SystemClock()), EvenClock(SystemClock()))
    intake.reconcile(ledger)
    intake.take_in(ledger)
    intake.sweep(ledger)
    ledger.close()


def test_each_state_can_be_asked_for(desk: Desk) -> None:
    desk.submit("pinned", CIDS[0])
    desk.finish(State.PINNED)
    desk.submit("archived", CIDS[1])
    desk.finish(State.ARCHIVED)
    desk.submit("falling", CIDS[1])
    desk.finish(State.FALLING_BACK)
    desk.submit("pending", CIDS[2])
    desk.ledger().close()
    desk.submit("arrived", CIDS[0])
    desk.spool.reject(_dropped(desk, "no job"), "it is not JSON")
    assert _states(desk) == {"falling": "falling_back", "pending": "pending", "arrived": "arrived", None: "rejected"}
    assert _states(desk, "--state", "open") == {"falling": "falling_back", "pending": "pending", "arrived": "arrived"}
    for state in ("pinned", "archived", "pending", "arrived"):
        assert _states(desk, "--state", state) == {state: state}
    assert len(_states(desk, "--state", "all")) == 6
    assert _states(desk, "--cid", CIDS[0].upper()) == {"pinned": "pinned", "arrived": "arrived"}


def _dropped(desk: Desk, content: str) -> Path:
    desk.spool.create()
    path = desk.spool.new / "dropped.json"
    path.write_text(content)
    return path


def test_more_than_fit_are_counted(desk: Desk) -> None:
    for number in range(4):
        desk.submit(f"job-{number}")
    desk.ledger().close()
    document = desk.json("jobs", "--limit", "3")
    assert (len(document["jobs"]), document["total"], document["left_out"]) == (3, 4, 1)
    assert "and 1 more job" in desk.run("jobs", "--limit", "3").stdout


def test_a_job_is_told_in_words(desk: Desk) -> None:
    desk.submit("job-1", CIDS[0], "--size-mb", "1234.5", "--type", "file")
    desk.finish(State.PENDING, attempts=2, reason=Reason.STALLED, error="no progress", delay=3_600_500)
    text = desk.run("jobs").stdout
    for words in ("job-1  pending, 2 failed attempts", "next try in 1 h", "1,234.5 MB", "stalled: no progress"):
        assert words in text


def test_without_any_job_that_is_said(desk: Desk) -> None:
    result = desk.run("jobs")
    assert (result.exit_code, result.stdout) == (0, "no such job\n")


@pytest.mark.parametrize("how", ["job_id", "cid", "key"])
def test_retry_makes_an_open_job_due_now(desk: Desk, how: str) -> None:
    desk.submit("job-1")
    desk.finish(State.PENDING, delay=3_600_000)
    (row,) = desk.json("jobs")["jobs"]
    result = desk.run("retry", row[how] if how != "key" else row["key"][:8])
    assert result.exit_code == 0, result.output
    assert "job-1 is due now" in result.stdout
    assert "tries one job at a time" in result.stdout
    assert desk.json("jobs")["jobs"][0]["next_at"] <= now()


def test_an_ambiguous_name_is_listed_and_refused(desk: Desk) -> None:
    desk.submit("job-1")
    desk.ledger().close()
    desk.submit("job-2")
    for command in ("retry", "reject"):
        result = desk.run(command, CIDS[0])
        assert result.exit_code == 2
        assert "job-1" in result.stderr
        assert "job-2" in result.stderr
    assert len(_states(desk, "--state", "open")) == 2


def test_an_unknown_name_is_refused(desk: Desk) -> None:
    for command in ("retry", "reject"):
        result = desk.run(command, "job-\x1b[2J9")
        assert result.exit_code == 2
        assert "no job" in result.stderr
        assert "\x1b" not in result.stderr


def test_retry_of_a_finished_job_says_what_it_is(desk: Desk) -> None:
    desk.submit("job-1")
    desk.finish(State.PINNED)
    result = desk.run("retry", "job-1")
    assert result.exit_code == 1
    assert "is pinned" in result.stderr


def test_reject_keeps_the_files_and_closes_the_job(desk: Desk) -> None:
    desk.submit("job-1")
    desk.submit("job-1")
    desk.ledger().close()
    result = desk.run("reject", "job-1", "--why", "a test upload")
    assert result.exit_code == 0, result.output
    assert len(desk.spool.rejects()) == 2
    assert not desk.spool.opened()
    assert desk.json("status", "--no-nodes")["open"] == 0
    assert "a test upload" in desk.run("jobs", "--state", "rejected").stdout
    assert desk.run("status", "--no-nodes").exit_code == 0


def test_a_rejected_job_stays_rejected_after_the_worker_has_kept_house(desk: Desk) -> None:
    desk.submit("job-1")
    desk.ledger().close()
    desk.run("reject", "job-1")
    _worker_takes_in(desk)
    assert desk.json("status", "--no-nodes")["open"] == 0
    assert len(desk.spool.rejects()) == 1


@pytest.mark.parametrize("swept", [True, False])
def test_a_rejected_job_can_be_retried_from_the_beginning(desk: Desk, swept: bool) -> None:
    desk.submit("job-1", CIDS[0], "--size-mb", "7")
    desk.ledger().close()
    desk.run("reject", "job-1")
    if swept:
        _worker_takes_in(desk)
    result = desk.run("retry", "job-1")
    assert result.exit_code == 0, result.output
    assert not list(desk.spool.rejected.iterdir())
    _worker_takes_in(desk)
    (row,) = desk.json("jobs")["jobs"]
    assert (row["state"], row["attempts"], row["size_mb"]) == ("pending", 0, 7.0)
    assert len(desk.spool.opened()) == 1


def test_the_late_result_of_a_rejected_job_is_dropped(desk: Desk) -> None:
    desk.submit("job-1")
    ledger = desk.ledger()
    (pin,) = ledger.claim("a worker", State.PENDING, now(), limit=1, lease=60_000)
    assert desk.run("reject", "job-1").exit_code == 0
    step = Step(pin=pin, state=State.PINNED, attempts=1, tries=1)
    assert ledger.commit([step], now()) == []
    assert ledger.select()[0].state is State.REJECTED
    ledger.close()


def test_a_job_that_has_just_arrived_can_be_rejected(desk: Desk) -> None:
    desk.submit("job-1")
    assert desk.run("reject", "job-1").exit_code == 0
    assert not desk.spool.arrivals(1)
    assert not (desk.data / LEDGER_NAME).exists()


def test_a_job_whose_file_was_lost_is_kept_from_the_ledger_when_rejected(desk: Desk) -> None:
    desk.submit("job-1")
    desk.ledger().close()
    desk.spool.opened()[0].unlink()
    assert desk.run("reject", "job-1").exit_code == 0
    (kept,) = desk.spool.rejects()
    assert desk.spool.read(kept).job.job_id == "job-1"


def test_a_job_of_which_both_copies_are_damaged_can_be_rejected(desk: Desk) -> None:
    desk.submit("job-1")
    with closing(desk.ledger()) as ledger, ledger.transaction() as db:
        db.execute("UPDATE submission SET body=x'00'")
    desk.spool.opened()[0].unlink()
    result = desk.run("reject", "job-1")
    assert (result.exit_code, desk.spool.rejects()) == (0, [])
    assert "no file, there was none" in result.stdout
    assert _states(desk, "--state", "open") == {}


def test_a_crash_between_the_files_and_the_ledger_leaves_the_job_open(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.submit("job-1")
    desk.ledger().close()

    def crash(*_: object) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("encoder_pin_plugin.lazy.manual.reject", crash)
        desk.run("reject", "job-1")
    _worker_takes_in(desk)
    assert _states(desk, "--state", "open") == {"job-1": "pending"}
    assert len(desk.spool.opened()) == 1


def test_a_rejected_file_that_holds_no_job_is_retried_once_it_is_corrected(desk: Desk) -> None:
    kept = desk.spool.reject(_dropped(desk, "no job"), "it is not JSON")
    result = desk.run("retry", "dropped.json")
    assert result.exit_code == 1
    assert "still holds no job" in result.stderr
    kept.write_text(json.dumps({"cid": CIDS[0], "job_id": "job-9"}))
    assert desk.run("retry", "dropped.json").exit_code == 0
    assert _states(desk) == {"job-9": "arrived"}


def test_rejecting_what_is_finished_is_refused(desk: Desk) -> None:
    desk.submit("job-1")
    desk.finish(State.ARCHIVED)
    result = desk.run("reject", "job-1")
    assert result.exit_code == 1
    assert "is archived" in result.stderr


def test_what_was_held_on_the_local_node_is_said(desk: Desk) -> None:
    desk.submit("job-1")
    ledger = desk.ledger()
    ledger.set_hold({ledger.select()[0].key: "ours"}, now())
    ledger.close()
    assert "stays on the local node" in desk.run("reject", "job-1").stdout
