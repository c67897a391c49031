"""How a test runs a share of a rig."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.faults.rig import Missing, RigReport, fresh_seed


def share(run: Callable[..., RigReport], count: int, **options: object) -> RigReport:
    """Run a rig `count` times from a seed of its own, which is printed; nothing may be lost, doubled or torn."""
    seed = fresh_seed()
    print(f"seed {seed}")
    try:
        report = run(seed, count, print, **options)
    except Missing as missing:
        pytest.skip(f"SKIPPED AND COUNTED: {missing}")
    print(report)
    assert report.clean, report
    return report
