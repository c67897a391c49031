"""Every command of the operators' document works, word for word, on the files that we write."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.archive.lines import record

if TYPE_CHECKING:
    from pathlib import Path

    from encoder_pin_plugin.archive.jsonl import Archive

COUNT = "wc -l data/local-fallback-pins.jsonl"
SUM = "jq '.size_mb' data/local-fallback-pins.jsonl | awk '{sum+=$1} END {print sum \" MB total\"}'"
COLLECT = "cp data/local-fallback-pins.jsonl ./failed-pins.jsonl"
LOOP = """
while IFS= read -r line; do
  hash=$(echo "$line" | jq -r '.hash')
  echo "Batch pinning: $hash"
  curl -X POST "http://permanent-server:5001/api/v0/pin/add?arg=$hash"
done < failed-pins.jsonl
"""
CURL = '#!/bin/sh\nprintf "%s\\n" "$@" >> asked\n'
"""Stands in for the permanent server: it notes what it is asked."""

needs_jq = pytest.mark.skipif(not shutil.which("jq"), reason="NOT RUN: the document's commands need jq installed")
RECORDS = [
    record(1, size_mb=25.5, job_id="job-123"),
    record(2, size_mb=12.3, type="file"),
    record(3, size_mb=100.0),
    record(4, size_mb=None, type=None),
    record(5, size_mb=0.001, job_id="""it's "odd" $(touch pwned) \\n `id` é"""),
]


@pytest.fixture
def operator(tmp_path: Path, archive: Archive) -> Path:
    for each in RECORDS:
        archive.append(each)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "curl").write_text(CURL)
    (tmp_path / "bin" / "curl").chmod(0o755)
    return tmp_path


def shell(folder: Path, command: str) -> str:
    script = f'PATH="$PWD/bin:$PATH"\n{command}'
    done = subprocess.run(["bash", "-c", script], cwd=folder, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout


def test_growth_is_monitored(operator: Path) -> None:
    assert shell(operator, COUNT) == f"{len(RECORDS)} data/local-fallback-pins.jsonl\n"


@needs_jq
def test_the_size_is_summed(operator: Path, archive: Archive) -> None:
    assert shell(operator, SUM) == "137.801 MB total\n"
    assert archive.total().size_mb == pytest.approx(137.801, abs=1e-9)


@needs_jq
def test_everything_is_batch_pinned(operator: Path) -> None:
    told = shell(operator, COLLECT + LOOP)
    assert told == "".join(f"Batch pinning: {each.hash}\n" for each in RECORDS)
    asked = (operator / "asked").read_text().splitlines()
    assert [line.rpartition("=")[2] for line in asked if "arg=" in line] == [each.hash for each in RECORDS]
    assert not (operator / "pwned").exists()


def test_any_json_reader_can_do_the_same(operator: Path) -> None:
    lines = (operator / "data/local-fallback-pins.jsonl").read_text(encoding="ascii").splitlines()
    read = [json.loads(line) for line in lines]
    assert [each["hash"] for each in read] == [each.hash for each in RECORDS]
    assert [each["job_id"] for each in read] == [each.job_id for each in RECORDS]
    assert sum(each["size_mb"] or 0 for each in read) == pytest.approx(137.801)
    assert lines[0].startswith('{"hash":"bafy') and '"size_mb":25.5,"type":"directory"' in lines[0]  # noqa: PT018


@needs_jq
def test_an_empty_archive_sums_up_to_nothing(operator: Path, archive: Archive) -> None:
    archive.compact([each.key for each in RECORDS], [each.line() for each in RECORDS])
    assert shell(operator, COUNT) == "0 data/local-fallback-pins.jsonl\n"
    assert shell(operator, SUM) == " MB total\n"
