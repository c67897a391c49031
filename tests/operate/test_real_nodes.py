"""The command line beside real Kubo daemons: submitted, worked on, looked at, as an operator does it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.nodes import KuboDaemon
from tests.operate.conftest import Desk

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[KuboDaemon, KuboDaemon]]:
    """Supernode and local node, connected."""
    folder: Path = tmp_path_factory.mktemp("nodes")
    with KuboDaemon(folder / "super") as supernode, KuboDaemon(folder / "local") as local:
        supernode.connect(local)
        yield supernode, local


def test_a_submitted_job_is_pinned_and_everything_is_well(desk: Desk, pair: tuple[KuboDaemon, KuboDaemon]) -> None:
    supernode, local = pair
    desk.env |= {"THREESPEAK_IPFS_ENDPOINT": supernode.api_url, "IPFS_API_ADDR": local.api_multiaddr}
    cid = local.add_files({"index.m3u8": b"#EXTM3U", "0.ts": bytes(300_000)})
    desk.submit("job-1", cid)
    result = desk.process("work", "--drain")
    assert result.returncode == 0, result.stderr
    assert cid in supernode.pins()
    status = desk.run("status")
    assert status.exit_code == 0, status.output
    assert status.stdout.count("answers (Kubo 0.") == 2
    doctor = desk.run("doctor")
    assert doctor.exit_code == 0, doctor.output
    assert doctor.stdout.count("it says what it has whole (dag/stat)") == 2


def test_without_a_supernode_the_job_ends_in_the_archive(desk: Desk, pair: tuple[KuboDaemon, KuboDaemon]) -> None:
    _, local = pair
    desk.env |= {
        "THREESPEAK_IPFS_ENDPOINT": "http://127.0.0.1:1", "IPFS_API_ADDR": local.api_multiaddr,
        "LAZY_PIN_BACKOFF": "1", "LOCAL_FALLBACK_THRESHOLD": "2",
    }  # fmt: skip
    cid = local.add_files({"index.m3u8": b"#EXTM3U", "1.ts": bytes(200_000)}, pin=False)
    desk.submit("job-2", cid)
    result = desk.process("work", "--drain")
    assert result.returncode == 0, result.stderr
    assert cid in local.pins()
    text = desk.run("archive", "list", "--cid", cid).stdout
    assert "job-2  0.2 MB  directory" in text
    assert "after 2 failed attempts" in text
    status = desk.run("status")
    assert status.exit_code == 1
    assert "the supernode does not answer, jobs fall back by themselves" in status.stdout


def test_one_real_node_under_two_names_is_found(desk: Desk, pair: tuple[KuboDaemon, KuboDaemon]) -> None:
    _, local = pair
    desk.env |= {"THREESPEAK_IPFS_ENDPOINT": local.api_url, "IPFS_API_ADDR": local.api_multiaddr}
    result = desk.run("doctor")
    assert result.exit_code == 1
    assert f"it is the local node itself ({local.peer_id})" in result.stdout
