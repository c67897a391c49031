"""A share of the lying nodes: see `tests.faults.lies`; and that each lie is one."""

from __future__ import annotations

import pytest

from tests.fakes.kubo_lies import LIES
from tests.faults import liars, lies
from tests.faults.rig import fresh_seed

pytestmark = [pytest.mark.faults]


def test_no_lie_is_believed() -> None:
    seed = fresh_seed()
    print(f"seed {seed}")
    report = lies.run(seed, 120, print, times=2)
    assert report.clean, report


def test_there_are_more_kinds_than_promised() -> None:
    assert len({kind.lie for kind in lies.kinds()}) >= 90


@pytest.mark.parametrize("name", sorted(LIES))
def test_a_lie_is_not_what_an_honest_node_says(name: str) -> None:
    command = next(iter(LIES[name].only), "pin/ls")
    honest, lied = liars.answers(name, command)
    assert honest.startswith(b"HTTP/1.1 200")
    if name in ("empty_yes", "slow_yes"):  # the word of a yes: the lie is that nothing is pinned
        return
    assert lied != honest
