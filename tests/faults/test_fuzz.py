"""A share of the mutated inputs: see `tests.faults.fuzz`."""

from __future__ import annotations

import pytest

from tests.faults import fuzz
from tests.faults.rig import fresh_seed

pytestmark = [pytest.mark.faults]


def test_no_input_crashes_hangs_or_fills_a_reader() -> None:
    seed = fresh_seed()
    print(f"seed {seed}")
    report = fuzz.run(seed, 20_000, print)
    assert report.clean, report
