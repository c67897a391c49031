"""The comparison works, and ours loses nothing in it: see `tests.faults.rivals`."""

from __future__ import annotations

import pytest

from tests.faults import rivals
from tests.faults.rig import fresh_seed

pytestmark = [pytest.mark.faults]


def test_ours_loses_nothing_where_the_plain_append_does() -> None:
    seed = fresh_seed()
    print(f"seed {seed}")
    report = rivals.run(seed, 5, print)
    assert report.clean, report
    assert any(note.startswith("plain append: 0 of") for note in report.notes)  # kills alone do not show it
