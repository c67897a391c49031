"""What the rigs share once they have broken something: try, judge, say how far it is, and count up.

A place is judged twice: as it lies there after the fault, and once a recovery has worked it off.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from tests.faults.actors import Place
from tests.faults.checker import Verdict, check
from tests.faults.folder_node import pins_of
from tests.faults.forkserver import ForkServer
from tests.faults.rig import RigReport, Say, spread

T = TypeVar("T")

Judged = tuple[Verdict, float | None]
"""A verdict, and the seconds until the recovery could work; None where there was none."""


def try_each(
    work: Sequence[T], attempt: Callable[[int, T], Judged], say: Say, *, what: str, every: int, until_seen: bool = False
) -> list[Judged]:
    """Try one fault after the other.

    Args:
        work: the faults.
        attempt: tries and judges one; it is given its number as well, beginning at 0.
        say: told how far it is.
        what: the faults in words, "meetings".
        every: how many between two reports; a verdict that is not clean is always said.
        until_seen: a bug is planted: stop at the first verdict that is not clean, for that was the question.
    """
    results = list[Judged]()
    for number, fault in enumerate(work):
        results.append(attempt(number, fault))
        verdict, _ = results[-1]
        if len(results) % every == 0 or not verdict.clean:
            say(f"{len(results)} of {len(work)} {what} {' '.join(verdict.problems()[:2])[:600]}")
        if until_seen and not verdict.clean:
            break
    return results


def all_clean(results: Sequence[Judged]) -> bool:
    """Whether nothing was found."""
    return all(verdict.clean for verdict, _ in results)


def judge(
    server: ForkServer, place: Place, *, tail_may_be_torn: bool = False, damaged: bool = False,
    ends_are_final: bool = False, supernode_down: bool = False,
) -> Judged:  # fmt: skip
    """Judge what lies there, unless it was damaged before, then work it off, with the supernode or without, and judge
    again; seconds until the recovery could work."""
    before = Verdict() if damaged else look(place, tail_may_be_torn=tail_may_be_torn, ends_are_final=ends_are_final)
    raise_nodes(place)
    if supernode_down:
        (place.supernode / "down").touch()
    told = server.run("tests.faults.actors:recover", root=str(place.root), data=str(place.data))
    after = look(place, drained=True)
    if told["left"]:
        after.lost.append(f"{told['left']:.0f} jobs are open after a drain")
    after.add(before)
    return after, told["healed"]


def look(
    place: Place, *, drained: bool = False, tail_may_be_torn: bool = False, ends_are_final: bool = False,
    all_here: bool = False,
) -> Verdict:  # fmt: skip
    """The checker's verdict on a place as it is."""
    verdict = check(
        place.data, place.acks, supernode=pins_of(place.supernode), local=pins_of(place.local),
        target=pins_of(place.target), drained=drained, tail_may_be_torn=tail_may_be_torn,
        ends_are_final=ends_are_final, all_here=all_here,
    )  # fmt: skip
    verdict.torn += [f"a reader saw {path.read_bytes()[:200]!r}" for path in place.acks.glob("*.torn")]
    verdict.lost += [f"a round of a worker: {path.read_text()[-400:]!r}" for path in place.acks.glob("*.bug")]
    return verdict


def raise_nodes(place: Place) -> None:
    """Have every node answer, always."""
    for node in (place.supernode, place.local):
        for flag in ("down", "flaky"):
            (node / flag).unlink(missing_ok=True)


def report(fault: str, tried: int, results: Sequence[Judged], *, folder: Path, seed: int) -> RigReport:
    """The row for some verdicts."""
    verdicts = [verdict for verdict, _ in results]
    problems = [problem for verdict in verdicts for problem in verdict.problems()]
    kept = (f"seed {seed}, kept in {folder}", *problems[:5]) if problems else (f"seed {seed}",)
    return RigReport(
        fault=fault, tried=tried, lost=sum(len(verdict.lost) for verdict in verdicts),
        doubled=sum(len(verdict.doubled) for verdict in verdicts), torn=sum(len(verdict.torn) for verdict in verdicts),
        healed_in=spread([seconds for _, seconds in results if seconds is not None]), notes=kept,
    )  # fmt: skip
