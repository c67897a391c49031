"""The board knows of each job what the hooks and the archive say, and shows it in words and as a table."""

from __future__ import annotations

import io
import json
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console

from encoder_hookspecs import (
    CompletedJob,
    EncoderManager,
    LazyPinAttempt,
    LazyPinFailure,
    LazyPinSuccess,
    LocalFallback,
    LocalPin,
    Proof,
    Reason,
)
from examples.encoder_harness.board import Board, BoardPlugin, Row, State
from examples.encoder_harness.live import brief, in_words, short, table

CID = "bafybeihltddphfk4mncei4nb2zqj2lhg6hkd65mjyl6m75qurnfamvqwuy"
JOB = CompletedJob(cid=CID, job_id="job-1", size_mb=1.0)
FAILURE = LazyPinFailure(job=JOB, attempts=3, reason=Reason.REFUSED, error="nobody answers")


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return tmp_path / "local-fallback-pins.jsonl"


@pytest.fixture
def board(archive: Path) -> Board:
    return Board(archive, (10.0, 60.0))


def test_a_job_goes_from_encoding_to_pinned(board: Board) -> None:
    hooks = BoardPlugin(board)
    board.change("job-1", done=0.5)
    assert board.rows()[0].state is State.ENCODING
    board.reported("job-1", cid=CID, milliseconds=1.5)
    assert board.rows()[0].state is State.REPORTED
    hooks.on_lazy_pin_attempt_failed(_attempt(1))
    row = board.rows()[0]
    assert (row.state, row.attempts, row.error) == (State.RETRYING, 1, "nobody answers")
    assert row.next_try == pytest.approx(time.monotonic() + 10, abs=2)
    hooks.on_lazy_pin_succeeded(LazyPinSuccess(job=JOB, node="http://x", proof=Proof.PINNED, attempts=2))
    assert board.rows()[0].state is State.PINNED


def test_the_last_backoff_repeats_in_the_estimate_of_the_next_try(board: Board) -> None:
    BoardPlugin(board).on_lazy_pin_attempt_failed(_attempt(7))
    assert board.rows()[0].next_try == pytest.approx(time.monotonic() + 60, abs=2)


def test_a_fallback_is_archived_only_when_its_line_stands_in_the_archive(board: Board, archive: Path) -> None:
    hooks = BoardPlugin(board)
    hooks.on_lazy_pin_failed(FAILURE)
    pin = LocalPin(cid=CID, node="/ip4/127.0.0.1/tcp/5001", proof=Proof.WHOLE)
    hooks.on_local_fallback(LocalFallback(job=JOB, failure=FAILURE, local_pin=pin))
    assert board.rows()[0].state is State.FALLING_BACK
    line = json.dumps({"hash": CID, "job_id": "job-1"})
    archive.write_text(line[:20])
    assert board.rows()[0].state is State.FALLING_BACK
    archive.write_text(f"{line}\n")
    assert board.rows()[0].state is State.ARCHIVED


def test_an_archive_that_is_replaced_or_holds_odd_lines_is_read_on(board: Board, archive: Path) -> None:
    board.change("job-1", state=State.FALLING_BACK)
    board.change("job-2", state=State.FALLING_BACK)
    archive.write_bytes(b'not json\n[]\n{"hash":1}\n\xff\xfe\n{"hash":"x","job_id":"job-1"}\n')
    assert [row.state for row in board.rows()] == [State.ARCHIVED, State.FALLING_BACK]
    other = archive.with_name("other")
    other.write_bytes(b'{"hash":"y","job_id":"job-2"}\n')
    other.replace(archive)
    assert [row.state for row in board.rows()] == [State.ARCHIVED, State.ARCHIVED]


def test_the_observer_answers_no_question(board: Board) -> None:
    manager = EncoderManager(environ={})
    assert manager.register(BoardPlugin(board), name="board").status == "active"
    assert manager.on_lazy_pin_attempt_failed(_attempt(1)) is None
    assert manager.on_lazy_pin_failed(FAILURE) is None
    assert board.rows()[0].state is State.FALLING_BACK


def test_a_report_that_comes_after_the_pin_does_not_undo_it(board: Board) -> None:
    BoardPlugin(board).on_lazy_pin_succeeded(LazyPinSuccess(job=JOB, node="x", proof=Proof.PINNED, attempts=1))
    board.reported("job-1", cid=CID, milliseconds=2.0)
    row = board.rows()[0]
    assert (row.state, row.told_ms) == (State.PINNED, 2.0)


def test_waiting_ends_when_all_jobs_came_there_or_the_time_is_over(board: Board) -> None:
    assert not board.wait(["job-1"], [State.PINNED], seconds=0.05)
    threading.Timer(0.1, board.change, ["job-1"], {"state": State.PINNED}).start()
    assert board.wait(["job-1"], [State.PINNED], seconds=30)


def test_the_listener_hears_each_step_once_and_no_progress(archive: Path) -> None:
    heard: list[str] = []
    board = Board(archive, listener=lambda before, after: heard.append(in_words(before, after)))
    for share in (0.1, 0.5, 1.0):
        board.change("job-1", done=share)
    board.reported("job-1", cid=CID, milliseconds=1.25)
    hooks = BoardPlugin(board)
    hooks.on_lazy_pin_attempt_failed(_attempt(1))
    hooks.on_lazy_pin_failed(FAILURE)
    archive.write_text(json.dumps({"hash": CID, "job_id": "job-1"}) + "\n")
    board.rows()
    assert heard == [
        "reported complete in 1.2 ms: bafybe…famvqwuy",
        "attempt 1 failed: nobody answers",
        "falling back after 3 attempts: pinning bafybe…famvqwuy on the encoder's own node",
        "archived: safe on the encoder's own node, its line stands in the archive",
    ]


def test_a_job_of_an_earlier_run_is_told_as_it_stands(archive: Path) -> None:
    heard: list[str] = []
    board = Board(archive, listener=lambda before, after: heard.append(in_words(before, after)))
    board.earlier("job-1", cid=CID, state=State.RETRYING, attempts=2, error="nobody answers")
    board.earlier("job-2", cid=CID, state=State.PINNED)
    assert heard == [
        "reported complete before this run: bafybe…famvqwuy, retrying after 2 attempts",
        "reported complete before this run: bafybe…famvqwuy, pinned",
    ]


def test_a_long_error_is_cut_and_names_the_cid_shortly() -> None:
    row = Row(job_id="job-1", cid=CID, error=f"pin/ls of {CID}:\n nobody answers" + " and so on" * 50)
    assert brief(row).startswith("pin/ls of bafybe…famvqwuy: nobody answers and so on")
    assert brief(row).endswith("…")
    assert len(brief(row)) < 120


def test_the_table_shows_what_each_job_is_doing_and_takes_no_markup_from_a_node() -> None:
    rows = [
        Row(job_id="job-1", done=0.42),
        Row(
            job_id="job-2", state=State.RETRYING, cid=CID, attempts=2, error="[red]boo[/red]", next_try=time.monotonic()
        ),
    ]
    text = io.StringIO()
    Console(file=text, width=140).print(table(rows))
    assert "encoding  42%" in text.getvalue()
    assert all(word in text.getvalue() for word in (short(CID), "retrying", "[red]boo[/red]", "now"))


def _attempt(number: int) -> LazyPinAttempt:
    now = datetime.now(UTC)
    return LazyPinAttempt(
        job=JOB, number=number, error="nobody answers", reason=Reason.REFUSED, started_at=now, ended_at=now
    )
