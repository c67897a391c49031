"""`jobs`, `retry`, `reject`: single jobs, looked at and acted on, and never lost by it."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest

from encoder_hookspecs import Reason
from encoder_pin_plugin.lazy.pins import State, Step
from encoder_pin_plugin.lazy.worker import LEDGER_NAME
from tests.operate.conftest import CIDS, Desk, now, worker_takes_in


def _states(desk: Desk, *arguments: str) -> dict[str, str]:
    return {row["job_id"]: row["state"] for row in desk.json("jobs", *arguments)["jobs"]}


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


def test_files_that_do_not_fit_are_counted_as_well(desk: Desk) -> None:
    for number in range(4):
        desk.submit(f"job-{number}", CIDS[number % 2])
    document = desk.json("jobs", "--limit", "3")
    assert (len(document["jobs"]), document["total"], document["left_out"]) == (3, 4, 1)
    assert desk.json("jobs", "--limit", "3", "--cid", CIDS[0])["total"] == 2
    desk.ledger().close()
    (desk.data / LEDGER_NAME).write_bytes(b"no ledger any more" * 1000)
    document = desk.json("jobs", "--limit", "3")
    assert (len(document["jobs"]), document["total"]) == (3, 4)


def test_a_job_is_told_in_words(desk: Desk) -> None:
    desk.env["THREESPEAK_IPFS_ENDPOINT"] = "http://127.0.0.1:1"
    desk.submit("job-1", CIDS[0], "--size-mb", "1234.5", "--type", "file")
    desk.finish(State.PENDING, attempts=2, reason=Reason.STALLED, error="no progress", delay=3_600_500)
    text = desk.run("jobs").stdout
    for words in ("job-1  pending, 2 failed attempts", "next try in 1 h", "1,234.5 MB", "stalled: no progress"):
        assert words in text


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "falls back in 1 h 59 min (FALLBACK_AFTER)"),
        ({"FALLBACK_AFTER": "60"}, "falls back now"),
        ({"ENABLE_LOCAL_FALLBACK": "false"}, "waits for a supernode to be configured"),
        ({"THREESPEAK_IPFS_ENDPOINT": "http://127.0.0.1:1"}, "due now"),
    ],
)
def test_a_job_that_no_supernode_is_there_for_says_for_what_it_waits(
    desk: Desk, settings: dict[str, str], words: str
) -> None:
    desk.submit("job-1", CIDS[0])
    ledger = desk.ledger()
    with ledger.transaction() as db:
        db.execute("UPDATE job SET waiting_since = waiting_since - 60000")
    ledger.close()
    desk.env |= settings
    assert f", open for 1 min, {words}\n" in desk.run("jobs").stdout


def test_with_a_damaged_ledger_the_jobs_are_listed_by_their_files(desk: Desk) -> None:
    desk.submit("job-1", CIDS[0], "--size-mb", "12.5")
    desk.submit("job-2", CIDS[1])
    desk.ledger().close()
    desk.submit("job-3", CIDS[1])
    (desk.data / LEDGER_NAME).write_bytes(b"no ledger any more" * 1000)
    result = desk.run("jobs")
    assert result.exit_code == 1
    assert "is damaged" in result.stderr
    assert "their states are not known" in result.stderr
    for words in ("  job-1  open, open for ", "12.5 MB", "  job-2  open", "  job-3  arrived"):
        assert words in result.stdout
    document = json.loads(desk.run("jobs", "--json", "--cid", CIDS[1]).stdout)
    assert {row["job_id"]: row["state"] for row in document["jobs"]} == {"job-2": "open", "job-3": "arrived"}
    assert (document["total"], "is damaged" in document["trouble"]) == (2, True)
    assert _states(desk, "--state", "arrived") == {"job-3": "arrived"}


@pytest.mark.parametrize("state", ["pending", "falling_back", "overdue", "pinned", "archived"])
def test_what_only_the_ledger_knows_is_not_guessed(desk: Desk, state: str) -> None:
    desk.submit("job-1")
    desk.ledger().close()
    (desk.data / LEDGER_NAME).write_bytes(b"no ledger any more" * 1000)
    result = desk.run("jobs", "--state", state)
    assert (result.exit_code, result.stdout, "is damaged" in result.stderr) == (1, "", True)


def test_with_a_ledger_nothing_is_wrong_with_the_list(desk: Desk) -> None:
    desk.submit("job-1")
    assert desk.json("jobs")["trouble"] is None


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
    worker_takes_in(desk)
    assert desk.json("status", "--no-nodes")["open"] == 0
    assert len(desk.spool.rejects()) == 1


@pytest.mark.parametrize("swept", [True, False])
def test_a_rejected_job_can_be_retried_from_the_beginning(desk: Desk, swept: bool) -> None:
    desk.submit("job-1", CIDS[0], "--size-mb", "7")
    desk.ledger().close()
    desk.run("reject", "job-1")
    if swept:
        worker_takes_in(desk)
    result = desk.run("retry", "job-1")
    assert result.exit_code == 0, result.output
    assert not list(desk.spool.rejected.iterdir())
    worker_takes_in(desk)
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
    worker_takes_in(desk)
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


def test_what_is_rejected_and_retried_before_the_first_worker_makes_it_miss_no_ledger(desk: Desk) -> None:
    desk.submit("job-1")
    for command in ("reject", "retry"):
        assert desk.run(command, "job-1").exit_code == 0
    desk.env["ENABLE_LOCAL_FALLBACK"] = "false"
    assert desk.process("work", "--drain").returncode == 1
    log = (desk.folder / "logs" / "encoder.log").read_text("utf-8")
    assert "gone or empty" not in log


@pytest.mark.parametrize("words", [["retry", "-dash"], ["reject", "--dash"], ["reject", "--", "-dash", "--why", "x"]])
def test_how_to_write_a_job_id_that_looks_like_an_option_is_said(desk: Desk, words: list[str]) -> None:
    result = desk.run(*words)
    assert result.exit_code == 2
    assert f"write options first, then --: encoder-pin {words[0]} [OPTIONS] -- JOB" in result.stderr
    assert "after all options and a --" in " ".join(desk.run(words[0], "--help").stdout.split())


def test_a_job_id_that_looks_like_an_option_is_retried_and_rejected_so(desk: Desk) -> None:
    desk.submit("-dash")
    assert desk.run("retry", "--", "-dash").exit_code == 0
    assert desk.run("reject", "--why", "x", "--", "-dash").exit_code == 0
    assert _states(desk) == {"-dash": "rejected"}


def test_other_wrong_usage_says_nothing_of_dashes(desk: Desk) -> None:
    for words in (["retry"], ["reject", "one", "two"]):
        assert "dash" not in desk.run(*words).stderr
