"""Two writers of the archive, one of them stopped before each of its calls: see `tests.faults.races`."""

from __future__ import annotations

import pytest

from tests.faults import races
from tests.faults.rig import fresh_seed

pytestmark = [pytest.mark.faults]


def test_two_writers_never_harm_each_other() -> None:
    seed = fresh_seed()
    print(f"seed {seed}")
    report = races.run(seed, 1000, print)
    assert report.clean, report
    assert report.tried >= 2 * sum(map(len, races.MEETINGS.values()))
