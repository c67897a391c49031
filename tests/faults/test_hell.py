"""A share of the plugins from hell: see `tests.faults.hell`."""

from __future__ import annotations

import pytest

from tests.faults import hell
from tests.faults.rig import fresh_seed

pytestmark = [pytest.mark.faults]


def test_no_plugin_comes_between_a_job_and_the_disk() -> None:
    seed = fresh_seed()
    print(f"seed {seed}")
    report = hell.run(seed, 40, print)
    assert report.clean, report
