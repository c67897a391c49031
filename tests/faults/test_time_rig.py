"""A share of the odd times: see `tests.faults.time_rig`."""

from __future__ import annotations

import pytest

from tests.faults import time_rig
from tests.faults.rig import fresh_seed

pytestmark = [pytest.mark.faults]


def test_no_clock_and_no_outage_loses_or_floods() -> None:
    seed = fresh_seed()
    print(f"seed {seed}")
    report = time_rig.run(seed, 80, print)
    assert report.clean, report
