"""Two thousand of the concurrent jobs: see `tests.faults.many`."""

from __future__ import annotations

import pytest

from tests.faults import many
from tests.faults.rig import fresh_seed

pytestmark = [pytest.mark.faults]


def test_nobody_overwrites_anybody() -> None:
    seed = fresh_seed()
    print(f"seed {seed}")
    report = many.run(seed, 2_048, print)
    assert report.clean, report
