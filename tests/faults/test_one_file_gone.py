"""A share of the damaged files: see `tests.faults.one_file_gone`; and that the rig sees what it should."""

from __future__ import annotations

import pytest

from tests.faults import one_file_gone
from tests.faults.rig import fresh_seed

pytestmark = [pytest.mark.faults]


def test_no_single_damaged_file_loses_a_job() -> None:
    seed = fresh_seed()
    print(f"seed {seed}")
    report = one_file_gone.run(seed, 120, print)
    assert report.clean, report
