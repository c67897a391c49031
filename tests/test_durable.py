"""What is called durable has its bytes, its name and its folder's entry on the disk, in this order; what fails leaves
nothing behind."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from encoder_pin_plugin import durable
from encoder_pin_plugin.errors import StorageError
from tests.conftest import Said, failing, names_in

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


@pytest.fixture
def strict_umask() -> Iterator[None]:
    before = os.umask(0o777)
    yield
    os.umask(before)


def test_a_new_file_is_private_whole_and_synced(tmp_path: Path, said: Said, open_files: None) -> None:
    durable.write_new(tmp_path / "a", b"12345")
    assert (tmp_path / "a").read_bytes() == b"12345"
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o600
    assert said == [("fsync", "a", "5")]


def test_pieces_come_one_after_the_other(tmp_path: Path, said: Said) -> None:
    durable.write_pieces(tmp_path / "a", iter([b"12", b"", b"345"]))
    assert (tmp_path / "a").read_bytes() == b"12345"
    assert said == [("fsync", "a", "5")]


def test_what_stands_already_is_neither_written_to_nor_removed(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"precious")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("a", "link"):
        with pytest.raises(FileExistsError):
            durable.write_new(tmp_path / name, b"")
    durable.make_file(tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"precious"
    assert not (tmp_path / "nowhere").exists()


def test_a_file_is_made_empty_where_there_was_none(tmp_path: Path) -> None:
    durable.make_file(tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b""


@pytest.mark.parametrize("call", ["write", "fsync"])
def test_a_file_that_cannot_be_written_whole_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, open_files: None, call: str
) -> None:
    monkeypatch.setattr(os, call, failing(errno.EIO))
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        durable.write_new(tmp_path / "a", b"12345")
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_is_interrupted_by_more_than_an_error_is_removed_too(tmp_path: Path) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"12"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        durable.write_pieces(tmp_path / "a", pieces())
    assert list(tmp_path.iterdir()) == []


def test_an_error_is_told_also_where_there_is_nothing_left_to_remove(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose(*paths: object) -> None:
        next(path for path in tmp_path.iterdir() if path.name != "old").unlink()
        failing(errno.EIO)()

    (tmp_path / "old").touch()
    for call, act in (("fsync", durable.write_new), ("rename", durable.replace_file)):
        with monkeypatch.context() as patched, pytest.raises(OSError, match=os.strerror(errno.EIO)):
            patched.setattr(os, call, lose)
            act(tmp_path / ("old" if call == "rename" else "new"), b"1")
    assert names_in(tmp_path) == ["old"]


def test_short_writes_are_continued_until_all_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, bytes(data[:3])))
    durable.write_new(tmp_path / "a", b"0123456789")
    assert (tmp_path / "a").read_bytes() == b"0123456789"


def test_a_disk_that_takes_nothing_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "write", lambda *_: 0)
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)) as caught:
        durable.write_new(tmp_path / "a", b"0")
    assert caught.value.errno == errno.ENOSPC


def test_whatever_the_umask_is_the_owner_can_read_and_write(tmp_path: Path, strict_umask: None) -> None:
    durable.write_new(tmp_path / "a", b"")
    durable.make_folder(tmp_path / "b" / "c")
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o600
    for folder in (tmp_path / "b", tmp_path / "b" / "c"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_mode_that_allows_more_stays(tmp_path: Path) -> None:
    (tmp_path / "a").touch(mode=0o640)
    descriptor = os.open(tmp_path / "a", os.O_RDONLY)
    durable.give_to_owner_of(tmp_path, descriptor)
    (tmp_path / "a").chmod(0o240)
    durable.give_to_owner_of(tmp_path, descriptor)
    os.close(descriptor)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


@pytest.mark.parametrize("umask", [0o022, 0o777])
def test_a_folder_keeps_what_its_parent_hands_down(tmp_path: Path, umask: int) -> None:
    tmp_path.chmod(0o2755)
    before = os.umask(umask)
    durable.make_folder(tmp_path / "a")
    os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o2700


@as_root
@pytest.mark.parametrize("owner", [1, 1234])
def test_what_root_creates_belongs_to_the_owner_of_the_folder(tmp_path: Path, owner: int) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    os.chown(folder, owner, 5678)
    durable.write_new(folder / "a", b"")
    durable.make_folder(folder / "b" / "c")
    for path in (folder / "a", folder / "b", folder / "b" / "c"):
        assert (path.stat().st_uid, path.stat().st_gid) == (owner, 5678)


def test_a_move_makes_both_folders_durable_after_the_rename(tmp_path: Path, said: Said, open_files: None) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "a").write_bytes(b"1")
    durable.move(tmp_path / "a", tmp_path / "new" / "b")
    assert (tmp_path / "new" / "b").read_bytes() == b"1"
    assert said == [("rename", "a", "new/b"), ("fsync", "new"), ("fsync", ".")]
    said.clear()
    durable.move(tmp_path / "new" / "b", tmp_path / "new" / "c")
    assert said == [("rename", "new/b", "new/c"), ("fsync", "new")]


def test_a_file_is_replaced_by_a_synced_one_under_a_hidden_name_beside_it(tmp_path: Path, said: Said) -> None:
    (tmp_path / "a").write_bytes(b"old")
    durable.replace_file(tmp_path / "a", b"brand new")
    assert (tmp_path / "a").read_bytes() == b"brand new"
    assert names_in(tmp_path) == ["a"]
    (_, written, size), (_, renamed, target), entry = said
    assert (written, size, target, entry) == (renamed, "9", "a", ("fsync", "."))
    assert re.fullmatch(rf"\.a\.{os.getpid()}\.[0-9a-f]{{8}}\.tmp", written)


@pytest.mark.parametrize("call", ["rename", "fsync"])
def test_a_file_that_cannot_be_replaced_stays_and_its_copy_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    (tmp_path / "a").write_bytes(b"old")
    monkeypatch.setattr(os, call, failing(errno.EIO))
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        durable.replace_file(tmp_path / "a", b"new")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


def test_only_a_folder_is_synced_as_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    with pytest.raises(NotADirectoryError):
        durable.fsync_folder(tmp_path / "a")


def test_missing_folders_are_made_private_and_each_is_durable_in_its_parent(
    tmp_path: Path, said: Said, open_files: None
) -> None:
    durable.make_folder(tmp_path / "a" / "b")
    assert [stat.S_IMODE((tmp_path / path).stat().st_mode) for path in ("a", "a/b")] == [0o700, 0o700]
    assert said == [("fsync", "."), ("fsync", "a")]
    said.clear()
    durable.make_folder(tmp_path / "a" / "b")
    assert said == []


def test_a_folder_that_somebody_else_makes_meanwhile_is_durable_all_the_same(
    tmp_path: Path, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    mkdir = os.mkdir

    def be_late(path: Path, mode: int) -> None:
        mkdir(path, 0o755)
        mkdir(path, mode)

    monkeypatch.setattr(os, "mkdir", be_late)
    durable.make_folder(tmp_path / "a")
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o755
    assert said == [("fsync", ".")]


def test_a_link_in_the_place_of_a_fresh_folder_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o755)
    monkeypatch.setattr(os, "mkdir", lambda path, _: Path(path).symlink_to(tmp_path / "elsewhere"))
    with pytest.raises(NotADirectoryError):
        durable.make_folder(tmp_path / "a")


def test_a_regular_file_is_read_up_to_its_limit(tmp_path: Path, open_files: None) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    assert durable.read_regular(tmp_path / "a", 5) == b"12345"
    with pytest.raises(OSError, match="larger than 4 bytes") as caught:
        durable.read_regular(tmp_path / "a", 4)
    assert caught.value.errno == errno.EFBIG


def test_a_file_that_grows_while_it_is_read_is_cut_where_it_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    dup = os.dup

    def grow(descriptor: int) -> int:
        (tmp_path / "a").write_bytes(b"x" * 100)
        return dup(descriptor)

    monkeypatch.setattr(os, "dup", grow)
    assert durable.read_regular(tmp_path / "a", 5) == b"x" * 6


@pytest.mark.timeout(20)
def test_what_is_no_regular_file_is_refused_and_never_waited_for(tmp_path: Path, open_files: None) -> None:
    (tmp_path / "link").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "pipe")
    none = (errno.EINVAL, "not a regular file")
    for name, (number, text) in {"link": (errno.ELOOP, "symbolic"), "pipe": none, ".": none}.items():
        with pytest.raises(OSError, match=text) as caught:
            durable.read_regular(tmp_path / name, 10)
        assert caught.value.errno == number


def test_files_of_ours_are_not_inherited_by_programs_that_a_host_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags: list[int] = []
    real = os.open

    def note(path: Path, flag: int, *rest: int) -> int:
        flags.append(flag)
        return real(path, flag, *rest)

    monkeypatch.setattr(os, "open", note)
    durable.make_folder(tmp_path / "b")
    durable.replace_file(tmp_path / "b" / "a", b"1")
    durable.read_regular(tmp_path / "b" / "a", 1)
    assert len(flags) >= 5
    assert all(flag & os.O_CLOEXEC for flag in flags)


def test_an_error_says_what_was_done_where_and_what_to_do(tmp_path: Path) -> None:
    with (
        pytest.raises(StorageError, match=f"cannot look at {tmp_path}: No space left.*; free some space"),
        durable.storage_errors("look at", tmp_path),
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert durable.advice(OSError("nothing more is known")) == "check the path and the disk"
    assert durable.advice(OSError(errno.EBADF, "bad")) == "check the path and the disk"


def test_who_keeps_us_out_is_named_where_it_is_somebody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs, words = tmp_path / "theirs", "let the user that runs the encoder write there"
    theirs.mkdir()
    refused = OSError(errno.EACCES, os.strerror(errno.EACCES), str(theirs / "none" / "file"))
    assert durable.advice(refused) == words
    owner = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: owner + 4321)
    assert durable.advice(refused) == f"{theirs} belongs to user {owner}, and we are user {owner + 4321}: {words}"
    assert durable.advice(OSError(errno.EACCES, "no file is named")) == words


@pytest.mark.parametrize("refusals", [1, 2])
def test_a_lock_is_let_go_where_the_system_refuses_that_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusals: int
) -> None:
    real, left = fcntl.flock, [refusals]

    def flock(descriptor: int, operation: int) -> None:
        if operation == fcntl.LOCK_UN and left[0]:
            left[0] -= 1
            failing(errno.ENOLCK)()
        real(descriptor, operation)

    lock = FileLock(tmp_path / "a.lock", fallback_to_soft=False, thread_local=False)
    lock.acquire()
    monkeypatch.setattr(fcntl, "flock", flock)
    if refusals == 2:
        with pytest.raises(StorageError, match=f"cannot unlock {tmp_path}/a.lock"):
            durable.unlock(lock)
    else:
        durable.unlock(lock)
        assert not lock.is_locked
    monkeypatch.undo()
    lock.release()
    with FileLock(tmp_path / "a.lock", timeout=0, fallback_to_soft=False):
        pass
