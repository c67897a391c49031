"""Rewriting a file by itself: what is copied, what is durable before it takes the name, and what is left behind."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from encoder_pin_plugin.archive import rewriting
from encoder_pin_plugin.archive.linefile import LineFile
from encoder_pin_plugin.archive.locking import ArchiveLock
from encoder_pin_plugin.archive.rewriting import rewrite, sweep
from encoder_pin_plugin.archive.sieves import WithoutFaults, WithoutKeys
from encoder_pin_plugin.errors import ArchiveError, StorageError
from tests.archive.lines import record
from tests.conftest import Said, failing, names_in

LINES = [record(number).line() for number in range(5)]
WITHOUT_1 = b"".join(LINES[:1] + LINES[2:])


@pytest.fixture(autouse=True)
def left_over(tmp_path: Path, open_files: None) -> Iterator[None]:
    """Neither descriptors nor temporary files are left over."""
    yield
    assert [path for path in tmp_path.iterdir() if path.name.startswith(".lines")] == []


@pytest.fixture
def file(tmp_path: Path) -> LineFile:
    path = tmp_path / "lines"
    path.write_bytes(b"".join(LINES))
    return LineFile(path, tmp_path / "quarantine")


def without(file: LineFile, *numbers: int) -> WithoutKeys | None:
    keys = [record(number).key for number in numbers]
    return rewrite(file, ArchiveLock(file.path.with_name("lock"), 10), lambda _: WithoutKeys(keys, lambda: True))


def test_where_there_is_no_file_there_is_nothing_to_rewrite(file: LineFile) -> None:
    file.path.unlink()
    assert without(file, 1) is None
    assert not file.path.exists()


def test_the_copy_is_durable_before_it_takes_the_name(file: LineFile, said: Said) -> None:
    sieve = without(file, 1)
    assert sieve is not None
    assert (sieve.kept, sieve.removed) == (4, 1)
    assert file.path.read_bytes() == WITHOUT_1
    (rename,) = [number for number, call in enumerate(said) if call[0] == "rename"]
    _, temporary, name = said[rename]
    assert (name, said[rename + 1]) == ("lines", ("fsync", "."))
    assert ("fsync", temporary, str(len(WITHOUT_1))) in said[:rename]
    assert temporary.startswith(f".lines.{os.getpid()}.")
    assert temporary.endswith(".tmp")
    assert len(temporary) == len(f".lines.{os.getpid()}.12345678.tmp")


def test_a_file_that_loses_nothing_is_not_replaced(file: LineFile, said: Said) -> None:
    inode = file.path.stat().st_ino
    sieve = without(file, 7)
    assert sieve is not None
    assert (sieve.kept, sieve.removed) == (5, 0)
    assert file.path.stat().st_ino == inode
    assert not [call for call in said if call[0] == "rename"]


def test_the_new_file_has_the_mode_and_the_owner_of_the_old_one(file: LineFile) -> None:
    file.path.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(file.path, 1234, 5678)
    before = file.path.stat()
    without(file, 1)
    after = file.path.stat()
    assert (after.st_uid, after.st_gid, stat.S_IMODE(after.st_mode)) == (before.st_uid, before.st_gid, 0o640)


def test_an_owner_that_cannot_be_given_is_no_obstacle(file: LineFile, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "fchown", refuse)
    if os.geteuid() == 0:
        os.chown(file.path, 1234, 5678)
    without(file, 1)
    assert file.path.read_bytes() == WITHOUT_1


@pytest.mark.parametrize("length", [(1 << 20) - 1, 1 << 20, (1 << 20) + 1, 5 << 19])
def test_a_line_of_any_length_stays_to_the_byte(file: LineFile, length: int) -> None:
    long = os.urandom(length).replace(b"\n", b"x") + b"\n"
    file.path.write_bytes(LINES[0] + LINES[1] + long + LINES[2])
    sieve = without(file, 1)
    assert sieve is not None
    assert (sieve.kept, sieve.removed) == (3, 1)
    assert file.path.read_bytes() == LINES[0] + long + LINES[2]


def test_a_line_that_may_not_stay_for_its_length_goes_to_the_quarantine(file: LineFile, tmp_path: Path) -> None:
    long = b"x" * (5 << 19) + b"\n"
    file.path.write_bytes(LINES[0] + long + LINES[2])
    lock = ArchiveLock(tmp_path / "lock", 10)
    sieve = rewrite(file, lock, lambda descriptor: WithoutFaults(descriptor, tmp_path / "quarantine", doubles=True))
    assert sieve is not None
    assert sieve.quarantined is not None
    assert sieve.quarantined.read_bytes() == long
    assert file.path.read_bytes() == LINES[0] + LINES[2]


def on_sync(monkeypatch: pytest.MonkeyPatch, number: int, act: Callable[[int], object]) -> None:
    """Do something after the copy was synced for the `number`th time: first without the lock, then under it."""
    real, seen = os.fsync, []

    def then_act(descriptor: int) -> None:
        real(descriptor)
        if Path(f"/proc/self/fd/{descriptor}").readlink().name.startswith(".lines"):
            seen.append(descriptor)
            if len(seen) == number:
                act(descriptor)

    monkeypatch.setattr(os, "fsync", then_act)


def append(file: LineFile, data: bytes) -> None:
    with file.path.open("ab") as other:
        other.write(data)


def test_what_comes_before_the_lock_is_copied_too_and_a_torn_tail_healed(
    file: LineFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_sync(monkeypatch, 1, lambda _: append(file, record(8).line() + record(1).line() + record(9).line()[:-1]))
    sieve = without(file, 1)
    assert sieve is not None
    assert (sieve.kept, sieve.removed) == (6, 2)
    assert file.path.read_bytes() == WITHOUT_1 + record(8).line() + record(9).line()


@pytest.mark.parametrize("what", ["grown", "cut", "copy cut"])
def test_a_copy_that_does_not_add_up_is_thrown_away(file: LineFile, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    acts = {
        "grown": lambda _: append(file, record(8).line()),
        "cut": lambda _: os.truncate(file.path, len(LINES[0])),
        "copy cut": lambda descriptor: os.ftruncate(descriptor, len(LINES[0])),
    }
    on_sync(monkeypatch, 2, acts[what])
    with pytest.raises(ArchiveError, match="does not add up to the old one: the old one stays"):
        without(file, 1)
    assert file.path.read_bytes().startswith(LINES[0])
    assert file.path.stat().st_size in (len(LINES[0]), 5 * len(LINES[0]), 6 * len(LINES[0]))


def test_a_file_that_was_changed_in_place_meanwhile_is_read_anew(
    file: LineFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    def change(_: int) -> None:
        with file.path.open("r+b") as other:
            other.seek(-len(LINES[4]), os.SEEK_END)
            other.write(record(6).line())

    on_sync(monkeypatch, 1, change)
    without(file, 1)
    assert file.path.read_bytes() == b"".join([LINES[0], LINES[2], LINES[3], record(6).line()])


def test_a_small_file_is_compared_from_its_first_byte_on(file: LineFile, monkeypatch: pytest.MonkeyPatch) -> None:
    file.path.write_bytes(LINES[0] + LINES[1])

    def change(_: int) -> None:
        with file.path.open("r+b") as other:
            other.write(b"#")

    on_sync(monkeypatch, 1, change)
    without(file, 1)
    assert file.path.read_bytes() == b"#" + LINES[0][1:]


def test_only_the_end_of_what_was_read_is_compared(file: LineFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer takes back its last lines, never earlier ones: comparing more would take time under the lock."""
    read: list[tuple[int, int]] = []
    real = os.pread

    def note(descriptor: int, size: int, offset: int) -> bytes:
        read.append((size, offset))
        return real(descriptor, size, offset)

    file.path.write_bytes(b"".join(record(number).line() for number in range(40)))
    end = file.path.stat().st_size
    monkeypatch.setattr(os, "pread", note)
    without(file, 1)
    assert (1024, end - 1024) in read


def test_a_file_that_is_replaced_again_and_again_is_given_up_in_words(
    file: LineFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[int] = []
    real = os.fsync

    def replace(descriptor: int) -> None:
        real(descriptor)
        if Path(f"/proc/self/fd/{descriptor}").readlink().name.startswith(".lines"):
            tries.append(descriptor)
            other = file.path.with_name("other")
            other.write_bytes(file.path.read_bytes())
            other.rename(file.path)

    monkeypatch.setattr(os, "fsync", replace)
    with pytest.raises(ArchiveError, match=f"^{file.path} was changed 5 times while we read it"):
        without(file, 1)
    assert len(tries) == 5
    assert file.path.read_bytes() == b"".join(LINES)


def test_an_error_of_the_disk_names_the_file(file: LineFile, monkeypatch: pytest.MonkeyPatch) -> None:
    on_sync(monkeypatch, 1, failing(errno.ENOSPC))
    with pytest.raises(StorageError, match=f"cannot rewrite {file.path}: .*free some space"):
        without(file, 1)
    assert file.path.read_bytes() == b"".join(LINES)


@contextmanager
def noted_flags() -> Iterator[list[int]]:
    """The flags of every open."""
    flags: list[int] = []
    real = os.open
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "open", lambda path, flag, *rest: flags.append(flag) or real(path, flag, *rest))
        yield flags


def test_a_temporary_file_is_private_locked_and_gone_afterwards(file: LineFile) -> None:
    file.path.chmod(0o666)
    model = os.open(file.path, os.O_RDONLY)
    real = os.open
    with noted_flags() as flags, rewriting._temporary(file.path, model) as (path, _):
        other = real(path, os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(other)
    os.close(model)
    assert not path.exists()
    assert flags[0] & os.O_EXCL
    assert flags[0] & os.O_CLOEXEC


def test_what_killed_rewrites_left_is_swept_and_counted(file: LineFile, tmp_path: Path) -> None:
    for name in (".lines.1.00.tmp", ".lines.2.00.tmp", "lines.1.00.tmp", ".other.1.00.tmp", ".lines.1"):
        (tmp_path / name).touch()
    alive = os.open(tmp_path / ".lines.1.00.tmp", os.O_RDONLY)
    fcntl.flock(alive, fcntl.LOCK_EX)
    with noted_flags() as flags:
        assert sweep(file.path) == 1
    assert len(flags) == 2
    assert all(flag & os.O_CLOEXEC for flag in flags)
    assert not (tmp_path / ".lines.2.00.tmp").exists()
    os.close(alive)
    (tmp_path / ".lines.3.00.tmp").touch()
    assert sweep(file.path) == 2
    assert names_in(tmp_path) == [".lines.1", ".other.1.00.tmp", "lines", "lines.1.00.tmp"]
    (tmp_path / ".lines.1").unlink()


@pytest.mark.parametrize("call", ["open", "flock"])
def test_what_another_process_sweeps_first_is_not_missed(
    file: LineFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """Two workers that start together tidy the same folder: each finds what the other is about to remove."""
    left = tmp_path / ".lines.1.00.tmp"
    left.touch()
    where = os if call == "open" else fcntl
    real = getattr(where, call)

    def late(*arguments: object) -> object:
        left.unlink(missing_ok=True)
        return real(*arguments)

    monkeypatch.setattr(where, call, late)
    assert sweep(file.path) == 0


@pytest.mark.parametrize("still_held", [False, True])
def test_a_temporary_file_swept_before_it_is_locked_is_made_once_more(
    file: LineFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, still_held: bool
) -> None:
    real, swept = fcntl.flock, list[Path]()

    def late(descriptor: int, operation: int) -> None:
        if not swept:
            swept.extend(tmp_path.glob(".lines.*.tmp"))
            swept[0].unlink()
            if still_held:
                raise BlockingIOError
        real(descriptor, operation)

    model = os.open(file.path, os.O_RDONLY)
    monkeypatch.setattr(fcntl, "flock", late)
    with rewriting._temporary(file.path, model) as (path, descriptor):
        assert path.stat().st_ino == os.fstat(descriptor).st_ino
        assert [path] != swept
    os.close(model)
    assert names_in(tmp_path) == ["lines"]


def test_who_tidies_away_every_temporary_file_is_named(
    file: LineFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rewriting, "names", lambda path, descriptor: False)
    model = os.open(file.path, os.O_RDONLY)
    with pytest.raises(ArchiveError, match="another process removes"), rewriting._temporary(file.path, model):
        pass
    os.close(model)


@pytest.mark.timeout(20)
def test_sweeping_neither_follows_a_link_nor_waits_for_a_pipe(file: LineFile, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / ".lines.1.00.tmp")
    assert sweep(file.path) == 1
    (tmp_path / "precious").touch()
    (tmp_path / ".lines.2.00.tmp").symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match="symbolic link"):
        sweep(file.path)
    (tmp_path / ".lines.2.00.tmp").unlink()
    assert (tmp_path / "precious").exists()
