"""Real nodes for the tests of this folder: a few for the whole session, and fresh ones for tests that break them."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from examples.nodes import OLD_KUBO_VERSION, ClusterPeer, KuboDaemon, cluster_service_binary, kubo_binary, make_dag
from tests import conftest
from tests.cids import directory_cid
from tests.real.migrating import Encoder

_BINARY_BEHIND: dict[str, Callable[..., Path]] = {
    "kubo_binary": kubo_binary,
    "old_kubo": lambda say: kubo_binary(OLD_KUBO_VERSION, say=say),
    "cluster_peer": lambda say: cluster_service_binary(say=say),
}


def pytest_collection_finish(session: pytest.Session) -> None:
    """Get the binaries before the first test: a first build takes minutes, and no test's time limit should pay."""
    if session.config.option.collectonly:
        return
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    say = reporter.write_line if reporter else print
    wanted = {name for item in session.items for name in getattr(item, "fixturenames", ())}
    for fixture in _BINARY_BEHIND.keys() & wanted:
        _BINARY_BEHIND[fixture](say=say)


@pytest.fixture(scope="session", name="kubo_binary")
def the_kubo_binary() -> Path:
    return kubo_binary()


@pytest.fixture(scope="session")
def local_kubo(kubo_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KuboDaemon]:
    """The encoder's own node. Leave it running and connected: other tests use it too."""
    with KuboDaemon(tmp_path_factory.mktemp("local-kubo"), kubo_binary) as node:
        yield node


@pytest.fixture(scope="session")
def super_kubo(
    kubo_binary: Path, local_kubo: KuboDaemon, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[KuboDaemon]:
    """The supernode, connected to the encoder's node. Leave it so, as above."""
    with KuboDaemon(tmp_path_factory.mktemp("super-kubo"), kubo_binary) as node:
        node.connect(local_kubo)
        yield node


@pytest.fixture(scope="session")
def old_kubo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KuboDaemon]:
    """A node of an older line, connected to nobody."""
    with KuboDaemon(tmp_path_factory.mktemp("old-kubo"), version=OLD_KUBO_VERSION) as node:
        yield node


@pytest.fixture(scope="session")
def cluster_peer(kubo_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterPeer]:
    """A Cluster of one peer, in front of a Kubo of its own (`cluster_peer.kubo`)."""
    folder = tmp_path_factory.mktemp("cluster")
    with KuboDaemon(folder / "kubo", kubo_binary) as kubo, ClusterPeer(folder / "peer", kubo) as peer:
        yield peer


@pytest.fixture
def cid(cluster_peer: ClusterPeer) -> str:
    """Of content that the Kubo behind the cluster has, and has not pinned."""
    return make_dag(cluster_peer.kubo, pin=False)


@pytest.fixture
def make_kubo(kubo_binary: Path, tmp_path: Path) -> Iterator[Callable[..., KuboDaemon]]:
    """Nodes that a test may stop, kill, freeze and damage: `make_kubo(offline=True)`, else as `KuboDaemon`."""
    with ExitStack() as running:
        made: list[KuboDaemon] = []

        def make(*, start: bool = True, **options: Any) -> KuboDaemon:
            binary = None if "version" in options else kubo_binary
            node = KuboDaemon(tmp_path / f"kubo-{len(made) + 1}", binary, **options)
            made.append(node)
            running.callback(node.stop)
            return node.start() if start else node

        yield make


@pytest.fixture
def encoder(make_kubo: Callable[..., KuboDaemon], tmp_path: Path) -> Encoder:
    """An encoder that has nothing to migrate yet, and an empty Kubo to migrate to."""
    return Encoder(tmp_path / "data", make_kubo(), make_kubo())


def until(condition: Callable[[], object], seconds: float = 120.0) -> None:
    """Wait for what a node does in its own time; how long it takes is no matter."""
    conftest.until(condition, seconds)


def strange_cids(count: int) -> list[str]:
    """CIDs that nobody has."""
    return [directory_cid(os.urandom(8)) for _ in range(count)]
