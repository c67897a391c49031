"""Each planted bug is seen by the rig that is there for it: only then is a rig's silence worth anything."""

from __future__ import annotations

import pytest

from tests.faults import planted, self_test
from tests.faults.rig import Missing, fresh_seed

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]


def test_every_planted_bug_has_its_rig() -> None:
    assert set(self_test.CAUGHT_BY) == set(planted.BUGS)


@pytest.mark.parametrize("bug", planted.BUGS)
def test_a_planted_bug_is_seen(bug: str) -> None:
    try:
        row = self_test.hunt(bug, fresh_seed(), print)
    except Missing as missing:
        pytest.skip(f"SKIPPED AND COUNTED: {missing}")
    print(row)
    assert not row.clean, f"no rig saw {bug!r}"
