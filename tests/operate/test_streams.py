"""Standard streams as service managers, cron jobs and full disks leave them."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator

import pytest

from tests.fakes.kubo_honest import Content
from tests.fakes.kubo_node import FakeKubo
from tests.operate.conftest import CIDS, SCRIPT, Desk

SUBMIT = ("submit", CIDS[0], "--job-id", "job-1")


@pytest.fixture
def supernode(desk: Desk) -> Iterator[FakeKubo]:
    with FakeKubo() as node:
        node.content[CIDS[0]] = Content()
        desk.env["THREESPEAK_IPFS_ENDPOINT"] = node.url
        yield node


def shell(desk: Desk, streams: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command whose streams a shell has redirected, as in `2>&-`."""
    running = ["bash", "-c", f'"$@" {streams}', "bash", str(SCRIPT), *arguments]
    env = {name: value for name, value in {**os.environ, **desk.env}.items() if value is not None}
    return subprocess.run(running, cwd=desk.folder, env=env, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("closed", ["2>&-", ">&-", "2>&- >&-", "<&- >&- 2>&-"])
def test_a_job_is_recorded_whatever_stream_is_closed(desk: Desk, closed: str) -> None:
    result = shell(desk, closed, *SUBMIT)
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    (file,) = desk.spool.arrivals(10)
    assert desk.spool.read(file).job.job_id == "job-1"


def test_what_is_asked_for_is_told_where_standard_error_is_closed(desk: Desk) -> None:
    assert json.loads(shell(desk, "2>&-", *SUBMIT, "--json").stdout)["recorded"] is True
    result = shell(desk, "2>&-", "status", "--no-nodes")
    assert (result.returncode, "nobody works" in result.stdout) == (1, True)


@pytest.mark.parametrize("streams", ["2>&-", ">&- 2>&-", "2>/dev/full"])
def test_a_worker_works_and_writes_its_log_where_nobody_reads_standard_error(
    desk: Desk, supernode: FakeKubo, streams: str
) -> None:
    desk.submit("job-1")
    assert shell(desk, streams, "work", "--drain").returncode == 0
    assert CIDS[0] in supernode.pins
    assert "stopped, 0 jobs open" in (desk.folder / "logs" / "encoder.log").read_text("utf-8")


@pytest.mark.parametrize(
    "command",
    [["status", "--json", "--no-nodes"], ["jobs", "--state", "all"], ["archive", "list", "--json"], ["--help"],
     ["jobs", "--help"], ["settings"]],
    ids=" ".join,
)  # fmt: skip
def test_an_output_that_cannot_be_written_is_one_line_and_exit_code_1(desk: Desk, command: list[str]) -> None:
    desk.data.mkdir()
    (desk.data / "local-fallback-pins.jsonl").write_text(
        f'{{"hash":"{CIDS[1]}","job_id":"j","size_mb":1,"type":"file","failed_lazy_attempts":3,'
        '"local_pin_timestamp":"2025-10-28T10:30:00.000Z","source":"failed_lazy_pin_fallback","node_id":"n"}\n'
    )
    desk.submit("job-2")
    result = shell(desk, ">/dev/full", *command)
    assert result.returncode == 1
    assert result.stderr == "error: cannot write the output: No space left on device\n"


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_a_job_that_was_recorded_is_said_to_be_so_where_the_output_cannot_be_written(
    desk: Desk, form: list[str]
) -> None:
    result = shell(desk, ">/dev/full", *SUBMIT, *form)
    assert result.returncode == 1
    assert len(desk.spool.arrivals(10)) == 1
    error = "error: job job-1 is recorded, but: cannot write the output: No space left on device"
    assert result.stderr.splitlines()[1:] == [error]


def test_a_reader_that_has_had_enough_hears_nothing_more(desk: Desk) -> None:
    shell(desk, "2>err | true", *SUBMIT)
    assert len(desk.spool.arrivals(10)) == 1
    assert "error" not in (desk.folder / "err").read_text()


@pytest.mark.parametrize(("command", "code"), [(SUBMIT, 0), (("statsu",), 2)], ids=["recorded", "wrong usage"])
def test_the_exit_code_stays_right_where_standard_error_is_full(
    desk: Desk, command: tuple[str, ...], code: int
) -> None:
    assert shell(desk, "2>/dev/full", *command).returncode == code
