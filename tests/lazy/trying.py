"""One attempt without a worker, on a node in memory, at a time and with decisions of a test's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from encoder_hookspecs.events import CompletedJob, GiveUp, LazyPinAttempt, LazyPinSuccess, RetryIn
from encoder_pin_plugin.lazy.attempt import Attempts
from encoder_pin_plugin.lazy.pins import LazyPin, State
from encoder_pin_plugin.lazy.ports import Outcome
from encoder_pin_plugin.nodes.base import Told
from encoder_pin_plugin.settings import load_settings
from tests.cids import cid_of
from tests.conftest import until
from tests.fakes.memory_node import MemoryNode

NOW = 1_800_000_000_000
JOB = CompletedJob(cid=cid_of("a"), job_id="job-1")
PIN = LazyPin(
    key="k", job=JOB, state=State.PENDING, waiting_since=NOW - 1000, next_at=NOW, attempts=1, tries=4, turn_at=NOW
)


class Clock:
    """Half a second passes with each look at the clock that only counts up."""

    def __init__(self) -> None:
        self.passed = 0.0

    def wall(self) -> int:
        return NOW + 9_000

    def steady(self) -> float:
        self.passed += 0.5
        return self.passed

    def boot(self) -> str:
        return "one"


class Decisions:
    """Decides as it is told to."""

    def __init__(self, decision: RetryIn | GiveUp | Exception) -> None:
        self.decision = decision
        self.asked: list[LazyPinAttempt] = []
        self.told: list[LazyPinSuccess] = []

    def attempt_failed(self, attempt: LazyPinAttempt) -> RetryIn | GiveUp:
        self.asked.append(attempt)
        if isinstance(self.decision, Exception):
            raise self.decision
        return self.decision

    def succeeded(self, success: LazyPinSuccess) -> None:
        self.told.append(success)


class Try:
    """One attempt on a node in memory, and what it posts. `made` are those whose prover may still wait for claims."""

    made: ClassVar[list[Attempts]] = []

    def __init__(self, folder: Path, decision: RetryIn | GiveUp | Exception | None = None, **settings: Any) -> None:
        self.node = MemoryNode()
        self.decisions = Decisions(decision or RetryIn(seconds=42))
        self.posted: list[Outcome] = []
        self.settings = load_settings({}, folder, **({"data_dir": folder, "node_name": "encoder-1"} | settings))
        self.attempts = Attempts(self.node, self.settings, self.decisions, Clock(), self.posted.append)
        self.made.append(self.attempts)

    def run(self, pin: LazyPin = PIN) -> Outcome:
        self.attempts.run(pin)
        until(lambda: self.posted)
        (outcome,) = self.posted
        return outcome


def answering(*answers: Told) -> Callable[..., Mapping[str, Told]]:
    """A node's answers to one question after the other; the last one repeats."""
    left = list(answers)

    def pinned(cids: Sequence[str], **_: object) -> Mapping[str, Told]:
        told = left.pop(0) if len(left) > 1 else left[0]
        return dict.fromkeys(cids, told)

    return pinned


@pytest.fixture(autouse=True)
def provers_end() -> Iterator[None]:
    """Let each prover go with its test."""
    yield
    while Try.made:
        Try.made.pop().close()
