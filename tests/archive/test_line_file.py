"""One file of lines, call by call: what is on the disk when each returns, and what a failing disk leaves."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from encoder_pin_plugin.archive import linefile
from encoder_pin_plugin.archive.healing import Healed
from encoder_pin_plugin.archive.linefile import LineFile
from encoder_pin_plugin.archive.record import WITHDRAWN
from encoder_pin_plugin.errors import ArchiveError, StorageError
from tests.archive.lines import migrated, record
from tests.conftest import Said, failing

pytestmark = pytest.mark.usefixtures("open_files")

A, B, C = record(1), record(2), record(3)
SIZE = len(A.line())


@pytest.fixture
def file(tmp_path: Path) -> LineFile:
    return LineFile(tmp_path / "lines", tmp_path / "quarantine")


def content(file: LineFile) -> bytes:
    return file.path.read_bytes()


def test_a_file_that_is_not_there_holds_nothing(file: LineFile) -> None:
    assert file.find(A.key) is None
    assert file.find_all([A.key]) == {}
    assert file.standing([A.key]) == set()
    assert file.entries() == []
    assert file.keys_also_in(file) == set()
    assert not file.path.exists()


def test_each_line_that_is_added_makes_another_version(file: LineFile) -> None:
    versions = [file.version()]
    assert versions == [None]
    for line in (A.line(), B.line()):
        file.append(line)
        assert file.version() == file.version()
        versions.append(file.version())
    assert len(set(versions)) == 3
    _copy(file).replace(file.path)
    assert file.version() not in versions, "another file of the same size"


def _copy(file: LineFile) -> Path:
    copy = file.path.with_name("copy")
    copy.write_bytes(content(file))
    return copy


def test_a_version_that_cannot_be_seen_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    file = LineFile(tmp_path / "file" / "lines", tmp_path / "quarantine")
    with pytest.raises(StorageError, match=f"^cannot look at {file.path}: "):
        file.version()


def test_an_append_is_synced_after_the_name_of_its_file(file: LineFile, said: Said) -> None:
    file.append(A.line())
    assert said == [("fsync", "."), ("fsync", "lines", str(SIZE))]
    said.clear()
    file.append(B.line() + C.line())
    assert said == [("fsync", "lines", str(3 * SIZE))]
    assert content(file) == A.line() + B.line() + C.line()


def test_the_name_of_a_file_that_took_its_place_is_made_durable_again(file: LineFile, said: Said) -> None:
    file.append(A.line())
    file.path.rename(file.path.with_name("collected"))
    said.clear()
    file.append(B.line())
    assert said[0] == ("fsync", ".")


def test_what_is_found_is_durable_before_it_is_told(file: LineFile, said: Said) -> None:
    file.path.write_bytes(A.line())
    assert file.find(B.key) is None
    assert said == []
    assert file.find(A.key) == A
    assert said == [("fsync", "lines", str(SIZE)), ("fsync", ".")]
    said.clear()
    assert file.find_all([A.key, B.key]) == {A.key: A}
    assert said == [("fsync", "lines", str(SIZE))]
    said.clear()
    fresh = LineFile(file.path, file.path.parent / "quarantine")
    assert fresh.find_all([A.key]) == {A.key: A}
    assert said == [("fsync", "lines", str(SIZE)), ("fsync", ".")]


def test_a_line_that_was_withdrawn_does_not_stand_until_it_comes_again(file: LineFile) -> None:
    withdrawn = record(1, extra={WITHDRAWN: "2025-10-29T10:30:00.000Z"})
    for line, stands in ((A.line(), True), (withdrawn.line(), False), (migrated(1), True)):
        file.append(line)
        assert (file.find(A.key) is not None) is stands
        assert (A.key in file.find_all([A.key])) is stands
        assert file.standing([A.key, B.key]) == ({A.key} if stands else set())


def test_the_keys_that_two_files_share(file: LineFile, tmp_path: Path) -> None:
    other = LineFile(tmp_path / "others", tmp_path / "quarantine")
    file.append(A.line() + B.line())
    assert file.keys_also_in(other) == set()
    assert other.keys_also_in(file) == set()
    other.append(B.line() + C.line())
    assert file.keys_also_in(other) == {B.key}
    other.append(record(2, extra={WITHDRAWN: "now"}).line())
    assert file.keys_also_in(other) == set()


def test_a_line_that_is_gone_while_files_are_compared_is_no_key(
    file: LineFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = LineFile(tmp_path / "others", tmp_path / "quarantine")
    file.append(A.line() + B.line())
    other.append(A.line() + B.line())
    real = linefile.common

    def damage(ours: object, theirs: object) -> Iterator[int]:
        with file.path.open("r+b") as damaged:
            damaged.write(b"#")
        yield from sorted(real(ours, theirs))  # type: ignore[arg-type]

    monkeypatch.setattr(linefile, "common", damage)
    assert file.keys_also_in(other) == {B.key}


def test_a_file_that_cannot_be_read_is_named(file: LineFile, monkeypatch: pytest.MonkeyPatch) -> None:
    file.append(A.line())
    calls = (
        lambda: file.find(A.key),
        lambda: file.find_all([A.key]),
        lambda: file.standing([A.key]),
        file.entries,
        lambda: file.keys_also_in(file),
    )
    with monkeypatch.context() as broken:
        broken.setattr(os, "pread", failing(errno.EIO))
        for call in calls:
            with pytest.raises(StorageError, match=f"cannot read {file.path}: .*the disk fails"):
                call()


def test_a_torn_tail_is_healed_before_lines_are_appended(file: LineFile, log: list[str]) -> None:
    file.path.write_bytes(A.line() + b"torn")
    file.append(B.line())
    assert log[0].startswith(f"WARNING {file.path} ended with 4 bytes without a newline")
    assert content(file) == A.line() + B.line()
    (aside,) = (file.path.parent / "quarantine").iterdir()
    assert aside.read_bytes() == b"torn"


def test_healing_alone_makes_the_file(file: LineFile, said: Said, log: list[str]) -> None:
    assert file.heal() is None
    assert content(file) == b""
    assert said == [("fsync", ".")]
    file.path.write_bytes(A.line()[:-1])
    assert file.heal() == Healed(what="a whole record, it got its newline", quarantined=None, size=SIZE - 1)
    assert log[0].startswith(f"WARNING {file.path} ended with ")
    file.path.write_bytes(b"torn")
    healed = file.heal()
    assert healed is not None
    assert healed.quarantined is not None
    assert healed.quarantined.parent == file.path.parent / "quarantine"


def meanwhile(monkeypatch: pytest.MonkeyPatch, *acts: Callable[[], object]) -> None:
    """Do each of these once, right after a line was written and before it is looked at again."""
    pending = list(acts)
    real = os.fsync

    def then_act(descriptor: int) -> None:
        real(descriptor)
        if pending and Path(f"/proc/self/fd/{descriptor}").readlink().is_file():
            pending.pop(0)()

    monkeypatch.setattr(os, "fsync", then_act)


def test_lines_written_to_a_file_that_was_moved_away_meanwhile_are_written_again(
    file: LineFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    collected = file.path.with_name("collected")
    meanwhile(monkeypatch, lambda: file.path.rename(collected))
    file.append(A.line())
    assert content(file) == collected.read_bytes() == A.line()


def test_lines_that_somebody_overwrote_meanwhile_are_written_again(
    file: LineFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    meanwhile(monkeypatch, lambda: os.truncate(file.path, 0), lambda: file.path.write_bytes(b"#" * SIZE + b"\n"))
    file.append(A.line())
    assert content(file) == b"#" * SIZE + b"\n" + A.line()


def test_a_line_glued_to_what_another_program_left_is_written_again(
    file: LineFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.write

    def be_late(descriptor: int, data: bytes) -> int:
        monkeypatch.undo()
        real(descriptor, b"half a line of another")
        return real(descriptor, data)

    monkeypatch.setattr(os, "write", be_late)
    file.append(A.line())
    assert content(file) == b"half a line of another" + A.line() + A.line()


def test_a_file_that_is_always_moved_away_is_given_up_in_words(file: LineFile, monkeypatch: pytest.MonkeyPatch) -> None:
    moved: list[Path] = []

    def move() -> None:
        moved.append(file.path.with_name(f"collected-{len(moved)}"))
        file.path.rename(moved[-1])

    meanwhile(monkeypatch, *[move] * 10)
    with pytest.raises(ArchiveError, match=r"moved away or written to by another program 5 times"):
        file.append(A.line())
    assert [path.read_bytes() for path in moved] == [A.line()] * 5


def fail_once(monkeypatch: pytest.MonkeyPatch, call: str, act: Callable[..., object]) -> None:
    """The next `call` on a file, not on a folder, does `act` instead."""
    real = getattr(os, call)

    def once(descriptor: int, *rest: object) -> object:
        if Path(f"/proc/self/fd/{descriptor}").readlink().is_dir():
            return real(descriptor, *rest)
        monkeypatch.setattr(os, call, real)
        return act(descriptor, *rest)

    monkeypatch.setattr(os, call, once)


def test_a_line_that_could_not_be_synced_is_taken_back_durably(
    file: LineFile, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.append(A.line())
    said.clear()
    fail_once(monkeypatch, "fsync", failing(errno.EIO))
    with pytest.raises(StorageError, match=f"cannot append to {file.path}: .*the disk fails"):
        file.append(B.line())
    assert content(file) == A.line()
    assert said == [("fsync", "lines", str(SIZE))]


def test_a_short_write_is_a_full_disk_and_is_taken_back(file: LineFile, monkeypatch: pytest.MonkeyPatch) -> None:
    file.append(A.line())
    real = os.write
    fail_once(monkeypatch, "write", lambda descriptor, data: real(descriptor, data[:10]))
    with pytest.raises(StorageError, match=rf"only 10 of {SIZE} bytes could be written; free some space"):
        file.append(B.line())
    assert content(file) == A.line()


def test_a_write_that_wrote_nothing_has_nothing_to_take_back(
    file: LineFile, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.append(A.line())
    said.clear()
    fail_once(monkeypatch, "write", failing(errno.EIO))
    with pytest.raises(StorageError, match="the disk fails"):
        file.append(B.line())
    assert said == []
    fail_once(monkeypatch, "write", lambda *_: 0)
    with pytest.raises(StorageError, match=f"only 0 of {SIZE} bytes"):
        file.append(B.line())
    assert (content(file), said) == (A.line(), [])


def test_a_stop_in_the_middle_takes_the_line_back_too(file: LineFile, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    fail_once(monkeypatch, "fsync", stop)
    with pytest.raises(KeyboardInterrupt):
        file.append(A.line())
    assert content(file) == b""


def test_nothing_is_taken_back_over_the_line_of_somebody_else(file: LineFile, monkeypatch: pytest.MonkeyPatch) -> None:
    def append_and_fail(*_: object) -> None:
        with file.path.open("ab") as other:
            other.write(C.line())
        failing(errno.EIO)()

    fail_once(monkeypatch, "fsync", append_and_fail)
    with pytest.raises(StorageError, match="the disk fails"):
        file.append(A.line())
    assert content(file) == A.line() + C.line()


def test_a_line_that_cannot_be_taken_back_is_told_by_the_first_error(
    file: LineFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_once(monkeypatch, "fsync", failing(errno.EIO))
    fail_once(monkeypatch, "ftruncate", lambda *_: (_ for _ in ()).throw(OSError(errno.EROFS, "read-only")))
    with pytest.raises(StorageError, match="the disk fails"):
        file.append(A.line())
