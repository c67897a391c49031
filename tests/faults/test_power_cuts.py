"""Nothing acknowledged is lost when the power is cut, on any file system to be had."""

from __future__ import annotations

import os

import pytest

from tests.faults import powercuts
from tests.faults.rig import Missing, RigReport, fresh_seed

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

CUTS = int(os.environ.get("FAULT_CUTS", "80"))


def _run(count: int, **options: object) -> RigReport:
    try:
        row = powercuts.run(fresh_seed(), count, print, **options)  # type: ignore[arg-type]
    except Missing as missing:
        pytest.skip(f"SKIPPED AND COUNTED: {missing}")
    print(row)
    return row


def test_power_cuts_lose_nothing() -> None:
    row = _run(CUTS)
    assert row.clean, row
