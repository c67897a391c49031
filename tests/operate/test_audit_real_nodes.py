"""`audit` and `import` beside real Kubo daemons that really lose pins and blocks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from encoder_pin_plugin.archive.jsonl import Archive
from encoder_pin_plugin.archive.record import ArchiveRecord
from encoder_pin_plugin.lazy.ledger import Ledger
from encoder_pin_plugin.lazy.worker import LEDGER_NAME
from examples.nodes import ClusterPeer, KuboDaemon, make_dag
from tests.archive.former_files import archived, given_up, lines, pending, put, queue
from tests.conftest import until
from tests.operate.conftest import Desk, now

pytestmark = pytest.mark.real

Nodes = tuple[KuboDaemon, KuboDaemon, KuboDaemon]
DAY = 24 * 3600 * 1000


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """Supernode, local node and a permanent server, all connected."""
    folder: Path = tmp_path_factory.mktemp("nodes")
    with KuboDaemon(folder / "s") as supernode, KuboDaemon(folder / "l") as local, KuboDaemon(folder / "p") as server:
        for node in (supernode, server):
            node.connect(local)
        yield supernode, local, server


@pytest.fixture
def encoder(desk: Desk, nodes: Nodes) -> Desk:
    supernode, local, _ = nodes
    desk.env |= {"THREESPEAK_IPFS_ENDPOINT": supernode.api_url, "IPFS_API_ADDR": local.api_multiaddr}
    return desk


def work(encoder: Desk) -> None:
    done = encoder.process("work", "--drain")
    assert done.returncode == 0, done.stderr


def line(encoder: Desk, cid: str) -> None:
    stamp = "2025-10-28T10:30:00.000Z"
    Archive(encoder.data).append(ArchiveRecord(hash=cid, job_id="job-1", local_pin_timestamp=stamp))


def root_and_leaf(node: KuboDaemon) -> tuple[str, str]:
    """A directory of its own content, and one of its blocks."""
    cid = make_dag(node)
    leaf = next(entry["Ref"] for entry in node.rpc("refs", cid, recursive=True))
    return cid, leaf


def test_what_the_supernode_unpinned_is_pinned_there_again(encoder: Desk, nodes: Nodes) -> None:
    supernode, local, _ = nodes
    kept, lost = make_dag(local), make_dag(local)
    encoder.submit("kept", kept)
    encoder.submit("lost", lost)
    work(encoder)
    assert encoder.run("audit").exit_code == 0
    supernode.rpc("pin/rm", lost)
    result = encoder.run("audit")
    assert result.exit_code == 1
    assert f"LOST {lost} of job lost" in result.stdout
    assert "asked about 2 CIDs, 1 there, 1 lost" in result.stdout
    work(encoder)
    assert lost in supernode.pins()
    assert encoder.run("audit").exit_code == 0


def test_what_a_cluster_unpinned_is_pinned_there_again(encoder: Desk, nodes: Nodes, tmp_path: Path) -> None:
    _, local, server = nodes
    with ClusterPeer(tmp_path / "peer", server) as cluster:
        encoder.env |= {"USE_CLUSTER_FOR_PINS": "true", "IPFS_CLUSTER_ENDPOINT": cluster.rest_url}
        cid = make_dag(local)
        encoder.submit("job", cid)
        work(encoder)
        assert encoder.run("audit").exit_code == 0
        cluster.rest("DELETE", f"/pins/{cid}")
        until(lambda: "pinned" not in cluster.statuses(cid).values(), 60)
        assert f"LOST {cid}" in encoder.run("audit").stdout
        work(encoder)
        assert "pinned" in cluster.statuses(cid).values()


def test_the_workers_own_sample_finds_it_too(encoder: Desk, nodes: Nodes) -> None:
    supernode, local, _ = nodes
    cid = make_dag(local)
    encoder.submit("job", cid)
    work(encoder)
    supernode.rpc("pin/rm", cid)
    ledger = Ledger(encoder.data / LEDGER_NAME)
    with ledger.transaction() as db:
        db.execute("INSERT OR REPLACE INTO meta VALUES ('sample', ?)", (f"{now() - 2 * DAY} ",))
    ledger.close()
    encoder.submit("another", make_dag(local))
    with encoder.start("work") as worker:
        try:
            until(lambda: cid in supernode.pins(), 60)
        finally:
            worker.terminate()
            _, err = worker.communicate(timeout=60)
    assert "LOST BY THE SUPERNODE" in err


def test_a_local_pin_that_is_gone_is_made_again(encoder: Desk, nodes: Nodes) -> None:
    _, local, _ = nodes
    cid = make_dag(local)
    line(encoder, cid)
    assert encoder.run("audit").exit_code == 0
    local.rpc("pin/rm", cid)
    assert encoder.run("audit", "--dry-run").exit_code == 1
    assert cid not in local.pins()
    result = encoder.run("audit")
    assert result.exit_code == 1
    assert "pinned again here, whole" in result.stdout
    assert cid in local.pins()
    assert encoder.run("audit").exit_code == 0


def test_a_pin_with_a_lost_block_is_healed_from_a_copy_and_never_dropped(encoder: Desk, nodes: Nodes) -> None:
    supernode, local, _ = nodes
    cid, leaf = root_and_leaf(local)
    supernode.rpc("pin/add", cid)
    line(encoder, cid)
    local.remove_block(leaf)
    result = encoder.run("audit")
    assert result.exit_code == 1
    assert f"LOST {cid}" in result.stdout
    assert "pinned again here, whole" in result.stdout, result.stdout
    assert encoder.run("audit").exit_code == 0


def test_a_block_that_nobody_has_is_named_and_the_pin_stays(encoder: Desk, nodes: Nodes) -> None:
    _, local, _ = nodes
    cid, leaf = root_and_leaf(local)
    line(encoder, cid)
    local.remove_block(leaf)
    encoder.env |= {"LAZY_PIN_TIMEOUT": "5", "LAZY_PIN_STALL_TIMEOUT": "3"}
    result = encoder.run("audit")
    assert result.exit_code == 1
    assert "no copy can be found now" in result.stdout
    assert cid in local.pins(), "what is left of it must not be collected"
    assert len(list(Archive(encoder.data).entries())) == 1


def test_what_the_permanent_server_lost_goes_back_and_is_migrated_again(encoder: Desk, nodes: Nodes) -> None:
    _, local, server = nodes
    cid, to = make_dag(local, pin=False), f"kubo+{nodes[2].api_url}"
    local.rpc("pin/add", cid, name="encoder-pin")
    line(encoder, cid)
    assert encoder.process("migrate", "--to", to, "--clean").returncode == 0
    assert list(Archive(encoder.data).entries()) == []
    assert encoder.run("audit").exit_code == 0
    server.rpc("pin/rm", cid)
    result = encoder.run("audit")
    assert result.exit_code == 1
    assert "back in the archive: migrate it again" in result.stdout
    assert cid in local.pins()
    assert encoder.process("migrate", "--to", to, "--clean").returncode == 0
    assert cid in server.pins()
    assert encoder.run("audit").exit_code == 0
    assert encoder.run("audit", "--to", to, "--sample", "1").exit_code == 0


def test_lost_videos_of_the_former_encoder_end_on_the_supernode(encoder: Desk, nodes: Nodes, tmp_path: Path) -> None:
    supernode, local, _ = nodes
    waiting, lost, kept = make_dag(local), make_dag(local), make_dag(local)
    body = queue([pending(1, hash=waiting), pending(2)])
    put(tmp_path / "former/data/pending_pins.json", body[: body.index(b"direct-2") - 80])
    put(tmp_path / "former/logs/failed-pins.jsonl", lines(given_up(1) | {"hash": lost}))
    put(tmp_path / "former/data/local-fallback-pins.jsonl", lines(archived(3) | {"hash": kept}))
    assert encoder.run("import", str(tmp_path / "former"), "--apply").exit_code == 1, "the queue is torn"
    work(encoder)
    assert {waiting, lost} <= supernode.pins()
    assert encoder.run("audit").exit_code == 0, "and what it said it had archived is really here"
