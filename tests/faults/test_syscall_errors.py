"""A share of the failing system calls: see `tests.faults.syscall_errors`."""

from __future__ import annotations

import pytest

from tests.faults import syscall_errors
from tests.faults.rig import Missing, fresh_seed

pytestmark = [pytest.mark.faults]


def test_no_error_of_a_system_call_is_taken_for_a_success() -> None:
    seed = fresh_seed()
    print(f"seed {seed}")
    try:
        report = syscall_errors.run(seed, 100, print)
    except Missing as missing:
        pytest.skip(str(missing))
    assert report.clean, report
