"""A spool without a worker, and a disk that fails when it is told to."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime

from encoder_hookspecs.events import CompletedJob
from encoder_pin_plugin.lazy.spool import Spool
from tests.conftest import names_in
from tests.lazy.conftest import cid_of

CID = cid_of("a video")
JOB = CompletedJob(cid=CID, job_id="job-1", size_mb=25.5, completed_at=datetime(2025, 10, 28, 10, 30, tzinfo=UTC))


def failing(
    number: int, *, when: Callable[..., bool] = lambda *_: True, real: Callable[..., None] | None = None
) -> Callable[..., None]:
    """A system call that fails, always or when its arguments say so."""

    def act(*paths: object) -> None:
        if when(*paths):
            raise OSError(number, os.strerror(number))
        assert real is not None
        real(*paths)

    return act


def files(spool: Spool) -> dict[str, list[str]]:
    """What stands in each folder."""
    return {folder.name: names_in(folder) for folder in (spool.tmp, spool.new, spool.open, spool.rejected)}
