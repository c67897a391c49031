"""What checking an archive counts, names and warns of; the whole of a hostile one is in test_hostile_archive.py."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from encoder_pin_plugin.archive.checking import check
from encoder_pin_plugin.errors import StorageError
from tests.archive.lines import migrated, record
from tests.conftest import failing

pytestmark = pytest.mark.usefixtures("open_files")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "local-fallback-pins.jsonl"


def many(number: int, start: int = 0) -> bytes:
    return b"".join(record(start + it).line() for it in range(number))


def test_what_is_not_there_is_in_order(path: Path) -> None:
    checked = check(path)
    assert checked.good
    assert (checked.path, checked.lines, checked.records, checked.torn, checked.faults) == (path, 0, 0, 0, ())
    assert checked.double_lines == checked.variant_lines == ()


def test_what_is_written_as_we_write_it_is_in_order(path: Path) -> None:
    path.write_bytes(many(3))
    path.chmod(0o600)
    checked = check(path)
    assert checked.good
    assert (checked.lines, checked.records, checked.odd, checked.invalid) == (3, 3, 0, 0)
    assert (checked.faults, checked.warnings) == ((), ())


def test_a_bad_line_is_named_by_its_number_in_the_whole_file(path: Path) -> None:
    path.write_bytes(many(2000) + b"bad\n" + many(2000, 2000) + b"worse\n")
    checked = check(path)
    assert not checked.good
    assert (checked.lines, checked.records, checked.invalid) == (4002, 4000, 2)
    assert [number for number, _ in checked.faults] == [2001, 4002]
    assert all("JSON" in fault for _, fault in checked.faults)


def test_of_millions_of_bad_lines_a_hundred_are_named(path: Path) -> None:
    path.write_bytes(b"bad\n" * 150)
    checked = check(path)
    assert (checked.invalid, len(checked.faults)) == (150, 100)


@pytest.mark.parametrize(
    "odd",
    [
        record(1, size_mb=None).line(),
        record(1).line().replace(b"2025-10-28T", b"28.10.2025 "),
        record(1).line().replace(b"1.5", b"-1.5"),
    ],
    ids=["no size", "another form of time", "no size that can be"],
)
def test_what_had_to_be_normalised_is_odd_and_in_order_all_the_same(path: Path, odd: bytes) -> None:
    path.write_bytes(record(0).line() + odd + record(2).line())
    checked = check(path)
    assert (checked.records, checked.odd) == (3, 1)
    assert checked.good


def test_what_stood_before_to_the_byte_is_a_double_and_named_by_its_number(path: Path) -> None:
    path.write_bytes(many(2) + record(0).line() + b"bad\n" + record(0).line())
    checked = check(path)
    assert (checked.records, checked.doubles, checked.variants) == (4, 2, 0)
    assert checked.double_lines == ((3, 1), (5, 1))
    assert checked.repairable
    assert not checked.good


def test_lines_of_one_key_that_differ_are_in_order_and_named(path: Path) -> None:
    path.write_bytes(many(2) + record(0, size_mb=7).line() + record(1, node_id="another").line())
    checked = check(path)
    assert (checked.records, checked.doubles, checked.variants) == (4, 0, 2)
    assert checked.variant_lines == ((3, 1), (4, 2))
    assert not checked.repairable
    assert checked.good


def test_of_many_doubles_the_first_ten_are_named(path: Path) -> None:
    path.write_bytes(many(2000) * 2)
    checked = check(path)
    assert checked.doubles == 2000
    assert checked.double_lines == tuple((2001 + it, 1 + it) for it in range(10))


def test_of_what_was_migrated_no_line_is_a_double(path: Path) -> None:
    path = path.with_name("migrated-pins.jsonl")
    path.write_bytes(migrated(0) + migrated(1) + migrated(0))
    checked = check(path)
    assert checked.good
    assert (checked.doubles, checked.variants, checked.variant_lines) == (0, 1, ((3, 1),))


@pytest.mark.parametrize("before", [b"", many(2)], ids=["alone", "behind lines"])
def test_bytes_behind_the_last_newline_are_torn(path: Path, before: bytes) -> None:
    path.write_bytes(before + record(9).line()[:-1])
    checked = check(path)
    assert checked.torn == len(record(9).line()) - 1
    assert checked.lines == before.count(b"\n")
    assert not checked.good


def test_a_line_that_is_too_long_is_one_bad_line(path: Path) -> None:
    path.write_bytes(many(1) + b"x" * 300_000 + b"\n" + many(1, 1))
    checked = check(path)
    assert (checked.lines, checked.records) == (3, 2)
    ((number, fault),) = checked.faults
    assert (number, "300001 bytes" in fault) == (2, True)


@pytest.mark.parametrize(("mode", "warned"), [(0o644, False), (0o664, True), (0o646, True), (0o755, False)])
def test_that_others_may_write_to_it_is_warned_of(path: Path, mode: int, *, warned: bool) -> None:
    path.write_bytes(many(1))
    path.chmod(mode)
    checked = check(path)
    assert checked.good is not warned
    assert list(checked.warnings) == [f"others may write to {path}: chmod go-w {path}"] * warned


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_that_it_is_not_its_folders_owners_is_warned_of(path: Path) -> None:
    path.write_bytes(many(1))
    os.chown(path, 65534, -1)
    (warning,) = check(path).warnings
    assert warning == f"{path} belongs to user 65534, its folder to user 0: chown 0 {path}"


def test_a_disk_that_does_not_give_it_is_named_and_nothing_stays_open(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_bytes(many(1))
    monkeypatch.setattr(os, "pread", failing(errno.EIO))
    with pytest.raises(StorageError, match=f"^cannot read {path}: "):
        check(path)
