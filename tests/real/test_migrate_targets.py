"""Migrations to a real Cluster and its pinning service: proved by their own rules before anything is deleted."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from encoder_pin_plugin.archive.sightings import NAME
from examples.nodes import ClusterPeer, KuboDaemon
from tests.real.conftest import until
from tests.real.migrating import Encoder

pytestmark = pytest.mark.real


@pytest.fixture
def encoder(make_kubo: Callable[..., KuboDaemon], tmp_path: Path, cluster_peer: ClusterPeer) -> Encoder:
    return Encoder(tmp_path / "data", make_kubo(), cluster_peer.kubo)


@pytest.mark.parametrize("transfer", ["pull", "push", "auto"])
def test_an_archive_moves_to_a_cluster(encoder: Encoder, cluster_peer: ClusterPeer, transfer: str) -> None:
    cids = {encoder.video(number) for number in range(8)}
    to = f"cluster+{cluster_peer.rest_url}?replication-min=1"
    done = encoder.run("migrate", "--to", to, "--clean", "--transfer", transfer, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert cids <= encoder.target.pins()
    assert not cids & encoder.local.pins()
    assert {line["migration_proof"] for line in encoder.migrated()} == {"pinned"}
    assert encoder.waiting() == []


def test_a_cluster_whose_nodes_are_known_proves_that_it_is_whole(encoder: Encoder, cluster_peer: ClusterPeer) -> None:
    cid = encoder.video(1)
    to = f"cluster+{cluster_peer.rest_url}?quorum=1&peer={cluster_peer.peername}@{cluster_peer.kubo.api_url}"
    done = encoder.run("migrate", "--to", to, "--clean")
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line["migration_proof"] for line in encoder.migrated()] == ["whole"]
    assert cid not in encoder.local.pins()


def test_a_node_of_the_cluster_itself_has_nothing_to_migrate_there(encoder: Encoder, cluster_peer: ClusterPeer) -> None:
    member = Encoder(encoder.data, cluster_peer.kubo, cluster_peer.kubo)
    cid = member.video(1)
    done = member.run("migrate", "--to", f"cluster+{cluster_peer.rest_url}", "--clean")
    assert done.returncode == 2
    assert "is one of the nodes of the cluster" in done.stderr
    assert cid in member.local.pins()


def test_a_pinning_service_is_asked_twice_ten_minutes_apart(encoder: Encoder, cluster_peer: ClusterPeer) -> None:
    cids = {encoder.video(number) for number in range(3)}
    to = f"psa+{cluster_peer.pinsvc_url}"
    first = encoder.run("migrate", "--to", to, "--clean")
    assert first.returncode == 1, first.stdout + first.stderr
    assert "3 CIDs wait for a second look, ten minutes after the first" in first.stdout
    assert cids <= encoder.target.pins() & encoder.local.pins()
    assert set(encoder.waiting()) == cids
    assert encoder.run("migrate", "--to", to, "--clean").returncode == 1, "the next minute is too early"

    eleven_minutes_pass(encoder.data / NAME)
    later = encoder.run("migrate", "--to", to, "--clean")
    assert later.returncode == 0, later.stdout + later.stderr
    assert not cids & encoder.local.pins()
    assert {line["migration_proof"] for line in encoder.migrated()} == {"pinned"}


def test_wait_waits_for_the_second_look(encoder: Encoder, cluster_peer: ClusterPeer) -> None:
    cid = encoder.video(1)
    to = f"psa+{cluster_peer.pinsvc_url}"
    assert encoder.run("migrate", "--to", to, "--clean").returncode == 1
    pass_time(encoder.data / NAME, 597)
    began = time.monotonic()
    done = encoder.run("migrate", "--to", to, "--clean", "--wait")
    assert done.returncode == 0, done.stdout + done.stderr
    assert time.monotonic() - began > 1
    until(lambda: cid not in encoder.local.pins())


def eleven_minutes_pass(looks: Path) -> None:
    pass_time(looks, 660)


def pass_time(looks: Path, seconds: float) -> None:
    content = json.loads(looks.read_text())
    ((boot, ((to, seen),)),) = [(boot, targets.items()) for boot, targets in content.items()]
    looks.write_text(json.dumps({boot: {to: {cid: at - seconds for cid, at in seen.items()}}}))
