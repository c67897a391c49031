"""Nodes that lie and hang, before the real worker: no early "pinned", no early line, no early unpin.

Every lie of the fake Kubo node's table and every odd thing that a Cluster peer can say is told as the supernode's word,
and what a Kubo node can say as the local node's. The oracle is what the fake really holds. When the node turns honest,
every job must come to its proper end.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tests.fakes.cluster_lies import CLUSTER_LIES
from tests.fakes.kubo_lies import LIES
from tests.faults.forkserver import ForkServer
from tests.faults.liars import PEER_MAPS, TELLS
from tests.faults.rig import RigReport, Say, scratch

TIMES = 50
"""How often each lie is told."""


@dataclass(frozen=True)
class Kind:
    """One lie, told by one node, about one command or all."""

    role: str
    lie: str
    only: str = ""

    def __str__(self) -> str:
        return f"{self.role}: {self.lie}" + (f" to {self.only}" if self.only else "")


def kinds() -> Iterator[Kind]:
    """All kinds of lie."""
    for role in ("supernode", "local"):
        for name, lie in LIES.items():
            if lie.only:
                yield Kind(role, name, next(iter(lie.only)))
            else:
                yield Kind(role, name)
                yield Kind(role, name, random.Random(name + role).choice(["pin/add", "pin/ls", "dag/stat"]))
    for name, lie in LIES.items():
        if not lie.only:
            yield Kind("cluster", name)
    for name in PEER_MAPS:
        yield Kind("cluster says", name)
    for name in CLUSTER_LIES:
        yield Kind(TELLS, name)


def run(seed: int, count: int, say: Say, *, chosen: Sequence[Kind] | None = None, times: int = TIMES) -> RigReport:
    """Tell lies: every kind, or `count / times` of them where that is fewer."""
    dice, every = random.Random(seed), list(chosen or kinds())
    if len(every) * times > count:
        every = dice.sample(every, max(count // times, 1))
    results: list[dict[str, object]] = []
    with scratch("lies", keep=lambda: any(result["problems"] for result in results), memory=True) as folder:
        halves = [list(enumerate(every))[half::2] for half in range(2)]
        with ThreadPoolExecutor(2) as pool:

            def tell(half: int) -> None:
                (folder / f"server-{half}").mkdir()
                with ForkServer(folder / f"server-{half}" / "children.log") as server:
                    for done, (number, kind) in enumerate(halves[half], start=1):
                        results.append(_tell(server, str(folder / f"{number}"), kind, times))
                        if done % 20 == 0 or results[-1]["problems"]:
                            say(f"{done} of {len(halves[half])} kinds of this half {results[-1]['problems'] or ''}")

            list(pool.map(tell, range(2)))
    problems = [str(problem) for result in results for problem in result["problems"]]  # type: ignore[attr-defined]
    told = sum(int(str(result["told"])) for result in results)
    return RigReport(
        fault="a lying or hanging node", tried=told, lost=len(problems),
        notes=(f"seed {seed}; {len(every)} kinds of lie, {times} jobs each", *problems[:8]),
    )  # fmt: skip


def _tell(server: ForkServer, root: str, kind: Kind, times: int) -> dict[str, object]:
    try:
        result = server.run(
            "tests.faults.liars:lie_to_a_worker", within=300, root=root, role=kind.role, lie=kind.lie, only=kind.only,
            times=times,
        )  # fmt: skip
    except (RuntimeError, TimeoutError) as error:
        return {"told": 0, "problems": [f"{kind}: {error} [{root}]"]}
    result["problems"] = [f"{kind}: {problem} [{root}]" for problem in result["problems"]]
    return dict(result)
