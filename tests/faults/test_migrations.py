"""A migration may be killed at any instant: nothing is pinned nowhere, and each line moves once."""

from __future__ import annotations

import os

import pytest

from tests.faults import migrations
from tests.faults.rig import fresh_seed

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

KILLS = int(os.environ.get("FAULT_MIGRATION_KILLS", "100"))


def test_kills_at_random_instants_and_at_each_system_call() -> None:
    row = migrations.run(fresh_seed(), KILLS, print)
    print(row)
    assert row.clean, row
    assert row.tried >= KILLS
