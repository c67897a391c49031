"""A spool without a worker."""

from __future__ import annotations

from datetime import UTC, datetime

from encoder_hookspecs.events import CompletedJob
from encoder_pin_plugin.lazy.spool import Spool
from tests.cids import cid_of
from tests.conftest import names_in

CID = cid_of("a video")
JOB = CompletedJob(cid=CID, job_id="job-1", size_mb=25.5, completed_at=datetime(2025, 10, 28, 10, 30, tzinfo=UTC))


def files(spool: Spool) -> dict[str, list[str]]:
    """What stands in each folder."""
    return {folder.name: names_in(folder) for folder in (spool.tmp, spool.new, spool.open, spool.rejected)}
