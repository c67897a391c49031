"""What a benchmark needs of nodes: two of them, thousands of small videos, and ways to pin them."""

from __future__ import annotations

import http.client
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from examples.nodes import KuboDaemon

CONCURRENCY = 16
"""Pins at once, ours and the peers'."""


@dataclass(frozen=True, kw_only=True)
class TwoNodes:
    """An encoder's node, and the one that is to pin; connected."""

    local: KuboDaemon
    remote: KuboDaemon

    @property
    def pids(self) -> tuple[int, int]:
        return self.local.pid, self.remote.pid


@contextmanager
def two_nodes(folder: Path) -> Iterator[TwoNodes]:
    """Two real Kubo daemons for a while."""
    with KuboDaemon(folder / "local") as local, KuboDaemon(folder / "remote") as remote:
        remote.connect(local)
        yield TwoNodes(local=local, remote=remote)


def make_videos(node: KuboDaemon, folder: Path, count: int) -> list[str]:
    """Add `count` directories of three small files to a node, each pinned by itself; their CIDs.

    Each looks like a finished video to a node: a directory with one block for each file.
    """
    source = folder / "videos"
    for number in range(count):
        video = source / f"{number:06}"
        video.mkdir(parents=True)
        for part in range(3):
            (video / f"part-{part}.ts").write_bytes(os.urandom(5000))
    whole = node.add(source, pin=False)
    shutil.rmtree(source)
    cids = [line.split()[0] for line in node.command("ls", whole, timeout=600).splitlines()]
    pin_raw(node.api_url, cids)
    return cids


class RawPins:
    """`pin/add` by RPC as bare as it can be: one kept connection a thread, no name, no progress, no question."""

    def __init__(self, url: str) -> None:
        self._host = urlsplit(url).netloc
        self._mine = threading.local()

    def __call__(self, cid: str) -> None:
        connection: http.client.HTTPConnection | None = getattr(self._mine, "connection", None)
        if connection is None:
            connection = self._mine.connection = http.client.HTTPConnection(self._host)
        connection.request("POST", f"/api/v0/pin/add?arg={cid}")
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"pin/add of {cid}: {answer.status} {body!r}")


def pin_raw(url: str, cids: Sequence[str]) -> None:
    """Pin all of them by raw RPC, sixteen at once."""
    with ThreadPoolExecutor(CONCURRENCY) as threads:
        list(threads.map(RawPins(url), cids))


def tool(name: str) -> str | None:
    """A program that the peer's side needs, where the machine has it."""
    return shutil.which(name)


def run_shell(script: str, *, cwd: Path | None = None) -> str:
    """What a shell line printed; raises where it failed."""
    return subprocess.run(["sh", "-c", script], cwd=cwd, check=True, capture_output=True, text=True).stdout
