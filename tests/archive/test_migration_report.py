"""What stands in FILE.migrated.json, that a damaged one is refused, and what a later run keeps of an earlier one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from encoder_pin_plugin.archive import migration_report
from encoder_pin_plugin.archive.migration_report import (
    FAILED,
    MIGRATED,
    UNTRIED,
    MigrationReport,
    ReportLine,
    merged,
    read_report,
    report_path,
    write_report,
)
from encoder_pin_plugin.errors import ArchiveError, StorageError

TO = "kubo+http://10.0.0.1:5001"
THERE = ReportLine(
    hash="bafy1", job_id="job-1", node_id="é", status=MIGRATED, target=TO, proof="whole", at="2026-11-23"
)
LOST = ReportLine(hash="bafy2", job_id="job-2", node_id="e", status=FAILED, reason="stalled", detail="no bytes came")
REPORT = MigrationReport(
    target=TO, made_at="2026-11-24", made_on="server", lines=(THERE, LOST), faults=(("line 3", "no JSON"),)
)
WRITTEN = r"""{
 "format": "encoder-pin migration report 1",
 "target": "kubo+http://10.0.0.1:5001",
 "made_at": "2026-11-24",
 "made_on": "server",
 "lines": [
  {
   "hash": "bafy1",
   "job_id": "job-1",
   "node_id": "\u00e9",
   "status": "migrated",
   "target": "kubo+http://10.0.0.1:5001",
   "proof": "whole",
   "at": "2026-11-23",
   "reason": "",
   "detail": ""
  },
  {
   "hash": "bafy2",
   "job_id": "job-2",
   "node_id": "e",
   "status": "failed",
   "target": "",
   "proof": "",
   "at": "",
   "reason": "stalled",
   "detail": "no bytes came"
  }
 ],
 "faults": [
  [
   "line 3",
   "no JSON"
  ]
 ],
 "checksum": "sha256:3eab0c463626faf5a6d95017aba01a53d1166e88239efa7fa0f97297a271ced7"
}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "collected.jsonl.migrated.json"


def rewritten(path: Path, **changes: Any) -> None:
    """A report with other fields, and the checksum of what it had."""
    write_report(path, REPORT)
    path.write_text(json.dumps(json.loads(path.read_bytes()) | changes))


# The file


def test_it_stands_beside_the_file_that_it_reports_on(tmp_path: Path, path: Path) -> None:
    assert report_path(tmp_path / "collected.jsonl") == path


def test_it_is_written_in_the_same_form_always_and_read_back(path: Path) -> None:
    write_report(path, REPORT)
    assert path.read_text() == WRITTEN
    assert read_report(path) == REPORT


def test_one_without_lines_or_faults_is_read_back(path: Path) -> None:
    bare = MigrationReport(target=TO, made_at="2026-11-24", made_on="server", lines=())
    assert bare.faults == ()
    write_report(path, bare)
    assert read_report(path) == bare


def test_it_takes_the_place_of_an_earlier_one(path: Path) -> None:
    for report in (REPORT, replace(REPORT, lines=(LOST,))):
        write_report(path, report)
        assert read_report(path) == report


def test_what_cannot_be_written_or_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "none" / "x.migrated.json"
    with pytest.raises(StorageError, match=f"cannot write {path}: "):
        write_report(path, REPORT)
    with pytest.raises(StorageError, match=f"cannot read {path}: "):
        read_report(path)


def test_what_is_too_large_for_a_report_is_not_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_report(path, REPORT)
    monkeypatch.setattr(migration_report, "LARGEST", path.stat().st_size)
    assert read_report(path) == REPORT
    monkeypatch.setattr(migration_report, "LARGEST", path.stat().st_size - 1)
    with pytest.raises(StorageError, match=f"cannot read {path}: "):
        read_report(path)


# One that is not as it was written


@pytest.mark.parametrize(
    "changes",
    [
        {"target": "kubo+http://10.0.0.2:5001"},
        {"lines": []},
        {"faults": []},
        {"format": "encoder-pin migration report 2"},
        {"checksum": "sha256:0"},
        {"checksum": None},
        {"more": "text"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_an_edited_one_is_refused(path: Path, changes: dict[str, Any]) -> None:
    rewritten(path, **changes)
    with pytest.raises(ArchiveError, match=f"{path} is not as it was written"):
        read_report(path)


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"1", b"{}", b'{"checksum":"x"}', b"\xff", b"[" * 100_000, WRITTEN.encode()[:200]],
    ids=["empty", "list", "number", "no checksum", "no format", "no text", "nested", "cut"],
)
def test_what_is_no_report_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(ArchiveError, match=f"{path} is no migration report"):
        read_report(path)


# Two runs


def test_only_what_is_migrated_counts_as_migrated() -> None:
    assert REPORT.migrated == {"bafy1"}


def test_what_a_run_did_not_try_stands_as_the_earlier_one_left_it() -> None:
    untried = tuple(replace(line, status=UNTRIED, target="", proof="", at="") for line in (LOST, THERE))
    later = MigrationReport(target=TO, made_at="2026-11-25", made_on="other", lines=untried, faults=(("1", "x"),))
    assert merged(later, REPORT) == replace(later, lines=(untried[0], THERE)), "what had failed is not tried yet"


def test_what_a_run_tried_stands_as_it_found_it() -> None:
    failed = replace(THERE, status=FAILED, target="", reason="unproved")
    later = replace(REPORT, lines=(failed, replace(LOST, status=MIGRATED, target=TO)))
    assert merged(later, REPORT) == later


@pytest.mark.parametrize("other", [{"hash": "bafy9"}, {"job_id": "job-9"}])
def test_a_line_of_another_video_or_job_is_another_line(other: dict[str, str]) -> None:
    later = replace(REPORT, lines=(replace(THERE, status=UNTRIED, **other),))
    assert merged(later, REPORT) == later


def test_what_is_on_another_target_says_nothing_of_this_one() -> None:
    later = replace(REPORT, target="kubo+http://10.0.0.2:5001", lines=(replace(THERE, status=UNTRIED),))
    assert merged(later, REPORT) == later
