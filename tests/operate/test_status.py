"""`status`: the truth on one screen, whatever state the data folder is in, and nothing changed by looking."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from encoder_hookspecs import Reason
from encoder_pin_plugin.lazy.pins import State
from encoder_pin_plugin.lazy.presence import Presence
from encoder_pin_plugin.lazy.worker import LEDGER_NAME
from tests.fakes.kubo_node import FakeKubo
from tests.operate.conftest import CIDS, Desk, in_a_mount

LINE = (
    b'{"hash":"%s","job_id":"job-1","size_mb":25.5,"type":"directory","failed_lazy_attempts":3,'
    b'"local_pin_timestamp":"2025-10-28T10:30:00.000Z","source":"failed_lazy_pin_fallback","node_id":"enc-1"}\n'
    % CIDS[0].encode()
)


@pytest.fixture
def nodes(desk: Desk) -> Iterator[FakeKubo]:
    """Both nodes answer."""
    with FakeKubo() as supernode, FakeKubo() as local:
        desk.env |= {"THREESPEAK_IPFS_ENDPOINT": supernode.url, "IPFS_API_ADDR": local.url}
        yield supernode


@pytest.fixture
def worker(desk: Desk) -> Iterator[Presence]:
    presence = Presence(desk.data)
    presence.begin()
    yield presence
    presence.end()


def _tree(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in folder.rglob("*")}


@pytest.mark.usefixtures("nodes")
def test_without_a_data_folder_nothing_needs_a_person_and_nothing_is_made(desk: Desk) -> None:
    result = desk.run("status")
    assert result.exit_code == 0, result.output
    assert "no such folder yet" in result.stdout
    assert "nothing needs a person" in result.stdout
    assert not desk.data.exists()


@pytest.mark.usefixtures("nodes")
def test_jobs_that_wait_for_nobody_call_for_a_worker(desk: Desk) -> None:
    desk.submit("job-1")
    result = desk.run("status")
    assert result.exit_code == 1
    assert 'run "encoder-pin work"' in result.stdout
    assert "1 open: 1 arrived" in result.stdout


@pytest.mark.usefixtures("nodes", "worker")
def test_with_a_live_worker_waiting_jobs_call_for_nobody(desk: Desk) -> None:
    desk.submit("job-1")
    result = desk.run("status")
    assert result.exit_code == 0, result.output
    assert "is alive" in result.stdout


@pytest.mark.usefixtures("nodes")
def test_a_worker_whose_loop_does_not_turn_is_said_to_hang(desk: Desk, worker: Presence) -> None:
    os.utime(desk.data / "workers" / worker.name, (1, 1))
    result = desk.run("status")
    assert result.exit_code == 1
    assert "has not got on" in result.stdout


def test_nodes_that_do_not_answer_are_named_within_seconds(desk: Desk) -> None:
    with FakeKubo() as mute:
        mute.lie("silence")
        desk.env["THREESPEAK_IPFS_ENDPOINT"] = mute.url
        document = desk.json("status")
    assert "no answer within" in document["nodes"]["supernode"]["detail"]
    assert document["nodes"]["local"]["reachable"] is False
    assert len(document["needs_a_person"]) == 2


def test_a_missing_supernode_is_said_and_what_then(desk: Desk) -> None:
    assert "jobs fall back 7200 s after completion (FALLBACK_AFTER)" in desk.run("status").stdout
    assert "set THREESPEAK_IPFS_ENDPOINT" in desk.run("status").stdout


@pytest.mark.usefixtures("nodes", "worker")
def test_numbers_of_every_state(desk: Desk) -> None:
    desk.submit("job-1", CIDS[0], "--size-mb", "25.5")
    desk.finish(State.PINNED)
    desk.submit("job-2", CIDS[1])
    desk.finish(State.PENDING, attempts=2, reason=Reason.REFUSED, error="nobody answers", delay=10**14)
    desk.submit("job-3", CIDS[2])
    document = desk.json("status")
    jobs = document["jobs"]
    assert (document["open"], document["arrived"], jobs["pending"], jobs["pinned"]) == (2, 1, 1, 1)
    assert jobs["attempts"] == {"2": 1}
    assert jobs["last_errors"] == {"refused": 1}
    assert jobs["oldest"]["job_id"] == "job-2"
    assert document["ok"] is True
    text = desk.run("status").stdout
    assert "2 open: 1 arrived, 1 pending" in text
    assert "oldest: job-2" in text


def test_the_keys_for_programs_stay(desk: Desk) -> None:
    assert set(desk.json("status", "--no-nodes")) == {
        "ok", "needs_a_person", "checked_at", "data_dir", "data_dir_exists", "open", "arrived", "open_files",
        "rejected",
        "rejected_by_hand", "jobs", "archive", "workers", "nodes", "fallback_after", "local_fallback", "trouble",
        "cannot_record",
    }  # fmt: skip


@pytest.mark.usefixtures("nodes", "worker")
def test_overdue_jobs_say_where_to_look(desk: Desk) -> None:
    desk.submit("job-1")
    ledger = desk.ledger()
    with ledger.transaction() as db:
        db.execute("UPDATE job SET waiting_since = waiting_since - 8000000")
    ledger.close()
    desk.env["ENABLE_LOCAL_FALLBACK"] = "false"
    result = desk.run("status")
    assert result.exit_code == 1
    assert "ENABLE_LOCAL_FALLBACK is false" in result.stdout
    assert "job-1" in desk.run("jobs", "--state", "overdue").stdout


@pytest.mark.usefixtures("nodes", "worker")
def test_failing_fallbacks_show_the_last_error(desk: Desk) -> None:
    desk.submit("job-1")
    desk.finish(State.FALLING_BACK, fallbacks=2, error="the disk of the node is full")
    result = desk.run("status")
    assert result.exit_code == 1
    assert "the disk of the node is full" in result.stdout


@pytest.mark.usefixtures("nodes", "worker")
def test_rejected_files_call_for_a_person_until_they_are_gone(desk: Desk) -> None:
    desk.spool.create()
    (desk.spool.new / "x").write_text("no job")
    desk.spool.reject(desk.spool.new / "x", "it is not JSON")
    assert desk.run("status").exit_code == 1
    for path in desk.spool.rejected.iterdir():
        path.unlink()
    assert desk.run("status").exit_code == 0


@pytest.mark.usefixtures("nodes")
def test_the_archive_in_lines_and_mb(desk: Desk) -> None:
    desk.data.mkdir()
    (desk.data / "local-fallback-pins.jsonl").write_bytes(LINE + b"rubbish\n")
    result = desk.run("status")
    assert result.exit_code == 1
    assert "1 line waits to be migrated, 25.5 MB" in result.stdout
    assert "encoder-pin archive repair" in result.stdout


@pytest.mark.usefixtures("nodes")
def test_an_append_under_way_is_no_damage(desk: Desk) -> None:
    desk.data.mkdir()
    (desk.data / "local-fallback-pins.jsonl").write_bytes(LINE + LINE[:50])
    assert desk.run("status").exit_code == 0


@pytest.mark.usefixtures("nodes")
def test_collected_lines_are_counted_and_call_for_nobody(desk: Desk) -> None:
    desk.submit("job-1")
    desk.finish(State.ARCHIVED, line=LINE)
    result = desk.run("status")
    assert result.exit_code == 0, result.output
    assert "1 line that we wrote stands in no file here" in result.stdout
    (desk.data / "migrated-pins.jsonl").write_bytes(LINE)
    assert desk.json("status")["archive"]["missing_lines"] == 0


@pytest.mark.usefixtures("nodes")
def test_wrong_settings_are_said_and_the_rest_is_told(desk: Desk) -> None:
    desk.submit("job-1")
    desk.env["LAZY_PIN_BACKOFF"] = "soon"
    result = desk.run("status")
    assert result.exit_code == 1
    assert "the worker will not start: LAZY_PIN_BACKOFF" in result.stdout
    assert "1 open" in result.stdout


@pytest.mark.usefixtures("nodes")
def test_a_locked_ledger_is_said_and_jobs_are_counted_by_their_files(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("encoder_pin_plugin.operate.ledger_view.PATIENCE", 0.1)
    desk.submit("job-1")
    desk.ledger().close()
    other = sqlite3.connect(desk.data / LEDGER_NAME, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    result = desk.run("status")
    other.close()
    assert result.exit_code == 1
    assert "is busy" in result.stdout
    assert "about 1 open" in result.stdout


@pytest.mark.usefixtures("nodes")
def test_a_damaged_ledger_is_said_and_left_alone(desk: Desk) -> None:
    desk.submit("job-1")
    desk.ledger().close()
    ledger = desk.data / LEDGER_NAME
    ledger.write_bytes(b"\0" * ledger.stat().st_size)
    result = desk.run("status")
    assert result.exit_code == 1
    assert "is damaged" in result.stdout
    assert "no job is lost" in result.stdout
    assert ledger.read_bytes() == b"\0" * ledger.stat().st_size


@pytest.mark.usefixtures("nodes")
def test_a_ledger_of_a_newer_release_is_said(desk: Desk) -> None:
    desk.submit("job-1")
    desk.ledger().close()
    other = sqlite3.connect(desk.data / LEDGER_NAME)
    other.execute("PRAGMA user_version=99")
    other.execute("ALTER TABLE job ADD COLUMN later TEXT")
    other.close()
    assert "newer release" in desk.run("status").stdout


@pytest.mark.usefixtures("nodes")
def test_an_empty_ledger_file_is_none_yet(desk: Desk) -> None:
    desk.data.mkdir()
    (desk.data / LEDGER_NAME).touch()
    assert desk.run("status").exit_code == 0


@pytest.mark.usefixtures("nodes")
def test_looking_changes_nothing(desk: Desk) -> None:
    desk.submit("job-1")
    desk.finish(State.ARCHIVED, line=LINE)
    desk.submit("job-2", CIDS[1])
    before = _tree(desk.data)
    for command in (["status"], ["jobs"], ["archive", "check"], ["archive", "total"], ["archive", "list"]):
        desk.run(*command)
    assert _tree(desk.data) == before


@pytest.mark.usefixtures("nodes")
def test_it_works_where_nothing_may_be_written(desk: Desk) -> None:
    desk.submit("job-1")
    desk.ledger().close()
    script = f"mount --bind {desk.data} {desk.data} && mount -o remount,ro,bind {desk.data} && encoder-pin status"
    result = in_a_mount(desk, script)
    assert "1 open: 1 pending" in result.stdout, result.stderr


@pytest.mark.usefixtures("nodes")
def test_hostile_texts_reach_no_terminal(desk: Desk) -> None:
    desk.submit("job\u202e-1")
    desk.finish(State.PENDING, reason=Reason.NODE_ERROR, error="\x1b[2J\x1b]0;title\x07 gone", delay=10**14)
    for command in ("status", "jobs"):
        output = desk.run(command).output
        assert "\x1b" not in output
        assert "\x07" not in output
        assert "\u202e" not in output


def test_a_closed_pipe_is_quiet(desk: Desk) -> None:
    for number in range(30):
        desk.submit(f"job-{number}")
    with desk.start("jobs") as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.close()
        assert running.stderr.read() == ""


@pytest.mark.usefixtures("worker")
def test_a_supernode_that_is_the_local_node_needs_a_person(desk: Desk, nodes: FakeKubo) -> None:
    assert desk.json("status")["nodes"]["are_one"] is False
    desk.env |= {"THREESPEAK_IPFS_ENDPOINT": nodes.url, "IPFS_API_ADDR": f"http://localhost:{nodes.port}"}
    result = desk.run("status")
    assert result.exit_code == 1
    assert "the supernode is the local node itself" in result.stdout
    nodes.lie("forbidden", only={"id"})
    assert desk.json("status")["nodes"]["are_one"] is None
    assert desk.run("status").exit_code == 0
