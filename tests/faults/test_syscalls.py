"""Nothing is lost or doubled by a kill at any changing system call, of the main path or of the recovery from it."""

from __future__ import annotations

import pytest

from tests.faults import syscalls
from tests.faults.rig import Missing, fresh_seed
from tests.faults.scenarios import SCENARIOS
from tests.faults.tools import tool

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1200)]

EVERY = [name for name in SCENARIOS if name.startswith(("intake", "append", "compaction", "migration", "repair"))]
SAMPLED = [name for name in SCENARIOS if name not in EVERY]


@pytest.fixture(autouse=True)
def _strace() -> None:
    try:
        tool("strace")
    except Missing as missing:
        pytest.skip(f"SKIPPED AND COUNTED: {missing}")


def test_every_call_of_intake_append_compaction_migration_and_repair() -> None:
    row = syscalls.run(fresh_seed(), 10_000, print, names=EVERY)
    print(row)
    assert row.clean, row
    assert row.tried > 100


def test_a_sample_of_the_calls_of_retry_proof_and_fallback() -> None:
    row = syscalls.run(fresh_seed(), 300, print, names=SAMPLED)
    print(row)
    assert row.clean, row
    assert row.tried == 300
