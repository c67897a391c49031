"""Nodes that die, freeze, are old, or cannot be dialled, in the middle of a migration: nothing lost, and it goes on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from examples.nodes import OLD_KUBO_VERSION, KuboDaemon, cluster_of
from tests.real.conftest import until
from tests.real.migrating import Encoder

pytestmark = [pytest.mark.real, pytest.mark.slow]

QUICK = {"LAZY_PIN_STALL_TIMEOUT": "8", "LAZY_PIN_TIMEOUT": "30"}


@pytest.mark.parametrize("transfer", ["pull", "push"])
def test_a_target_that_dies_in_the_middle(encoder: Encoder, transfer: str) -> None:
    cids = {encoder.video(number) for number in range(300)}
    with encoder.start(
        "migrate", "--to", encoder.to, "--clean", "--concurrency", "2", "--transfer", transfer, **QUICK
    ) as running:
        until(lambda: len(encoder.target.pins() & cids) > 3)
        encoder.target.kill()
        out, err = running.communicate(timeout=120)
    assert running.returncode == 1, out + err
    assert len(encoder.waiting()) + len(encoder.migrated()) == 300
    assert set(encoder.waiting()) <= encoder.local.pins()
    encoder.target.start()
    done = encoder.run("migrate", "--to", encoder.to, "--clean")
    assert done.returncode == 0, done.stdout + done.stderr
    assert cids <= encoder.target.pins()


def test_an_own_node_that_dies_in_the_middle(encoder: Encoder) -> None:
    cids = {encoder.video(number) for number in range(60)}
    with encoder.start("migrate", "--to", encoder.to, "--clean", "--concurrency", "10", **QUICK) as running:
        until(lambda: len(encoder.target.pins() & cids) > 3)
        encoder.local.kill()  # each CID that the target has not yet costs it the stall limit, ten at a time
        out, err = running.communicate(timeout=200)
    assert running.returncode == (1 if encoder.waiting() else 0), out + err
    assert len(encoder.waiting()) + len(encoder.migrated()) == 60
    encoder.local.start()
    assert set(encoder.waiting()) <= encoder.local.pins()
    assert encoder.run("migrate", "--to", encoder.to, "--clean").returncode == 0


def test_an_encoder_that_cannot_be_dialled_pushes(make_kubo: Callable[..., KuboDaemon], tmp_path: Path) -> None:
    encoder = Encoder(tmp_path / "data", make_kubo(offline=True), make_kubo())
    cids = {encoder.video(number) for number in range(40)}
    done = encoder.run("migrate", "--to", encoder.to, "--clean", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["pinned"] == 40
    assert cids <= encoder.target.pins()


@pytest.mark.parametrize("transfer", ["pull", "push"])
def test_an_older_line_as_target_and_as_own_node(
    make_kubo: Callable[..., KuboDaemon], tmp_path: Path, transfer: str
) -> None:
    old, new = make_kubo(version=OLD_KUBO_VERSION), make_kubo()
    for number, (local, target) in enumerate([(old, new), (new, old)]):
        encoder = Encoder(tmp_path / f"encoder-{number}" / "data", local, target)
        encoder.data.mkdir(parents=True)
        cids = {encoder.video(number) for number in range(5)}
        done = encoder.run("migrate", "--to", encoder.to, "--clean", "--transfer", transfer)
        assert done.returncode == 0, done.stdout + done.stderr
        assert cids <= target.pins()
        assert not cids & local.pins()


def test_a_cluster_of_three_of_which_one_dies_in_the_middle(
    make_kubo: Callable[..., KuboDaemon], tmp_path: Path
) -> None:
    with cluster_of(3, tmp_path / "cluster") as peers:
        encoder = Encoder(tmp_path / "data", make_kubo(), peers[0].kubo)
        cids = {encoder.video(number) for number in range(30)}
        to = f"cluster+{peers[0].rest_url}?replication-min=2&replication-max=2"
        with encoder.start("migrate", "--to", to, "--clean", **QUICK) as running:
            until(lambda: any(cids & peer.kubo.pins() for peer in peers))
            peers[2].kill()
            out, err = running.communicate(timeout=240)
        assert running.returncode in (0, 1), out + err
        kept = set(encoder.waiting())
        assert kept <= encoder.local.pins()
        alive = [peers[0].kubo.pins(), peers[1].kubo.pins(), peers[2].kubo.pins()]
        for cid in cids - kept:
            assert sum(cid in pins for pins in alive) >= 2, "fewer copies than asked for"
        peers[2].start()
        until(lambda: encoder.run("migrate", "--to", to, "--clean", **QUICK).returncode == 0, seconds=200)
        assert encoder.waiting() == []
