"""`work`: the worker as a process of its own, as a service manager starts, stops and kills it."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections.abc import Iterator
from datetime import datetime

import pytest

from tests.conftest import until
from tests.fakes.kubo_honest import Content
from tests.fakes.kubo_node import FakeKubo
from tests.operate.conftest import CIDS, Desk

QUICK = {"LAZY_PIN_BACKOFF": "1", "LOCAL_FALLBACK_THRESHOLD": "1"}


@pytest.fixture
def supernode() -> Iterator[FakeKubo]:
    with FakeKubo() as node:
        node.content[CIDS[0]] = Content()
        yield node


@pytest.fixture
def local() -> Iterator[FakeKubo]:
    with FakeKubo() as node:
        node.content[CIDS[0]] = Content()
        yield node


def test_drain_pins_what_waits_and_ends_with_0(desk: Desk, supernode: FakeKubo) -> None:
    desk.env["THREESPEAK_IPFS_ENDPOINT"] = supernode.url
    desk.submit("job-1")
    result = desk.process("work", "--drain")
    assert result.returncode == 0, result.stderr
    assert "nothing is left to do" in result.stdout
    assert CIDS[0] in supernode.pins
    assert desk.json("status")["jobs"]["pinned"] == 1


def test_drain_falls_back_where_the_supernode_is_down(desk: Desk, local: FakeKubo) -> None:
    desk.env |= QUICK | {"THREESPEAK_IPFS_ENDPOINT": "http://127.0.0.1:1", "IPFS_API_ADDR": local.url}
    desk.submit("job-1")
    result = desk.process("work", "--drain")
    assert result.returncode == 0, result.stderr
    assert "LAZY PIN FALLBACK" in (desk.folder / "logs" / "encoder.log").read_text("utf-8")
    assert desk.json("archive", "total")["records"] == 1


def test_drain_ends_with_1_where_a_job_remains(desk: Desk) -> None:
    desk.env |= QUICK | {"THREESPEAK_IPFS_ENDPOINT": "http://127.0.0.1:1"}
    desk.submit("job-1")
    result = desk.process("work", "--drain")
    assert result.returncode == 1, result.stderr
    assert "1 job is left" in result.stdout


def test_drain_without_a_supernode_says_who_waits_and_until_when(desk: Desk) -> None:
    desk.submit("job-1", CIDS[0], "--completed-at", "2100-01-01T00:00:00Z")
    desk.submit("job-2", CIDS[1])
    result = desk.process("work", "--drain", timeout=60)
    assert result.returncode == 1, result.stderr
    assert "jobs fall back 7200 s after completion (FALLBACK_AFTER)" in result.stderr
    assert "2 jobs are left" in result.stdout
    times = re.findall(r"2 of them wait for FALLBACK_AFTER: they fall back from (\S+)Z to (\S+)Z", result.stdout)
    for text in times[0]:
        assert abs(datetime.fromisoformat(f"{text}+00:00").timestamp() - time.time() - 7200) < 1000
    shown = desk.run("jobs").stdout
    assert re.search(r"falls back in (2 h|1 h \d+ min) ", shown)
    assert "due now" not in shown


def test_without_a_supernode_nor_a_fallback_jobs_wait_for_one(desk: Desk) -> None:
    desk.env["ENABLE_LOCAL_FALLBACK"] = "false"
    desk.submit("job-1")
    result = desk.process("work", "--drain", timeout=60)
    assert result.returncode == 1, result.stderr
    assert "jobs wait until one is, for ENABLE_LOCAL_FALLBACK is false" in result.stderr
    assert result.stdout == "1 job is left: encoder-pin jobs\n"
    assert "waits for a supernode to be configured" in desk.run("jobs").stdout


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_in_good_order(desk: Desk, number: int) -> None:
    running = desk.start("work")
    until(lambda: "works on" in _log(desk), 60)
    running.send_signal(number)
    _, err = running.communicate(timeout=60)
    assert running.returncode == 0, err
    assert "stopped, 0 jobs open" in _log(desk)


def test_a_second_signal_stops_it_at_once(desk: Desk, supernode: FakeKubo) -> None:
    supernode.content[CIDS[0]] = Content(missing=True)
    desk.env["THREESPEAK_IPFS_ENDPOINT"] = supernode.url
    desk.submit("job-1")
    running = desk.start("work")
    until(lambda: supernode.asked("pin/add"), 60)
    running.send_signal(signal.SIGTERM)
    until(lambda: "a second one stops at once" in _log(desk), 60)
    assert running.poll() is None
    running.send_signal(signal.SIGTERM)
    running.communicate(timeout=20)
    assert running.returncode == 128 + signal.SIGTERM
    assert desk.json("status", "--no-nodes")["open"] == 1


def test_wrong_settings_end_with_2_and_sentences(desk: Desk) -> None:
    desk.env |= {"LAZY_PIN_BACKOFF": "soon", "LAZY_PIN_CONCURRENCY": "many"}
    result = desk.process("work")
    assert result.returncode == 2
    assert "LAZY_PIN_BACKOFF" in result.stderr
    assert "LAZY_PIN_CONCURRENCY" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_log_file_that_cannot_be_written_stops_nobody(desk: Desk, supernode: FakeKubo) -> None:
    (desk.folder / "logs").write_text("a file stands where the folder belongs")
    desk.env["THREESPEAK_IPFS_ENDPOINT"] = supernode.url
    desk.submit("job-1")
    result = desk.process("work", "--drain")
    assert result.returncode == 0, result.stderr
    assert "no log in" in result.stderr


def test_the_log_is_appended_to_and_made_again_when_it_was_moved(desk: Desk, supernode: FakeKubo) -> None:
    desk.env["THREESPEAK_IPFS_ENDPOINT"] = supernode.url
    log = desk.folder / "worker.log"
    log.write_text("older\n")
    running = desk.start("work", "--log-file", str(log))
    until(lambda: "works on" in log.read_text("utf-8"), 60)
    assert log.read_text("utf-8").startswith("older\n")
    log.rename(log.with_suffix(".1"))
    running.send_signal(signal.SIGTERM)
    running.communicate(timeout=60)
    assert "stopped" in log.read_text("utf-8")


def test_a_hostile_error_of_a_node_is_one_harmless_line_of_the_log(desk: Desk, supernode: FakeKubo) -> None:
    desk.env |= QUICK | {"THREESPEAK_IPFS_ENDPOINT": supernode.url}
    supernode.lie("control_characters")
    desk.submit("job-1")
    desk.process("work", "--drain")
    assert "\x1b" not in _log(desk)


def test_it_runs_on_the_data_folder_of_the_option(desk: Desk, supernode: FakeKubo) -> None:
    desk.env["THREESPEAK_IPFS_ENDPOINT"] = supernode.url
    chosen = str(desk.folder / "chosen")
    assert desk.run("--data-dir", chosen, "submit", CIDS[0], "--job-id", "job-1").exit_code == 0
    assert desk.process("--data-dir", chosen, "work", "--drain").returncode == 0
    assert not desk.data.exists()


def test_two_workers_share_one_data_folder(desk: Desk, supernode: FakeKubo) -> None:
    desk.env["THREESPEAK_IPFS_ENDPOINT"] = supernode.url
    for number in range(20):
        desk.submit(f"job-{number}")
    both: list[subprocess.Popen[str]] = [desk.start("work", "--drain") for _ in range(2)]
    for running in both:
        _, err = running.communicate(timeout=120)
        assert running.returncode == 0, err
    assert desk.json("status", "--no-nodes")["jobs"]["pinned"] == 20


def test_a_data_folder_that_cannot_be_worked_in_ends_with_1_and_words(desk: Desk) -> None:
    desk.data.mkdir()
    (desk.data / "workers").write_text("a file stands where the folder belongs")
    result = desk.process("work", "--drain")
    assert result.returncode == 1
    assert "a file stands where a folder belongs: remove it" in result.stderr
    assert "Traceback" not in result.stderr


def test_what_other_libraries_log_reaches_the_log_too(desk: Desk, supernode: FakeKubo) -> None:
    desk.env |= {"THREESPEAK_IPFS_ENDPOINT": supernode.url, "PYTHONPATH": str(desk.folder / "site")}
    info = desk.folder / "site" / "talker-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: talker\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[encoder]\ntalker = talker\n")
    (info.parent / "talker.py").write_text(
        "import logging\nfrom encoder_hookspecs import hookimpl\n"
        "log = logging.getLogger('talker')\n"
        "@hookimpl\ndef on_encoder_start(manager):\n    log.warning('the site says %s', 'hello')\n"
        "@hookimpl\ndef on_encoder_stop(timeout):\n    log.warning('the site says bye')\n"
    )
    assert desk.process("work", "--drain").returncode == 0
    assert "the site says hello" in _log(desk)
    assert "the site says bye" in _log(desk)


def _log(desk: Desk) -> str:
    log = desk.folder / "logs" / "encoder.log"
    return log.read_text("utf-8") if log.exists() else ""
