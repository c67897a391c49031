"""CIDs that were set aside with their lines, and that no line that counts has."""

from __future__ import annotations

from pathlib import Path

import pytest

from encoder_pin_plugin.archive.jsonl import Archive
from encoder_pin_plugin.archive.stranded import stranded, would_strand
from tests.archive.lines import record

CIDS = (
    "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi",
    "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG",
    "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy",
)


def line(number: int, **changes: object) -> bytes:
    return record(number, hash=CIDS[number], **changes).line()


def no_number(raw: bytes) -> bytes:
    return raw.replace(b".5", b".5e")


def key_twice(raw: bytes) -> bytes:
    return raw[:-2] + b',"hash":' + raw[8 : raw.index(b",")] + b"}\n"


@pytest.mark.parametrize("spoil", [no_number, key_twice, lambda raw: raw[:-30] + b"\n", lambda raw: b"\0" + raw])
def test_a_cid_that_stands_nowhere_else_is_found_with_its_job(tmp_path: Path, spoil: object) -> None:
    aside, waiting = tmp_path / "aside", tmp_path / "waiting"
    aside.write_bytes(b"rubbish\n" + spoil(line(0)) + spoil(line(1)) + spoil(line(0)))  # type: ignore[operator]
    waiting.write_bytes(line(2) + line(1, job_id="another"))
    assert stranded([aside], [waiting, tmp_path / "none"]) == ((CIDS[0], "job-0"),)


def test_the_job_of_a_line_that_is_cut_before_it_cannot_be_made_out(tmp_path: Path) -> None:
    aside = tmp_path / "aside"
    aside.write_bytes(line(0)[:80] + b"\n")
    assert stranded([aside], []) == ((CIDS[0], ""),)


def test_a_cid_that_was_taken_back_from_the_migrated_stands_there_no_more(tmp_path: Path) -> None:
    aside, migrated = tmp_path / "aside", tmp_path / "migrated"
    aside.write_bytes(no_number(line(0)) + no_number(line(1)))
    taken_back = line(0) + line(1) + line(0, extra={"withdrawn_at": "2025-10-30T10:30:00.000Z"})
    migrated.write_bytes(taken_back)
    assert stranded([aside], [migrated]) == ((CIDS[0], "job-0"),)
    migrated.write_bytes(taken_back + line(0))
    assert stranded([aside], [migrated]) == ()


def test_what_a_repair_would_strand_is_found_where_it_stands(tmp_path: Path) -> None:
    waiting, migrated = tmp_path / "waiting", tmp_path / "migrated"
    waiting.write_bytes(line(1) + no_number(line(0)) + no_number(line(1)) + line(2)[:80])
    migrated.write_bytes(line(1) + line(1, extra={"withdrawn_at": "2025-10-30T10:30:00.000Z"}))
    assert would_strand([waiting, migrated, tmp_path / "none"]) == ((CIDS[0], "job-0"), (CIDS[2], ""))
    assert would_strand([migrated]) == (), "withdrawn, and no bad line"
    migrated.write_bytes(line(0) + line(2)[:-1])
    assert would_strand([migrated]) == (), "a whole record gets its newline"
    assert would_strand([migrated, waiting]) == ((CIDS[2], ""),)


def test_a_repair_names_them_and_so_does_the_log(archive: Archive, warned: list[str]) -> None:
    archive.path.parent.mkdir()
    archive.path.write_bytes(line(1) + no_number(line(0)) + line(2)[:80])
    repaired, _ = archive.repair()
    assert repaired.stranded == ((CIDS[0], "job-0"), (CIDS[2], ""))
    assert repaired.healed
    assert warned[-1] == (
        f"set aside in {repaired.quarantine_file} and {repaired.healed.quarantined}, and in no other line, so that"
        f" nothing migrates it: {CIDS[0]} of job 'job-0', {CIDS[2]}"
    )


@pytest.mark.parametrize(("number", "more"), [(20, ""), (25, " and 5 more")])
def test_the_log_names_twenty(archive: Archive, warned: list[str], number: int, more: str) -> None:
    archive.path.parent.mkdir()
    archive.path.write_bytes(b"".join(no_number(line(0, job_id=f"job-{it}")) for it in range(number)))
    assert len(archive.repair()[0].stranded) == number
    assert warned[-1].endswith(f"of job 'job-19'{more}")
