"""An archive that was edited by hand, or by an enemy: every good line is read, every other one told and kept."""

from __future__ import annotations

import json
import math
import resource
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encoder_pin_plugin.archive.jsonl import Archive
from encoder_pin_plugin.archive.reading import read_entries
from encoder_pin_plugin.errors import StorageError
from tests.archive.lines import CID, migrated, record

if TYPE_CHECKING:
    from pathlib import Path

FOREIGN = {
    "comment": b"# collected on Monday\n",
    "empty": b"\n",
    "blank": b"  \t\r\n",
    "no object": b"[1, 2]\n",
    "no hash": b'{"job_id":"x"}\n',
    "no CID": record(hash="rm -rf /").line(),
    "merged": record(7).line()[:-1] + record(8).line(),
    "behind garbage": b"garbage" + record(9).line(),
    "half": record(9).line()[:90] + b"\n",
    "not UTF-8": b"\xff\xfe" + record(9).line(),
    "NULs": b"\0" * 4096 + b"\n",
    "key twice": record(9).line()[:-2] + b',"hash":"%s"}\n' % CID.encode(),
    "deep": b'{"hash":' + b"[" * 30_000 + b"\n",
    "NaN": record(9).line().replace(b"9.5", b"NaN"),
    "long": record(9).line()[:-2] + b',"x":"' + b"y" * 70_000 + b'"}\n',
    "long node": record(9).line().replace(b"encoder-node-1", b"y" * 70_000),
    "very long": b"z" * 3_000_000 + b"\n",
}
ODD = {
    "byte order mark": b"\xef\xbb\xbf" + record(20).line(),
    "CRLF": record(21).line()[:-1] + b"\r\n",
    "spaces": json.dumps(json.loads(record(22).line())).encode() + b"\n",
    "other order": json.dumps(dict(reversed(json.loads(record(23).line()).items()))).encode() + b"\n",
    "further keys": record(24, extra={"note": "é", "size": 9}).line(),
    "huge integer": record(25).line().replace(b":3,", b":" + b"9" * 5000 + b","),
    "exponent": record(26).line().replace(b"26.5", b"2.65e1"),
    "negative size": record(27).line().replace(b"27.5", b"-27.5"),
    "no size": record(28, size_mb=None).line(),
    "other time": record(30).line().replace(b"2025-10-28T", b"28.10.2025 "),
    "size as text": record(29).line().replace(b"29.5", b'"29.5"'),
}


@pytest.fixture
def hostile(archive: Archive) -> Archive:
    archive.path.parent.mkdir()
    good = (record(number).line() for number in range(200, 300))
    lines = [line for foreign in (FOREIGN | ODD).values() for line in (foreign, next(good))]
    archive.path.write_bytes(b"".join(lines) + record(99).line()[:50])
    return archive


def test_every_good_line_is_read_and_every_other_one_told(hostile: Archive) -> None:
    entries = list(hostile.entries())
    assert sum(1 for entry in entries if entry.record) == len(FOREIGN) + 2 * len(ODD)
    assert sum(1 for entry in entries if entry.problem and not entry.torn) == len(FOREIGN)
    assert [entry.torn for entry in entries] == [False] * (len(entries) - 1) + [True]
    assert [entry.number for entry in entries] == list(range(1, len(entries) + 1))
    content = hostile.path.read_bytes()
    assert all(content[entry.offset :].startswith(entry.raw) for entry in entries)


def test_checking_tells_it_and_changes_nothing(hostile: Archive) -> None:
    before = hostile.path.read_bytes()
    checked = hostile.check()
    assert not checked.good
    assert (checked.invalid, checked.torn, checked.doubles) == (len(FOREIGN), 50, 0)
    assert [number for number, _ in checked.faults] == list(range(1, 2 * len(FOREIGN), 2))
    assert all(fault for _, fault in checked.faults)
    assert checked.odd == len(ODD) - 5  # line ends, spaces, order, further keys and an exponent are odd to people only
    assert hostile.path.read_bytes() == before
    assert not hostile.quarantine.exists()


def test_cleaning_keeps_what_nobody_understands_byte_for_byte(hostile: Archive) -> None:
    gone = [201, 203, 20, 21, 22, 23, 24, 25, 26]
    before = hostile.path.read_bytes()[:-50]
    hostile.compact([record(number).key for number in gone], [migrated(number) for number in gone])
    after = hostile.path.read_bytes()
    for number in (201, 203):
        before = before.replace(record(number).line(), b"", 1)
    for name in list(ODD)[:7]:
        before = before.replace(ODD[name], b"", 1)
    assert after == before


def test_repairing_moves_away_what_is_no_record_and_loses_nothing(hostile: Archive) -> None:
    before = hostile.path.read_bytes()
    with hostile.path.open("ab") as file:
        file.truncate(len(before) - 50)
        file.write(record(201).line() + record(202, size_mb=7).line() + before[-50:])
    repaired, _ = hostile.repair()
    assert (repaired.quarantined, repaired.doubles, repaired.healed is not None) == (len(FOREIGN), 1, True)
    assert repaired.quarantine_file
    assert repaired.quarantine_file.read_bytes() == b"".join(FOREIGN.values())
    lines = hostile.path.read_bytes().splitlines(keepends=True)
    assert set(lines) >= set(ODD.values()) - {ODD["CRLF"]}
    assert repaired.kept == len(lines) == len(FOREIGN) + 2 * len(ODD) + 1
    again, _ = hostile.repair()
    assert (again.quarantined, again.doubles, again.kept) == (0, 0, repaired.kept)


def test_appending_goes_on_whatever_is_in_the_file(hostile: Archive) -> None:
    hostile.append(record(500))
    assert hostile.append(record(500)) == record(500)
    assert hostile.append(record(22)).key == record(22).key
    assert hostile.path.read_bytes().count(record(500).line()) == 1


def test_a_line_of_fifty_megabytes_takes_no_memory(archive: Archive) -> None:
    archive.append(record(1))
    with archive.path.open("ab") as file:
        for _ in range(50):
            file.write(b"x" * 1_000_000)
        file.write(b"\n")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    archive.append(record(2))
    first, long, last = archive.entries()
    assert (first.record, long.record, last.record) == (record(1), None, record(2))
    assert "more than 65536" in long.problem
    assert archive.total().records == 2
    assert archive.check().invalid == 1
    archive.compact([record(1).key], [migrated(1)])
    assert archive.path.stat().st_size == 50_000_001 + len(record(2).line())
    archive.repair()
    assert archive.path.read_bytes() == record(2).line()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000  # kB


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.sampled_from([*FOREIGN.values(), *ODD.values(), *(record(number).line() for number in range(30, 40))]),
        max_size=30,
    ),
    st.binary(max_size=30),
)
def test_the_total_is_that_of_the_single_lines(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], noise: bytes
) -> None:
    archive = Archive(tmp_path_factory.mktemp("data"))
    archive.path.write_bytes(b"".join(lines) + noise)
    complete = [entry for entry in archive.entries() if not entry.torn]
    records = [entry.record for entry in complete if entry.record]
    total = archive.total()
    assert total.records == len(records)
    assert total.invalid == len(complete) - len(records)
    assert total.unknown_sizes == sum(each.size_mb is None for each in records)
    assert math.isclose(total.size_mb, math.fsum(each.size_mb or 0 for each in records))
    assert archive.check().lines == archive.path.read_bytes().count(b"\n")


def test_a_collected_file_may_be_a_link_but_not_a_folder(archive: Archive, tmp_path: Path) -> None:
    archive.append(record(1))
    link = tmp_path / "failed-pins.jsonl"
    link.symlink_to(archive.path)
    assert [entry.record for entry in read_entries(link, follow=True)] == [record(1)]
    with pytest.raises(StorageError, match="symbolic link"):
        list(read_entries(link))
