"""Nothing is lost or doubled by a kill at any changing system call, of the main path or of the recovery from it."""

from __future__ import annotations

import pytest

from tests.faults import syscalls
from tests.faults.conftest import share
from tests.faults.scenarios import SCENARIOS

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1200)]

EVERY = [name for name in SCENARIOS if name.startswith(("intake", "append", "compaction", "migration", "repair"))]
SAMPLED = [name for name in SCENARIOS if name not in EVERY]


def test_every_call_of_intake_append_compaction_migration_and_repair() -> None:
    assert share(syscalls.run, 10_000, names=EVERY).tried > 100


def test_a_sample_of_the_calls_of_retry_proof_and_fallback() -> None:
    assert share(syscalls.run, 300, names=SAMPLED).tried == 300
