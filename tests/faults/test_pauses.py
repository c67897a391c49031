"""A worker that was frozen beyond its lease changes nothing when it wakes up."""

from __future__ import annotations

import pytest

from tests.faults import pauses
from tests.faults.rig import Missing, fresh_seed

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]


def test_a_worker_frozen_beyond_its_lease_undoes_nothing() -> None:
    try:
        row = pauses.run(fresh_seed(), 60, print)
    except Missing as missing:
        pytest.skip(f"SKIPPED AND COUNTED: {missing}")
    print(row)
    assert row.clean, row
