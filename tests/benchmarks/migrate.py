"""Migrating archived CIDs to a second real Kubo, proofs included, against the ways that operators have today."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from itertools import count, islice
from pathlib import Path

from encoder_pin_plugin.archive.files import ARCHIVE_NAME
from encoder_pin_plugin.archive.record import ArchiveRecord
from examples.nodes import ClusterPeer, cluster_ctl_binary
from tests.benchmarks.drain import wait_until_pinned
from tests.benchmarks.far_away import DELAY, far_away
from tests.benchmarks.lines import Line, Run
from tests.benchmarks.measure import by_round, in_turns, median, seconds_of
from tests.benchmarks.videos import TwoNodes, make_videos, pin_raw, run_shell, tool, two_nodes

_PEERS = {
    "shell": "the handbook's shell loop",
    "cluster": "ipfs-cluster-ctl in a loop",
    "raw": "raw pin/add, 16 at once",
}
_AIMS = {("pull", "shell"): ">= 10", ("pull", "cluster"): ">= 1.5", ("pull", "raw"): ">= 0.9",
         ("push", "shell"): ">= 20", ("push", "cluster"): ">= 3"}  # fmt: skip

_LOOP = """while IFS= read -r line; do
  hash=$(echo "$line" | {hash})
  curl -s -X POST "{url}/api/v0/pin/add?arg=$hash" > /dev/null || exit 1
done < {archive}"""
"""The handbook's loop, without what it prints."""


def migrate(run: Run) -> Iterator[Line]:
    """Archived CIDs pinned and proved on a second Kubo, against shell loop, Cluster and raw RPC."""
    yield from _race(run, far=False)


def migrate_far(run: Run) -> Iterator[Line]:
    """The same, with the target's API 20 ms away each way."""
    yield from _race(run, far=True)


def _race(run: Run, *, far: bool) -> Iterator[Line]:
    rounds, size, few = 2, run.sized(1000, 100), run.sized(100, 20)
    with ExitStack() as stack:
        nodes = stack.enter_context(two_nodes(run.folder))
        peer = stack.enter_context(ClusterPeer(run.folder / "peer", nodes.remote))
        urls = {"kubo": nodes.remote.api_url, "cluster": peer.rest_url}
        if far:
            urls = {name: stack.enter_context(far_away(url)) for name, url in urls.items()}
        ways = _ways(run, nodes, urls)
        sizes = {"pull": size, "push": size, "raw": size, "cluster": 2 * few, "shell": few}
        run.say(f"making {rounds * sum(sizes.values())} videos")
        cids = iter(make_videos(nodes.local, run.folder, rounds * sum(sizes.values())))
        rates = in_turns({name: partial(_rate, nodes, ways[name], cids, sizes[name]) for name in sizes}, rounds)
    where = f", API {DELAY * 1e3:.0f} ms away each way" if far else ""
    for mode in ("pull", "push"):
        for name, against in _PEERS.items():
            yield Line(
                name="migrate_far" if far else "migrate", what=f"{rounds * size} CIDs, {mode}, proved{where}",
                ours=median(rates[mode]), peer=median(rates[name]), unit="CIDs/s", against=against,
                aim=_AIMS.get((mode, name), ""), ratios=by_round(rates[mode], rates[name]),
            )  # fmt: skip


def _rate(nodes: TwoNodes, way: Callable[[list[str]], object], source: Iterator[str], size: int) -> float:
    cids = list(islice(source, size))
    seconds = seconds_of(lambda: way(cids))
    if missing := set(cids) - nodes.remote.pins():
        raise RuntimeError(f"{len(missing)} of {len(cids)} are not pinned in the end")
    return len(cids) / seconds


def _ways(run: Run, nodes: TwoNodes, urls: Mapping[str, str]) -> dict[str, Callable[[list[str]], object]]:
    folders = (run.folder / f"archive-{number}" for number in count())
    return {
        "pull": lambda cids: run_migration(nodes, urls["kubo"], write_archive(next(folders), cids), "pull"),
        "push": lambda cids: run_migration(nodes, urls["kubo"], write_archive(next(folders), cids), "push"),
        "raw": lambda cids: pin_raw(urls["kubo"], cids),
        "cluster": lambda cids: _by_cluster(nodes, urls["cluster"], cids),
        "shell": lambda cids: _by_shell(urls["kubo"], write_archive(next(folders), cids)),
    }


def write_archive(folder: Path, cids: list[str], *, size_mb: float = 0.015) -> Path:
    """A data folder whose archive has a line for each CID."""
    folder.mkdir()
    records = (
        ArchiveRecord(
            hash=cid, job_id=f"job-{number}", size_mb=size_mb, type="directory", failed_lazy_attempts=3,
            local_pin_timestamp="2025-10-28T10:30:00.000Z", node_id="encoder-1",
        ) for number, cid in enumerate(cids)
    )  # fmt: skip
    (folder / ARCHIVE_NAME).write_bytes(b"".join(record.line() for record in records))
    return folder


def run_migration(nodes: TwoNodes, url: str, folder: Path, transfer: str) -> int:
    """`encoder-pin migrate`, as an operator runs it; returns its highest resident memory in KB."""
    command = [sys.executable, "-m", "encoder_pin_plugin", "--data-dir", str(folder), "migrate", "--json",
               "--to", f"kubo+{url}", "--transfer", transfer]  # fmt: skip
    out = folder / "said"
    with out.open("wb") as file:
        child = subprocess.Popen(
            command, stdout=file, stderr=file, env=dict(os.environ) | {"IPFS_API_ADDR": nodes.local.api_multiaddr}
        )
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise RuntimeError(f"encoder-pin migrate ended with {child.returncode}: {out.read_text()[-2000:]}")
    return usage.ru_maxrss


def _by_shell(url: str, folder: Path) -> None:
    read = "jq -r '.hash'" if tool("jq") else """sed 's/.*"hash":"\\([^"]*\\)".*/\\1/'"""
    run_shell(_LOOP.format(hash=read, url=url, archive=folder / ARCHIVE_NAME))


def _by_cluster(nodes: TwoNodes, url: str, cids: list[str]) -> None:
    host = f"/ip4/127.0.0.1/tcp/{url.rsplit(':', 1)[1]}"
    ctl = f"{cluster_ctl_binary()} --host {host} pin add --no-status"
    run_shell("\n".join(f"{ctl} {cid} > /dev/null || exit 1" for cid in cids))
    wait_until_pinned(nodes.remote, cids)


def large(run: Run) -> Iterator[Line]:
    """One video of 1 GB pushed: the memory that it takes, over that of pushing next to nothing."""
    size = run.sized(1000, 100)
    with two_nodes(run.folder) as nodes:
        run.say(f"making a video of {size} MB")
        small, big = (_video(nodes, run.folder / name, mb) for name, mb in (("small", 0), ("big", size)))
        idle = run_migration(nodes, nodes.remote.api_url, write_archive(run.folder / "a", [small]), "push")
        folder, used = write_archive(run.folder / "b", [big], size_mb=size), []
        seconds = seconds_of(lambda: used.append(run_migration(nodes, nodes.remote.api_url, folder, "push")))
    yield Line(
        name="large", what=f"memory over idle, one video of {size} MB pushed", ours=(used[0] - idle) / 1024,
        peer=100.0, unit="MB", against="the limit", aim="< 1",
        note=f"at its highest {used[0] / 1024:.0f} MB, idle {idle / 1024:.0f}; {size / seconds:.0f} MB/s, proved",
    )  # fmt: skip


def _video(nodes: TwoNodes, path: Path, mb: int) -> str:
    with path.open("wb") as file:
        file.write(os.urandom(1000))
        for _ in range(mb):
            file.write(os.urandom(10**6))
    cid = nodes.local.add(path)
    path.unlink()
    return cid
