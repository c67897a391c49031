"""A simulated month: see `tests.faults.simulation`."""

from __future__ import annotations

import pytest

from tests.faults import simulation
from tests.faults.rig import fresh_seed

pytestmark = [pytest.mark.faults]


def test_every_job_of_a_month_comes_to_its_end() -> None:
    seed = fresh_seed()
    print(f"seed {seed}")
    report = simulation.run(seed, 1, print)
    assert report.clean, report
