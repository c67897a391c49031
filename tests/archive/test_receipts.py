"""The small files that a migration reads back: a damaged one is as good as none, and none takes much memory."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from encoder_pin_plugin.archive.migration_report import (
    MigrationReport,
    ReportLine,
    _checksum,
    read_report,
    write_report,
)
from encoder_pin_plugin.archive.sightings import NAME, Sightings
from encoder_pin_plugin.errors import ArchiveError
from encoder_pin_plugin.operate.migrate_plan import RATE_NAME, remembered_rate

TO = "kubo+http://10.0.0.1:5001"
BOOT = "one"
CID = "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi"
LINE = ReportLine(hash=CID, job_id="a", node_id="e", status="migrated")
REPORT = MigrationReport(target=TO, made_at="2026-11-24", made_on="encoder", lines=(LINE,))


@pytest.mark.parametrize(
    "content",
    ["[1]", "[" * 5000, "[]", f'{{"{CID}":NaN}}', f'{{"{CID}":1{"0" * 400}}}'],
    ids=["a list", "nested", "a list of looks", "no number", "a huge number"],
)
@pytest.mark.parametrize("inside", [[], [TO], [BOOT, TO]])
def test_a_first_look_that_cannot_be_read_never_shortens_the_wait(
    tmp_path: Path, content: str, inside: list[str]
) -> None:  # fmt: skip
    for name in reversed(inside):
        content = f'{{"{name}":{content}}}'
    (tmp_path / NAME).write_text(content)
    assert Sightings(tmp_path, TO, BOOT).patience([CID], apart=600.0, now=1e9) == {CID: 600.0}


@pytest.mark.parametrize("content", ["[" * 5000, "[]", "NaN", '{"cids_per_second":1e999}'])
def test_a_rate_that_cannot_be_read_is_not_known(tmp_path: Path, content: str) -> None:
    (tmp_path / RATE_NAME).write_text(content)
    assert remembered_rate(tmp_path, TO) is None


@pytest.mark.parametrize(("place", "value"), [("hash", ["a"]), ("status", 1), ("target", {})])
def test_a_report_of_other_things_than_texts_is_refused(tmp_path: Path, place: str, value: object) -> None:
    path = tmp_path / "x.migrated.json"
    write_report(path, REPORT)
    content: dict[str, Any] = json.loads(path.read_bytes())
    del content["checksum"]
    (content if place in content else content["lines"][0])[place] = value
    path.write_text(json.dumps(content | {"checksum": _checksum(content)}))
    with pytest.raises(ArchiveError, match="no migration report") as refused:
        read_report(path)
    assert str(refused.value.__cause__) == f"{place} is no text"


def test_a_small_report_takes_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "x.migrated.json"
    write_report(path, REPORT)
    tracemalloc.start()
    try:
        assert read_report(path) == REPORT
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
