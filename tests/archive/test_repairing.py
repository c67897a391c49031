"""What a repair takes out and what it leaves, line by line: a double is one to the byte, and a fault is no record."""

from __future__ import annotations

import pytest

from encoder_pin_plugin.archive.jsonl import Archive, Repaired
from tests.archive.lines import migrated, record


def written(archive: Archive, *lines: bytes) -> Archive:
    archive.path.parent.mkdir(exist_ok=True)
    archive.path.write_bytes(b"".join(lines))
    return archive


A, B = record(1).line(), record(2).line()
OTHER_A = record(1, size_mb=7).line()
SPACED_A = A.replace(b",", b", ")
BAD = b"# collected on Monday\n"


def test_exact_doubles_go_and_lines_of_one_key_that_differ_stay(archive: Archive) -> None:
    repaired, _ = written(archive, A, B, OTHER_A, A, SPACED_A, A, OTHER_A).repair()
    assert archive.path.read_bytes() == A + B + OTHER_A + SPACED_A + OTHER_A
    assert repaired == Repaired(kept=5, quarantined=0, doubles=2, quarantine_file=None, healed=None)


def test_faults_go_to_one_new_file_in_their_order(archive: Archive) -> None:
    repaired, _ = written(archive, BAD, A, b"\n", B, BAD).repair()
    assert archive.path.read_bytes() == A + B
    assert (repaired.kept, repaired.quarantined, repaired.doubles) == (2, 3, 0)
    assert repaired.quarantine_file
    assert repaired.quarantine_file.read_bytes() == BAD + b"\n" + BAD
    assert repaired.quarantine_file.name.endswith("Z-bad-lines")


def test_doubles_and_faults_go_in_one_repair(archive: Archive) -> None:
    repaired, _ = written(archive, A, A, BAD, A).repair()
    assert archive.path.read_bytes() == A
    assert (repaired.kept, repaired.quarantined, repaired.doubles) == (1, 1, 2)


def test_of_what_was_migrated_faults_go_and_doubles_stay(archive: Archive) -> None:
    written(archive, BAD, B)
    archive.migrated_path.write_bytes(migrated(1) + BAD + migrated(1) + migrated(2)[:-1])
    _, repaired = archive.repair()
    assert archive.path.read_bytes() == B
    assert archive.migrated_path.read_bytes() == migrated(1) * 2 + migrated(2)
    assert (repaired.kept, repaired.quarantined, repaired.doubles) == (3, 1, 0)
    assert repaired.quarantine_file
    assert repaired.quarantine_file.read_bytes() == BAD
    assert repaired.set_aside == [repaired.quarantine_file]
    assert repaired.healed
    assert repaired.healed.size == len(migrated(2)) - 1


def test_an_archive_in_order_is_left_as_it_is_whatever_its_size(archive: Archive) -> None:
    lines = [record(number).line() for number in range(3000)]
    inode = written(archive, *lines).path.stat().st_ino
    assert archive.path.stat().st_size > 2 * (1 << 18)
    repaired, _ = archive.repair()
    assert repaired == Repaired(kept=3000, quarantined=0, doubles=0, quarantine_file=None, healed=None)
    assert archive.path.stat().st_ino == inode
    assert not archive.quarantine.exists()
    assert not archive.migrated_path.exists()


@pytest.mark.parametrize("extra", [[A], [BAD]], ids=["double", "fault"])
def test_one_thing_to_take_out_is_enough(archive: Archive, extra: list[bytes]) -> None:
    lines = [record(number).line() for number in range(3000)]
    repaired, _ = written(archive, *lines, *extra).repair()
    assert archive.path.read_bytes() == b"".join(lines)
    assert (repaired.kept, repaired.quarantined + repaired.doubles) == (3000, 1)


def test_a_line_that_only_begins_like_one_to_remove_stays(archive: Archive) -> None:
    broken = A[:-2] + b" and more\n"
    written(archive, broken, A, B)
    assert archive.compact([record(1).key], [migrated(1)]).removed == 1
    assert archive.path.read_bytes() == broken + B
