"""A disk that takes only a part of a line, or nothing: the file is as it was, and the error says why."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from encoder_pin_plugin.archive.jsonl import Archive
from encoder_pin_plugin.errors import StorageError
from tests.archive.lines import record

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.faults

SHORT_WRITES = """
import resource, sys
from pathlib import Path
from loguru import logger
from encoder_pin_plugin.archive.jsonl import Archive
from encoder_pin_plugin.errors import StorageError
from tests.archive.lines import migrated, record

logger.remove()
first, second, third = record(1), record(2), record(3)
size = len(first.line())
for length in range(len(second.line())):
    archive = Archive(Path(sys.argv[1]) / str(length))
    archive.append(first)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + length, resource.RLIM_INFINITY))
    try:
        archive.append(second)
    except StorageError as error:
        assert str(archive.path) in str(error), error
    else:
        raise SystemExit(f"a line cut after {length} bytes was called durable")
    assert archive.path.read_bytes() == first.line(), length
    assert archive.find(*second.key) is None
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    archive.append(second)
    archive.append(third)
    assert archive.path.read_bytes() == first.line() + second.line() + third.line(), length
print("tried", length + 1)
"""

SHORT_MOVES = """
import resource, sys
from pathlib import Path
from loguru import logger
from encoder_pin_plugin.archive.jsonl import Archive
from encoder_pin_plugin.errors import StorageError
from tests.archive.lines import migrated, record

logger.remove()
tried = 0
for limit in range(0, 2000, 17):
    archive = Archive(Path(sys.argv[1]) / str(limit))
    for number in range(6):
        archive.append(record(number))
    before = archive.path.read_bytes()
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    keys, lines = [record(number).key for number in (1, 2, 3)], [migrated(number) for number in (1, 2, 3)]
    try:
        archive.compact(keys, lines)
    except StorageError:
        tried += 1
        assert archive.path.read_bytes() == before, limit
        assert not archive.migrated_path.exists() or archive.migrated_path.read_bytes() in (b"", b"".join(lines))
        assert not [path for path in archive.path.parent.iterdir() if path.suffix == ".tmp"]
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    archive.compact(keys, lines)
    assert archive.path.read_bytes() == b"".join(record(number).line() for number in (0, 4, 5)), limit
    assert archive.migrated_path.read_bytes() == b"".join(lines), limit
print("tried", tried)
"""


@pytest.mark.parametrize("script", [SHORT_WRITES, SHORT_MOVES], ids=["append", "compact"])
def test_a_file_that_may_not_grow_at_every_length(tmp_path: Path, script: str) -> None:
    done = subprocess.run([sys.executable, "-c", script, tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[1]) >= 50


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "none", folder], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.strip()}; RLIMIT_FSIZE stands in for it")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_disk_is_one_clear_error_and_no_half_line(small_disk: Path) -> None:
    archive = Archive(small_disk / "data")
    written = []
    with pytest.raises(StorageError, match="free some space on that disk") as caught:
        for number in range(10_000):
            written.append(archive.append(record(number)))
    assert str(archive.path) in str(caught.value)
    assert archive.path.read_bytes() == b"".join(each.line() for each in written)
    archive.path.rename(small_disk / "collected")
    os.truncate(small_disk / "collected", 0)
    archive.append(record(10_001))
    assert archive.path.read_bytes() == record(10_001).line()


@pytest.mark.parametrize("call", ["write", "fsync"])
def test_a_failing_disk_confirms_nothing_and_is_asked_anew(
    archive: Archive, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    archive.append(record(1))
    failing = [True]
    real = getattr(os, call)

    def fail_once(descriptor: int, *rest: bytes) -> object:
        if failing and not stat.S_ISDIR(os.fstat(descriptor).st_mode) and failing.pop():
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(descriptor, *rest)

    monkeypatch.setattr(os, call, fail_once)
    with pytest.raises(StorageError, match="the disk fails"):
        archive.append(record(2))
    assert archive.path.read_bytes() == record(1).line()
    archive.append(record(2))
    assert archive.path.read_bytes() == record(1).line() + record(2).line()


def test_a_line_whose_writer_was_killed_before_it_was_durable_is_made_so(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive.append(record(1))
    with archive.path.open("ab") as file:
        file.write(record(2).line())
    synced: list[str] = []
    real = os.fsync

    def note(descriptor: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    fresh = Archive(archive.path.parent)
    assert fresh.append(record(2)) == record(2)
    assert {str(archive.path), str(archive.path.parent)} <= set(synced)
    synced.clear()
    assert fresh.find(*record(2).key) == record(2)
    assert str(archive.path) in synced
