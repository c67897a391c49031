"""Nothing is lost and nothing doubled by kills at random instants of a mixed load."""

from __future__ import annotations

import os

import pytest

from tests.faults import kills
from tests.faults.rig import fresh_seed

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

KILLS = int(os.environ.get("FAULT_KILLS", "500"))


def test_five_hundred_kills_lose_and_double_nothing() -> None:
    row = kills.run(fresh_seed(), KILLS, print)
    print(row)
    assert row.clean, row
    assert row.tried >= KILLS
