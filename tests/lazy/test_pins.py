"""Which jobs are large, and moments in whole milliseconds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from encoder_hookspecs.events import CompletedJob, Reason
from encoder_pin_plugin.lazy.pins import LARGE_MB, LazyPin, State, to_moment, to_ms
from tests.cids import cid_of
from tests.lazy.conftest import NOW


def pin_of(size_mb: float | None = None, **fields: Any) -> LazyPin:
    job = CompletedJob(cid=cid_of("a"), job_id="a", size_mb=size_mb)
    return LazyPin(key="k", job=job, state=State.PENDING, waiting_since=NOW, next_at=NOW, **fields)


@pytest.mark.parametrize(("size", "large"), [(None, False), (LARGE_MB - 0.1, False), (LARGE_MB, True)])
def test_a_job_is_large_by_its_size(size: float | None, large: bool) -> None:
    assert pin_of(size).large is large


@pytest.mark.parametrize("reason", Reason)
def test_a_job_of_any_size_is_large_once_it_was_found_to_be_slow(reason: Reason) -> None:
    assert pin_of(1.0, reason=reason).large is (reason in (Reason.STALLED, Reason.TIMEOUT))


@pytest.mark.parametrize(("microseconds", "ms"), [(0, 0), (999, 0), (1000, 1), (1999, 1), (-1, -1)])
def test_a_moment_counts_in_whole_milliseconds_that_have_passed(microseconds: int, ms: int) -> None:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)
    assert (to_ms(moment), type(to_ms(moment))) == (ms, int)


def test_the_same_moment_in_another_zone_is_the_same_number() -> None:
    there = datetime(2025, 10, 28, 19, 30, tzinfo=timezone(timedelta(hours=9)))
    assert to_ms(there) == to_ms(datetime(2025, 10, 28, 10, 30, tzinfo=UTC)) == 1_761_647_400_000


@pytest.mark.parametrize("ms", [-1, 0, 1, NOW + 1])
def test_a_number_is_the_moment_that_it_came_from(ms: int) -> None:
    assert to_ms(to_moment(ms)) == ms
    assert to_moment(ms).utcoffset() == timedelta(0)
