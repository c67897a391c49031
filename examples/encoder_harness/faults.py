"""What can be wrong with a supernode, done to a real one by signals: down, slow, flapping, back after a while."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from examples.encoder_harness.workplace import Say, Workplace

Fault = Literal["up", "down", "slow", "flapping"]

SLOW = (4.0, 0.3)
"""Seconds frozen and seconds awake: accepts every call at once, answers after a while, like an overloaded machine."""
FLAPPING = (6.0, 4.0)
"""Seconds down and seconds up."""


Pause = Callable[[float], bool]
"""Waits so many seconds; False, at once, when the fault is over."""


@contextmanager
def supernode_fault(place: Workplace, fault: Fault, *, back_after: float | None, say: Say) -> Iterator[None]:
    """Break the supernode so while the block runs; with `back_after`, mend it for good after so many seconds."""
    over, mend = threading.Event(), threading.Event()

    def act() -> None:
        _ACTIONS[fault](place, lambda seconds: not over.wait(seconds), say)
        if mend.is_set():
            _up(place)
            say("the supernode is back for good")

    def end_and_mend() -> None:
        mend.set()
        over.set()

    breaker = threading.Thread(target=act, name="supernode-fault")
    timer = threading.Timer(back_after or 0.0, end_and_mend)
    breaker.start()
    if back_after is not None:
        timer.start()
    try:
        yield
    finally:
        timer.cancel()
        over.set()
        breaker.join()


def _down(place: Workplace, pause: Pause, say: Say) -> None:
    place.supernode.kill()
    say("the supernode is down: killed, connections are refused")
    while pause(3600):
        pass


def _slow(place: Workplace, pause: Pause, say: Say) -> None:
    frozen, awake = SLOW
    say(f"the supernode is slow: of every {frozen + awake:.1f} s it answers during {awake} s")
    for turn in itertools.count():
        place.supernode.thaw() if turn % 2 else place.supernode.freeze()
        if not pause(awake if turn % 2 else frozen):
            break
    place.supernode.thaw()


def _flapping(place: Workplace, pause: Pause, say: Say) -> None:
    down, up = FLAPPING
    for turn in itertools.count():
        if turn % 2:
            _up(place)
            say("the supernode is up again")
        else:
            place.supernode.kill()
            say("the supernode is down")
        if not pause(up if turn % 2 else down):
            break


def _well(_place: Workplace, _pause: Pause, _say: Say) -> None:
    """No fault."""


def _up(place: Workplace) -> None:
    place.supernode.start()
    place.connect()


_ACTIONS: dict[Fault, Callable[[Workplace, Pause, Say], None]] = {
    "up": _well,
    "down": _down,
    "slow": _slow,
    "flapping": _flapping,
}
