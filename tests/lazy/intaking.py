"""An intake without a worker: a spool, a ledger, and clocks that go as a test says."""

from __future__ import annotations

import json
from pathlib import Path

from encoder_hookspecs.events import CompletedJob
from encoder_pin_plugin.alarms import Alarms
from encoder_pin_plugin.clock import EvenClock
from encoder_pin_plugin.lazy.intake import Intake
from encoder_pin_plugin.lazy.jobfile import Submission, new_submission
from encoder_pin_plugin.lazy.ledger import Ledger
from encoder_pin_plugin.lazy.pins import to_moment
from encoder_pin_plugin.lazy.spool import Spool
from tests.cids import cid_of
from tests.lazy.conftest import NOW


class HandClock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.passed = 1000.0
        self.step = 0

    def wall(self) -> int:
        return NOW + self.step + int(self.passed * 1000) - 1_000_000

    def steady(self) -> float:
        return self.passed

    def boot(self) -> str:
        return "one"


class Desk:
    """One data folder, and an intake for it."""

    def __init__(self, spool: Spool, ledger: Ledger) -> None:
        self.spool, self.ledger = spool, ledger
        self.clock = HandClock()
        self.alarms = Alarms(self.clock)
        self.intake = Intake(spool, self.alarms, EvenClock(self.clock))

    def arrive(self, *names: str) -> list[Submission]:
        """Job files wait in `new/`."""
        return [put(self.spool.new, submission(name)) for name in names]

    def open(self, *names: str) -> list[Submission]:
        """Jobs were taken in."""
        arrived = self.arrive(*names)
        self.intake.take_in(self.ledger)
        return arrived

    def half(self, name: str = "job.json") -> Path:
        """Another program has begun to write a job file where it should not."""
        path = self.spool.new / name
        path.write_text('{"cid": ')
        return path

    def block(self) -> None:
        """Nothing can be set aside from now on: something stands where its folder belongs."""
        self.spool.rejected.rmdir()
        self.spool.rejected.write_bytes(b"in the way")

    def unblock(self) -> None:
        self.spool.rejected.unlink()
        self.spool.create()

    def jobs(self) -> list[str]:
        """The ids of all open jobs."""
        return sorted(pin.job.job_id for pin in self.ledger.select("closed_at IS NULL"))


def submission(name: str) -> Submission:
    return new_submission(CompletedJob(cid=cid_of(name), job_id=name, completed_at=to_moment(NOW)))


def put(folder: Path, it: Submission) -> Submission:
    (folder / it.name).write_bytes(it.body)
    return it


def content(name: str) -> str:
    """A job file as another program writes it."""
    return json.dumps({"cid": cid_of(name), "job_id": name})
