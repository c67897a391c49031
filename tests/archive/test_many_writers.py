"""Threads and processes that append at once: each key once, and a reader never sees half a line."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from encoder_pin_plugin.archive.jsonl import Archive
from encoder_pin_plugin.errors import LockBusy
from tests.archive.lines import migrated, record

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WRITERS = """
import sys, threading
from pathlib import Path
from loguru import logger
from encoder_pin_plugin.archive.jsonl import Archive
from tests.archive.lines import record

logger.remove()
archive = Archive(Path(sys.argv[1]), lock_timeout=120)
first, threads, lines = map(int, sys.argv[2:])

def write(thread):
    for number in range(lines):
        archive.append(record(first + thread * lines + number))
        archive.append(record(number, job_id="everybody's"))

all_threads = [threading.Thread(target=write, args=(thread,)) for thread in range(threads)]
for thread in all_threads: thread.start()
for thread in all_threads: thread.join()
"""

HOLDER = """
import sys, time
from pathlib import Path
from encoder_pin_plugin.archive.locking import ArchiveLock
with ArchiveLock(Path(sys.argv[1]), 10).held():
    print("held", flush=True)
    time.sleep(600)
"""


def writer(archive: Archive, first: int, threads: int, lines: int) -> subprocess.Popen[bytes]:
    arguments = [str(archive.path.parent), str(first), str(threads), str(lines)]
    return subprocess.Popen([sys.executable, "-c", WRITERS, *arguments])


@pytest.mark.slow
def test_four_processes_with_eight_threads_write_each_key_once(archive: Archive) -> None:
    writers = [writer(archive, 1000 * process, threads=8, lines=10) for process in range(4)]
    assert [process.wait() for process in writers] == [0] * 4
    keys = [entry.record.key for entry in archive.entries() if entry.record]
    own = {record(1000 * process + number).key for process in range(4) for number in range(80)}
    shared = {record(number, job_id="everybody's").key for number in range(10)}
    assert len(keys) == len(set(keys))
    assert set(keys) == own | shared
    assert archive.check().good


@pytest.mark.slow
def test_a_reader_at_full_speed_never_sees_an_invalid_line(archive: Archive) -> None:
    writers = [writer(archive, 10_000 * process, threads=2, lines=1250) for process in range(2)]
    seen, passes = 0, 0
    while any(process.poll() is None for process in writers):
        entries = [entry for entry in archive.entries() if not entry.torn]
        assert all(entry.record for entry in entries)
        assert len(entries) >= seen, "lines that were there are gone"
        seen, passes = len(entries), passes + 1
    assert [process.wait() for process in writers] == [0, 0]
    assert archive.total().records == 2 * 2 * 1250 + 1250
    assert passes > 10


@pytest.mark.slow
def test_lines_are_cleaned_away_while_others_append(archive: Archive) -> None:
    for number in range(300):
        archive.append(record(100_000 + number))
    writers = [writer(archive, 10_000 * process, threads=2, lines=50) for process in range(2)]
    for start in range(0, 300, 30):
        numbers = range(100_000 + start, 100_000 + start + 30)
        removed = archive.compact([record(number).key for number in numbers], [migrated(number) for number in numbers])
        assert removed.removed == 30
    assert [process.wait() for process in writers] == [0, 0]
    keys = [entry.record.key for entry in archive.entries() if entry.record]
    expected = {record(10_000 * process + number).key for process in range(2) for number in range(100)}
    expected |= {record(number, job_id="everybody's").key for number in range(50)}
    assert len(keys) == len(set(keys))
    assert set(keys) == expected
    assert sum(1 for _ in archive.migrated()) == 300


@pytest.fixture
def holder(archive: Archive) -> Iterator[subprocess.Popen[bytes]]:
    archive.path.parent.mkdir()
    process = subprocess.Popen([sys.executable, "-c", HOLDER, f"{archive.path}.lock"], stdout=subprocess.PIPE)
    assert process.stdout
    assert process.stdout.readline() == b"held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_lock_that_another_process_holds_is_named_with_the_time_waited(
    archive: Archive, holder: subprocess.Popen[bytes]
) -> None:
    impatient = Archive(archive.path.parent, lock_timeout=0.2)
    with pytest.raises(LockBusy, match=r"pins\.jsonl\.lock was held by another process for 0\.2 seconds"):
        impatient.append(record(1))
    assert not archive.path.exists()
    assert holder.poll() is None


def test_a_killed_or_frozen_holder_is_no_holder_once_it_is_gone(
    archive: Archive, holder: subprocess.Popen[bytes]
) -> None:
    holder.send_signal(signal.SIGSTOP)
    with pytest.raises(LockBusy):
        Archive(archive.path.parent, lock_timeout=0.1).append(record(1))
    threading.Timer(0.2, holder.kill).start()
    started = time.monotonic()
    archive.append(record(1))
    assert time.monotonic() - started < 8
    assert archive.path.with_name(archive.path.name + ".lock").exists()


def test_another_thread_that_holds_the_lock_is_waited_for_no_longer_than_allowed(tmp_path: Path) -> None:
    archive = Archive(tmp_path, lock_timeout=0.2)
    with archive._lock.held():
        failures: list[Exception] = []

        def append() -> None:
            try:
                archive.append(record(1))
            except LockBusy as error:
                failures.append(error)

        thread = threading.Thread(target=append)
        thread.start()
        thread.join()
    assert "another thread of this process" in str(failures[0])
    assert archive.append(record(1)) == record(1)


def test_a_lock_that_cannot_be_is_an_error_and_nothing_is_written(archive: Archive) -> None:
    archive.path.parent.mkdir()
    archive.path.with_name(archive.path.name + ".lock").symlink_to("/dev/null")
    with pytest.raises(Exception, match=r"cannot lock .*pins\.jsonl\.lock"):
        archive.append(record(1))
    assert not archive.path.exists()
