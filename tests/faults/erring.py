"""The child of the errors rig: acts while its system calls fail, in one thread, and says what came of it.

It tells its parent by making a pipe node (a call that no error is injected into) that it has acted, waits until nothing
is injected any more, and only then writes down what was acknowledged.
"""

from __future__ import annotations

import os
import resource
import signal
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from encoder_hookspecs.events import CompletedJob
from encoder_pin_plugin.errors import EncoderPinError
from tests.cids import cid_of
from tests.faults.actors import Journal, Place, manager_of, place_at, plugin_at, through_pluggy
from tests.faults.scenarios import SCENARIOS, single_threaded

TURNS = 8
"""Rounds of a worker whose disk may fail for good; each pauses for 50 ms when it cannot go on."""


def act_among_errors(name: str, root: str, largest: int | None = None) -> dict[str, Any]:
    """Stop; then act.

    Args:
        name: the scenario.
        root: its folder.
        largest: bytes that a file may have meanwhile, so that a longer write is cut short; None for no limit.

    Returns:
        What escaped that is no error of ours.
    """
    single_threaded()
    place = place_at(root)
    act = _intake if name.startswith("intake") else _work if name in _WORKED else SCENARIOS[name].act
    Journal(place, "warm")  # what is loaded late is loaded now
    os.kill(os.getpid(), signal.SIGSTOP)
    with_limit = _limited(largest) if largest is not None else _unlimited
    escaped, acked = with_limit(lambda: _caught(act, place))
    os.mkfifo(place.root / "acted")
    _wait_until_let_go()
    if acked:
        Journal(place, "acks").write(acked.cid, acked.job_id)
    return {"escaped": escaped}


def _caught(act: Callable[[Place], Any], place: Place) -> tuple[str, CompletedJob | None]:
    try:
        done = act(place)
    except EncoderPinError:
        return "", None
    except Exception:  # noqa: BLE001 - that is the question
        return traceback.format_exc()[-600:], None
    return "", done if isinstance(done, CompletedJob) else None


def _intake(place: Place) -> CompletedJob:
    job_id = f"among-errors-{time.time_ns()}"
    job = CompletedJob(cid=cid_of(job_id), job_id=job_id, size_mb=1.5)
    through_pluggy(plugin_at(place))(job)
    return job


def _work(place: Place) -> None:
    plugin = plugin_at(place, local_fallback_threshold=1)
    worker = plugin.service.worker(manager_of(plugin))
    try:
        worker._presence.begin()
        for _ in range(TURNS):
            worker._turn()
            time.sleep(0.01)
    finally:
        worker._leave()


_WORKED = {name for name in SCENARIOS if name.startswith(("retry", "pinned", "fallback"))}


def _unlimited(do: Callable[[], Any]) -> Any:
    return do()


def _limited(largest: int) -> Callable[[Callable[[], Any]], Any]:
    def run(do: Callable[[], Any]) -> Any:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, hard))
        try:
            return do()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return run


def _wait_until_let_go() -> None:
    while True:
        try:
            with Path("/proc/self/status").open() as status:
                if "TracerPid:\t0\n" in status.read():
                    return
        except OSError:
            pass  # it is injected into this one as well
        time.sleep(0.002)
