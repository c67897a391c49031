"""What went wrong in a child is in the error itself: on a machine far away nobody can look into a log."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import kills
from tests.faults.forkserver import LAST, Child, ForkServer
from tests.faults.stepping import state_of

pytestmark = [pytest.mark.faults]

FAILING = "tests.faults.scenarios:no_such_function"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ForkServer]:
    with ForkServer(tmp_path / "children.log") as server:
        yield server


def test_the_error_of_a_child_carries_its_traceback(server: ForkServer) -> None:
    child = server.start(FAILING)
    with pytest.raises(RuntimeError, match=rf"child {child.pid} ended with 1: see {server.log}") as failure:
        child.result(60)
    assert f"    child {child.pid}, {FAILING}: Traceback" in str(failure.value)
    assert "has no attribute 'no_such_function'" in str(failure.value).splitlines()[-1]


def test_of_a_long_log_only_the_end_is_told(server: ForkServer) -> None:
    server.log.write_bytes("ä".encode() * LAST + b"\nthe end\n")
    words = server.last_words()
    assert words.endswith("the end")
    assert len(words.encode()) < 2 * LAST


def test_a_log_without_a_word_is_said_to_be_empty(server: ForkServer) -> None:
    assert server.last_words() == f"see {server.log}, which is empty"


def test_a_process_of_the_kills_that_ended_by_itself_is_told_with_its_reason(server: ForkServer) -> None:
    slot = kills._Slot(FAILING, {}, server.start(FAILING), time.monotonic())
    _until_ended(slot.child)
    with pytest.raises(RuntimeError, match=f"{slot.child.pid}, ended by itself with 1: see {server.log}") as failure:
        kills._act(server, random.Random(1), [slot], slot)
    assert FAILING in str(failure.value)
    assert "AttributeError" in str(failure.value)


def _until_ended(child: Child) -> None:
    while state_of(child.pid) != "Z":
        time.sleep(0.01)
