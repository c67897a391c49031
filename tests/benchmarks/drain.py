"""Draining lazy pins on a real supernode, proofs included, against raw RPC and against a real Cluster peer."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import requests

from encoder_hookspecs.events import CompletedJob
from examples.nodes import ClusterPeer, KuboDaemon
from tests.benchmarks.jobs import host, settings_for
from tests.benchmarks.lines import Line, Run
from tests.benchmarks.measure import Pace, by_round, in_turns, median, pace
from tests.benchmarks.videos import CONCURRENCY, TwoNodes, make_videos, pin_raw, two_nodes


def drain(run: Run) -> Iterator[Line]:
    """Lazy pins drained on a real Kubo, against raw pin/add and a real Cluster peer on the same node."""
    rounds, slice_size = 3, run.sized(2000, 100)
    with two_nodes(run.folder) as nodes, ClusterPeer(run.folder / "peer", nodes.remote) as peer:
        run.say(f"making {3 * rounds * slice_size} videos")
        slices = _slices(make_videos(nodes.local, run.folder, 3 * rounds * slice_size), slice_size)
        folders = (run.folder / f"data-{number}" for number in range(rounds))
        paces = in_turns(
            {
                "raw": lambda: _paced(next(slices), nodes, lambda cids: lambda: pin_raw(nodes.remote.api_url, cids)),
                "ours": lambda: _paced(next(slices), nodes, lambda cids: _worker(next(folders), nodes, cids)),
                "cluster": lambda: _paced(next(slices), nodes, lambda cids: lambda: _pin_by_cluster(peer, cids)),
            },
            rounds,
        )
    yield from _lines(paces, slice_size)


def _slices(cids: list[str], size: int) -> Iterator[list[str]]:
    return (cids[start : start + size] for start in range(0, len(cids), size))


def _paced(cids: list[str], nodes: TwoNodes, prepare: Callable[[list[str]], Callable[[], object]]) -> Pace:
    do = prepare(cids)
    measured = pace(do, len(cids), nodes.pids)
    if missing := set(cids) - nodes.remote.pins():
        raise RuntimeError(f"{len(missing)} of {len(cids)} are not pinned in the end")
    return measured


def _worker(folder: Path, nodes: TwoNodes, cids: list[str]) -> Callable[[], object]:
    """Record the jobs as a host does; what is returned drains them."""
    options = {"ipfs_api_addr": nodes.local.api_multiaddr, "threespeak_ipfs_endpoint": nodes.remote.api_url}
    manager, plugin = host(settings_for(folder, lazy_pin_concurrency=CONCURRENCY, **options))
    for number, cid in enumerate(cids):
        manager.hook.on_job_complete(job=CompletedJob(cid=cid, job_id=f"job-{number}"))
    worker = plugin.service.worker(manager)

    def work() -> None:
        if left := worker.run(drain=True):
            raise RuntimeError(f"{left} of {len(cids)} jobs are left")

    return work


def _pin_by_cluster(peer: ClusterPeer, cids: list[str]) -> None:
    """Sixteen at once are handed to Cluster; then its node is asked until all are really there."""
    with requests.Session() as session, ThreadPoolExecutor(CONCURRENCY) as threads:
        session.trust_env = False
        session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=CONCURRENCY))
        for answer in threads.map(lambda cid: session.post(f"{peer.rest_url}/pins/{cid}"), cids):
            answer.raise_for_status()
    wait_until_pinned(peer.kubo, cids)


def wait_until_pinned(node: KuboDaemon, cids: list[str]) -> None:
    """Wait until the node's own pin set has all of them."""
    while set(cids) - node.pins():
        time.sleep(0.1)


def _lines(paces: dict[str, list[Pace]], count: int) -> Iterator[Line]:
    rates = {name: [one.rate for one in measured] for name, measured in paces.items()}
    costs = ", ".join(f"{name} {sorted(one.cost() for one in measured)[len(measured) // 2]}"
                      for name, measured in paces.items())  # fmt: skip
    what, note = f"{count:,} lazy pins drained, proofs included", f"CPU ms a pin, ours+nodes': {costs}"
    for name, against, aim in (("raw", "raw pin/add, 16 at once", ">= 0.9"), ("cluster", "a Cluster peer", ">= 1.5")):
        yield Line(
            name="drain", what=what, ours=median(rates["ours"]), peer=median(rates[name]), unit="pins/s",
            against=against, aim=aim, note=note, ratios=by_round(rates["ours"], rates[name]),
        )  # fmt: skip
