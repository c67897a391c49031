"""The few things that rigs have the program do in one thread: report a job, work everything off, fail once."""

from __future__ import annotations

from typing import Any

from encoder_hookspecs.events import CompletedJob
from tests.cids import cid_of
from tests.faults.actors import Journal, Place, manager_of, plugin_at, through_pluggy, watch_commits


def complete(place: Place, job_id: str, **options: Any) -> None:
    """A host reports a job; it is written down as acknowledged once the hook has returned."""
    journal = Journal(place, "acks")
    job = CompletedJob(cid=cid_of(job_id), job_id=job_id, size_mb=1.5)
    through_pluggy(plugin_at(place, **options))(job)
    journal.write(job.cid, job.job_id)


def work_off(place: Place, **options: Any) -> int:
    """Work until nothing more can be done soon; how many jobs are left."""
    watch_commits(place)
    plugin = plugin_at(place, **options)
    return plugin.service.worker(manager_of(plugin)).run(drain=True)


def fail_once(place: Place, **options: Any) -> None:
    """Take in what waits, and make one attempt at each job, which stays open."""
    plugin = plugin_at(place, **{"local_fallback_threshold": 9, "lazy_pin_backoff": "0.4", **options})
    worker = plugin.service.worker(manager_of(plugin))
    worker._presence.begin()
    for _ in range(3):
        worker._turn()
    worker._leave()
