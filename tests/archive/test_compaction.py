"""Cleaning: first a line among the migrated, durable, then the archive without it; killed anywhere, no line is lost."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from encoder_pin_plugin.archive import jsonl, rewriting
from encoder_pin_plugin.archive.jsonl import Archive
from encoder_pin_plugin.errors import ArchiveError, LockBusy
from tests.archive.lines import migrated, record

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def waiting(archive: Archive) -> Archive:
    for number in range(5):
        archive.append(record(number))
    return archive


def standing(path: Path) -> bytes:
    return path.read_bytes()


def test_lines_move_to_the_migrated(waiting: Archive) -> None:
    done = waiting.compact([record(1).key, record(3).key], [migrated(1), migrated(3)])
    assert (done.removed, done.kept) == (2, 3)
    assert standing(waiting.path) == record(0).line() + record(2).line() + record(4).line()
    assert standing(waiting.migrated_path) == migrated(1) + migrated(3)
    assert [entry.record.extra["proof"] for entry in waiting.migrated() if entry.record] == ["whole", "whole"]


def test_doing_it_again_changes_nothing(waiting: Archive) -> None:
    for _ in range(3):
        waiting.compact([record(1).key], [migrated(1)])
    assert standing(waiting.path).count(b"\n") == 4
    assert standing(waiting.migrated_path) == migrated(1)


def test_every_line_of_a_key_goes(waiting: Archive) -> None:
    with waiting.path.open("ab") as file:
        file.write(record(1).line() + record(1, size_mb=9).line())
    assert waiting.compact([record(1).key], [migrated(1)]).removed == 3


def test_no_line_leaves_that_does_not_stand_among_the_migrated(waiting: Archive) -> None:
    before = standing(waiting.path)
    with pytest.raises(ArchiveError, match=r"1 lines were to leave .* that do not stand in"):
        waiting.compact([record(1).key, record(2).key], [migrated(1)])
    assert standing(waiting.path) == before
    waiting.compact([record(1).key])
    assert standing(waiting.path).count(b"\n") == 4


@pytest.mark.parametrize("line", [b"", b"\n", migrated(1)[:-1], migrated(1) * 2, b"no record\n"])
def test_what_is_not_one_record_is_not_added_to_the_migrated(waiting: Archive, line: bytes) -> None:
    with pytest.raises(ArchiveError):
        waiting.compact([record(1).key], [line])
    assert not waiting.migrated_path.exists()


def test_a_crash_between_the_two_files_is_settled_at_the_next_start(waiting: Archive) -> None:
    waiting.migrated_path.write_bytes(migrated(1) + migrated(7))
    stale = [path.with_name(f".{path.name}.1.00.tmp") for path in (waiting.path, waiting.migrated_path)]
    for path in stale:
        path.write_bytes(b"half a copy")
    assert Archive(waiting.path.parent).settle().removed == 1
    assert standing(waiting.path).count(b"\n") == 4
    assert not any(path.exists() for path in stale)
    assert Archive(waiting.path.parent).settle().removed == 0


def test_a_temporary_file_in_use_is_left_alone(waiting: Archive) -> None:
    descriptor = os.open(waiting.path, os.O_RDONLY)
    with rewriting._temporary(waiting.path, descriptor) as (temporary, _):
        assert rewriting.sweep(waiting.path) == 0
        assert temporary.exists()
    os.close(descriptor)


def _meanwhile(monkeypatch: pytest.MonkeyPatch, act: object) -> None:
    """Do something once, when the long part of a rewrite is done and the lock not yet taken."""
    pending = [act]
    go_on = rewriting._Copy.go_on

    def then_act(copy: rewriting._Copy) -> None:
        go_on(copy)
        if pending:
            pending.pop()()  # type: ignore[operator]

    monkeypatch.setattr(rewriting._Copy, "go_on", then_act)


def test_what_is_appended_meanwhile_stays(waiting: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    _meanwhile(monkeypatch, lambda: Archive(waiting.path.parent).append(record(8)))
    waiting.compact([record(1).key], [migrated(1)])
    lines = standing(waiting.path)
    assert lines == b"".join(record(number).line() for number in (0, 2, 3, 4, 8))


def test_a_file_moved_away_meanwhile_is_left_as_it_is(
    waiting: Archive, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = standing(waiting.path)
    _meanwhile(monkeypatch, lambda: waiting.path.rename(tmp_path / "collected"))
    assert waiting.compact([record(1).key], [migrated(1)]).removed == 0
    assert standing(tmp_path / "collected") == before
    assert not waiting.path.exists()


def test_lines_taken_back_meanwhile_do_not_come_back(waiting: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    without_last = standing(waiting.path)[: -len(record(4).line())]

    def take_back() -> None:
        os.truncate(waiting.path, len(without_last))
        Archive(waiting.path.parent).append(record(9))

    _meanwhile(monkeypatch, take_back)
    waiting.compact([record(1).key], [migrated(1)])
    assert standing(waiting.path) == b"".join(record(number).line() for number in (0, 2, 3, 9))


def test_another_cleaning_meanwhile_is_no_harm(waiting: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    _meanwhile(monkeypatch, lambda: Archive(waiting.path.parent).compact([record(2).key], [migrated(2)]))
    waiting.compact([record(1).key], [migrated(1)])
    assert standing(waiting.path) == b"".join(record(number).line() for number in (0, 3, 4))
    assert standing(waiting.migrated_path) == migrated(1) + migrated(2)


def test_a_lock_held_too_long_leaves_everything_as_it_was(waiting: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    before = standing(waiting.path)
    other = Archive(waiting.path.parent)
    impatient = Archive(waiting.path.parent, lock_timeout=0.1)
    impatient.compact([], [migrated(1)])
    holding = other._lock.held()
    _meanwhile(monkeypatch, holding.__enter__)
    try:
        with pytest.raises((LockBusy, RuntimeError)):
            impatient.compact([record(1).key])
    finally:
        holding.__exit__(None, None, None)
    assert standing(waiting.path) == before
    assert not list(waiting.path.parent.glob("*.tmp")) + list(waiting.path.parent.glob(".*.tmp"))


def test_a_copy_that_does_not_add_up_never_takes_the_name(waiting: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    before = standing(waiting.path)
    monkeypatch.setattr(rewriting._Copy, "is_complete", lambda _: False)
    with pytest.raises(ArchiveError, match="the old one stays"):
        waiting.compact([record(1).key], [migrated(1)])
    assert standing(waiting.path) == before


def test_a_migrated_record_can_be_taken_back_and_migrated_again(waiting: Archive) -> None:
    waiting.compact([record(1).key], [migrated(1)])
    (moved,) = [entry.record for entry in waiting.migrated() if entry.record]
    for _ in range(2):
        waiting.take_back(moved, "the target lost it")
        assert waiting.where(*record(1).key) == waiting.path
        assert Archive(waiting.path.parent).settle().removed == 0
    assert standing(waiting.path).count(record(1).line()) == 1
    assert standing(waiting.migrated_path).count(b"\n") == 2
    waiting.compact([record(1).key], [migrated(1)])
    assert waiting.where(*record(1).key) == waiting.migrated_path
    assert waiting.append(record(1)) == moved
    assert standing(waiting.path).count(b"\n") == 4
    with waiting.path.open("ab") as file:
        file.write(record(1).line())
    assert waiting.settle().removed == 1


def test_repairing_a_missing_archive_is_nothing(tmp_path: Path) -> None:
    nothing = jsonl.Repaired(kept=0, quarantined=0, doubles=0, quarantine_file=None, healed=None)
    assert Archive(tmp_path / "none").repair() == (nothing, nothing)
    assert not (tmp_path / "none").exists()


def _taken_back(waiting: Archive, number: int) -> None:
    """Another process's audit lets a migrated line wait again: the second of its two appends."""
    Archive(waiting.path.parent).take_back(record(number), "the target lost it")


def test_a_line_that_an_audit_takes_back_while_others_are_settled_stays(
    waiting: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stands in both files for a moment, as what was migrated does before it leaves the archive."""
    waiting.compact((), [migrated(1), migrated(2)])
    both = waiting._waiting.keys_also_in
    monkeypatch.setattr(waiting._waiting, "keys_also_in", lambda other: (both(other), _taken_back(waiting, 1))[0])
    assert waiting.settle().removed == 1
    assert waiting.where(*record(1).key) == waiting.path
    assert waiting.where(*record(2).key) == waiting.migrated_path


def _at_each_try(monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[[int], object]) -> list[int]:
    """Have something done once a rewriting has begun; how many keys each try is to remove."""
    tries: list[int] = []

    class Slow(jsonl.WithoutKeys):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            tries.append(len(self._keys))
            meanwhile(len(tries))

    monkeypatch.setattr(jsonl, "WithoutKeys", Slow)
    return tries


def test_a_line_that_an_audit_takes_back_while_it_is_to_leave_stays(
    waiting: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = _at_each_try(monkeypatch, lambda number: number == 1 and _taken_back(waiting, 1))
    keys = {record(1).key, record(2).key}
    assert waiting.compact(keys, [migrated(1), migrated(2)]).removed == 1
    assert tries == [2, 1]
    assert waiting.where(*record(1).key) == waiting.path
    assert waiting.where(*record(2).key) == waiting.migrated_path


def test_what_was_migrated_meanwhile_keeps_nothing_from_leaving(
    waiting: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = _at_each_try(monkeypatch, lambda _: Archive(waiting.path.parent).compact((), [migrated(3)]))
    assert waiting.compact({record(1).key}, [migrated(1)]).removed == 1
    assert tries == [1]


def test_a_file_that_has_not_changed_is_not_read_again_under_the_lock(
    waiting: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, looked = waiting._migrated.standing, []
    monkeypatch.setattr(waiting._migrated, "standing", lambda keys: (looked.append(list(keys)), real(keys))[1])
    assert waiting.compact({record(1).key}, [migrated(1)]).removed == 1
    assert [keys for keys in looked if keys] == [[record(1).key]] * 2, "while it is written down"
    looked.clear()
    waiting.path.write_bytes(record(1).line() + waiting.path.read_bytes())
    assert waiting.settle().removed == 1
    assert looked == [[record(1).key]], "to see which stand in both"
