"""Two commands, one of them stopped before each of its changing calls: see `tests.faults.command_races`."""

from __future__ import annotations

import pytest

from tests.faults import command_races
from tests.faults.rig import fresh_seed

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

SHARE = 160
"""Meetings: each pair at two or three of its calls. `make prove` has them meet at all."""


def test_two_commands_never_undo_what_either_has_done() -> None:
    seed = fresh_seed()
    print(f"seed {seed}")
    report = command_races.run(seed, SHARE, print)
    assert report.clean, report
    assert report.tried == SHARE >= 2 * len(command_races.PAIRS)
