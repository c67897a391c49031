"""The child of the lies rig: a worker between a node that lies and one that does not, and what came of it."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pluggy

from encoder_hookspecs.events import CompletedJob
from encoder_hookspecs.specs import EncoderSpecs
from encoder_pin_plugin.durable import SharedSync
from encoder_pin_plugin.lazy import dispatch, retry, worker
from encoder_pin_plugin.nodes.base import Limits
from encoder_pin_plugin.nodes.cluster import ClusterNode
from encoder_pin_plugin.nodes.kubo import KuboNode, Patience
from encoder_pin_plugin.nodes.local import LocalPinner
from encoder_pin_plugin.plugin import PinPlugin
from encoder_pin_plugin.settings import load_settings
from tests.cids import cid_of
from tests.fakes.cluster_lies import CLUSTER_LIES, ClusterLie
from tests.fakes.cluster_peer import FakeClusterPeer
from tests.fakes.kubo_honest import Content
from tests.fakes.kubo_node import FakeKubo
from tests.faults.actors import quicken
from tests.faults.checker import Verdict, _lines, _rows

TELLS = "cluster tells"
"""The role in which a Cluster tells one of `CLUSTER_LIES`, all peers having the pin queued in truth."""

QUICK = Patience(ask=0.4, walk=0.4)
LIMITS = Limits(stall=0.4, total=0.6)

PEER_MAPS: dict[str, dict[str, Any]] = {
    "nobody": {},
    "unpinned": {"peer-1": "unpinned"},
    "queued for ever": {"peer-1": "pin_queued"},
    "pinning for ever": {"peer-1": "pinning"},
    "an error": {"peer-1": "pin_error: context canceled"},
    "a dead peer": {"peer-1": "cluster_error: dial backoff"},
    "remote only": {"peer-1": "remote"},
    "unexpectedly unpinned": {"peer-1": "unexpectedly_unpinned"},
    "capitals": {"peer-1": "PINNED"},
    "a space": {"peer-1": "pinned "},
    "a new word": {"peer-1": "pinned_soon"},
    "no word": {"peer-1": ""},
    "null": {"peer-1": None},
    "a list": {"peer-1": {"status": ["pinned"]}},
    "true": {"peer-1": {"status": True}},
    "a number": {"peer-1": 1},
    "nested": {"peer-1": {"status": {"status": "pinned"}}},
}
"""What a peer can say of a CID that it does not have."""


class _Patient(retry.Breaker):
    """A breaker that never opens, so that each job is lied to."""

    def failed(self, reason: Any, now: float) -> bool:
        return False


class Stage:
    """A data folder, a supernode and a local node, and the worker between them."""

    def __init__(self, root: Path, role: str, stack: ExitStack, told: ClusterLie | None = None) -> None:
        self.local = stack.enter_context(FakeKubo())
        self.role, self.cluster = role, role.startswith("cluster")
        self.told = told or ClusterLie(tell=lambda _: None)
        self.upper: Any = stack.enter_context(FakeClusterPeer(self.told.peers) if self.cluster else FakeKubo())
        settings = load_settings(
            {}, root, data_dir=root / "data", node_name="encoder-1", lazy_pin_backoff="0.05",
            threespeak_ipfs_endpoint="http://127.0.0.1:9", hold_local="off" if role == "local" else "auto",
        )  # fmt: skip
        self.settings = replace(
            settings,
            lazy_pin_stall_timeout=LIMITS.stall,
            lazy_pin_timeout=LIMITS.total,
            local_fallback_threshold=1,
            fallback_after=1.5,  # what counts as no attempt (401, 403, ...) ends by its age
        )
        self.manager = pluggy.PluginManager("encoder")
        self.manager.add_hookspecs(EncoderSpecs)
        self.plugin = PinPlugin(self.settings)
        self.manager.register(self.plugin, "pin")
        self._connect()

    @property
    def liar(self) -> Any:
        return self.local if self.role == "local" else self.upper

    def _connect(self) -> None:
        local = KuboNode(self.local.url, patience=QUICK)
        address = "http://127.0.0.1:9" if self.role == "local" else self.upper.url
        node: Any = KuboNode(address, patience=QUICK)
        if self.cluster:
            node = ClusterNode(address, ask_seconds=0.4, replication_min=self.told.copies)
        pinner = LocalPinner(node=local, limits=LIMITS, sync=SharedSync())
        self.plugin.service.__dict__.update(local=local, supernode=node, pinner=pinner)

    def complete(self, count: int) -> list[str]:
        cids = [cid_of(f"job-{number}") for number in range(count)]
        for number, cid in enumerate(cids):
            self.local.content[cid] = Content()
            if not self.cluster:
                self.upper.content[cid] = Content()
            self.manager.hook.on_job_complete(job=CompletedJob(cid=cid, job_id=f"job-{number}"))
        return cids

    def work(self) -> None:
        self.plugin.service.worker(self.manager).run(drain=True)

    def work_for(self, seconds: float) -> None:
        """Work on, so that what is held might be released."""
        working = self.plugin.service.worker(self.manager)
        thread = threading.Thread(target=working.run, daemon=True)
        thread.start()
        time.sleep(seconds)
        working.stop(patience=2)
        thread.join(10)

    def really_pinned(self, cid: str) -> bool:
        if not self.cluster:
            return cid in self.upper.pins
        return cid in self.upper.pinset and cid not in self.upper._said and not self.upper._lies

    def rows_and_lines(self) -> tuple[dict[tuple[str, str], str], Any]:
        data, verdict = self.settings.data_dir, Verdict()
        return _rows(data / "lazy-pins.db", verdict), _lines(data / "local-fallback-pins.jsonl", verdict, tail_ok=False)


def lie_to_a_worker(root: str, role: str, lie: str, only: str, times: int) -> dict[str, Any]:
    """Lie to a worker, look, be honest again, look again.

    Returns:
        How many calls the liar took, and what was wrong.
    """
    quicken()
    dispatch.LEASE = 120_000  # what hangs is to be waited for
    worker.Breaker = functools.partial(_Patient, first=0.03, longest=0.2)  # type: ignore[attr-defined,assignment]
    with ExitStack() as stack:
        stage = Stage(Path(root), role, stack, CLUSTER_LIES.get(lie) if role == TELLS else None)
        cids = stage.complete(times)
        _begin(stage, lie, only, cids)
        stage.work()
        if only == "dag/stat" and role == "supernode":
            stage.work_for(0.8)
        problems = _early(stage)
        told = len(stage.liar.calls)
        _be_honest(stage)
        stage.work()
        return {"told": told, "problems": problems + _unfinished(stage)}


def _begin(stage: Stage, lie: str, only: str, cids: list[str]) -> None:
    if stage.role == "cluster says":
        for cid in cids:
            stage.upper.say(cid, PEER_MAPS[lie])
    elif stage.role == TELLS:
        for cid in cids:
            stage.upper.say(cid, dict.fromkeys(stage.told.peers, "pin_queued"))
        stage.upper.lie(stage.told.tell, to=stage.told.to)
    elif stage.cluster:
        stage.upper.lie(lie)
    else:
        stage.liar.lie(lie, only={only} if only else None)


def _be_honest(stage: Stage) -> None:
    stage.liar.honest()
    if stage.cluster:
        stage.upper._said.clear()


def _early(stage: Stage) -> list[str]:
    """What was believed though it was not so."""
    rows, lines = stage.rows_and_lines()
    problems = [
        f"{job} is pinned, it says"
        for job, state in rows.items()
        if state == "pinned" and not stage.really_pinned(job[0])
    ]
    problems += [f"{job} is archived, and its line is not there" for job, state in rows.items()
                 if state == "archived" and not lines[job]]  # fmt: skip
    problems += [f"a line for {job}, and no local pin" for job in lines if job[0] not in stage.local.pins]
    released = [call.args for call in stage.local.asked("pin/rm")]
    if released:
        problems.append(f"unpinned {released[0]} and {len(released) - 1} more")
    return problems[:5]


def _unfinished(stage: Stage) -> list[str]:
    """What did not come to its end among honest nodes."""
    rows, lines = stage.rows_and_lines()
    open_jobs = [job for job, state in rows.items() if state not in ("pinned", "archived")]
    doubled = [job for job, count in lines.items() if count > 1]
    unsafe = [
        job for job, state in rows.items()
        if not (job[0] in stage.local.pins if state == "archived" else stage.really_pinned(job[0]))
    ]  # fmt: skip
    return [
        f"{what}: {jobs[:3]}"
        for what, jobs in (("open still", open_jobs), ("doubled", doubled), ("unsafe", unsafe))
        if jobs
    ]


def answers(lie: Callable[[Any], object] | str, command: str) -> tuple[bytes, bytes]:
    """What a client gets, byte for byte, from the honest fake and from the lying one; for the test of the lies."""
    import socket

    replies = []
    with FakeKubo() as node:
        cid = cid_of("asked")
        node.content[cid] = Content()
        if command != "pin/add":
            node.pins[cid] = ""
        for lying in (False, True):
            if lying:
                node.lie(str(lie))
            with socket.create_connection(("127.0.0.1", node.port), timeout=5) as client:
                head = f"POST /api/v0/{command}?arg={cid} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
                client.sendall(head.encode())
                client.settimeout(0.3)
                replies.append(_received(client))
    return replies[0], replies[1]


def _received(client: Any) -> bytes:
    reply, end = b"", time.monotonic() + 0.6
    try:
        while len(reply) < 100_000 and time.monotonic() < end and (piece := client.recv(65536)):
            reply += piece
    except OSError:
        return reply
    return reply
