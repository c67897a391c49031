"""The log file of a worker where its disk is full, its place is taken, or somebody moves it away."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from loguru import logger

from encoder_pin_plugin.operate.logs import log_of_a_service
from tests.operate.conftest import Desk


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "logs" / "worker.log"
    logger.remove()
    logger.configure(patcher=lambda _: None)


def test_a_log_on_a_full_disk_is_said_once_and_goes_to_standard_error(desk: Desk) -> None:
    result = desk.process("work", "--drain", "--log-file", "/dev/full")
    assert result.returncode == 0, result.stderr
    assert "Logging error" not in result.stderr
    assert result.stderr.count("no log in /dev/full: No space left on device; it goes to stderr alone") == 1
    assert "stopped, 0 jobs open" in result.stderr


def test_lines_go_into_the_file_and_to_standard_error(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log_of_a_service(0, log)
    logger.info("one")
    logger.warning("two")
    for text in (log.read_text("utf-8"), capsys.readouterr().err):
        assert [line.split()[-1] for line in text.splitlines()] == ["one", "two"]


def test_a_file_that_can_be_written_again_is_said_and_takes_what_comes_from_then_on(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log.parent.write_text("a file stands where the folder belongs")
    log_of_a_service(0, log)
    for text in ("one", "two", "three"):
        logger.info(text)
    log.parent.unlink()
    for text in ("four", "five"):
        logger.info(text)
    said = capsys.readouterr().err
    assert said.count("no log in") == 1
    assert said.count(f"the log goes to {log} again") == 1
    assert all(text in said for text in ("one", "two", "three", "four", "five"))
    assert [line.split()[-1] for line in log.read_text("utf-8").splitlines()] == ["four", "five"]


def test_a_file_that_was_moved_away_or_deleted_is_made_again(log: Path) -> None:
    log_of_a_service(0, log)
    logger.info("one")
    log.rename(log.with_suffix(".1"))
    logger.info("two")
    log.unlink()
    logger.info("three")
    assert log.with_suffix(".1").read_text("utf-8").endswith("one\n")
    assert log.read_text("utf-8").endswith("three\n")
    assert len(log.read_text("utf-8").splitlines()) == 1


def test_a_link_is_followed_and_what_stands_there_is_kept(log: Path, tmp_path: Path) -> None:
    log.parent.mkdir()
    (tmp_path / "elsewhere.log").write_text("older\n")
    log.symlink_to(tmp_path / "elsewhere.log")
    log_of_a_service(0, log)
    logger.info("one")
    logger.info("two")
    assert (tmp_path / "elsewhere.log").read_text("utf-8").startswith("older\n")
    assert len((tmp_path / "elsewhere.log").read_text("utf-8").splitlines()) == 3


def test_no_descriptor_stays_behind_however_often_it_is_moved(log: Path) -> None:
    log_of_a_service(0, log)
    logger.info("the first")
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names alone
    for number in range(20):
        log.rename(log.with_suffix(f".{number}"))
        logger.info("another")
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
    logger.remove()
    assert len(os.listdir("/proc/self/fd")) == before - 1  # noqa: PTH208


def test_many_threads_lose_no_line_while_it_fails_and_works_again(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log_of_a_service(0, log)
    begin = threading.Barrier(5)

    def write(name: int) -> None:
        begin.wait()
        for number in range(50):
            logger.info("line {}-{}.", name, number)

    threads = [threading.Thread(target=write, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    begin.wait()
    for number in range(5):
        away = log.parent.with_name(f"away-{number}")
        with suppress(FileNotFoundError):
            log.parent.rename(away)  # from here on a line may make it again
        with suppress(FileExistsError):
            log.parent.open("x").close()
            log.parent.unlink()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    said = capsys.readouterr().err
    assert all(f"line {name}-{number}." in said for name in range(4) for number in range(50))
    assert "Logging error" not in said
