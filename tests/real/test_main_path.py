"""The main path on real daemons: whatever the nodes do, a finished job ends pinned and proved, or archived and safe."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pluggy
import pytest

from encoder_hookspecs.events import CompletedJob
from encoder_hookspecs.specs import EncoderSpecs
from encoder_pin_plugin.archive.jsonl import Archive
from encoder_pin_plugin.lazy import listing
from encoder_pin_plugin.lazy.ledger import Ledger
from encoder_pin_plugin.lazy.pins import LazyPin, State
from encoder_pin_plugin.lazy.worker import LEDGER_NAME
from encoder_pin_plugin.nodes.base import Answer, Told
from encoder_pin_plugin.nodes.kubo import KuboNode
from encoder_pin_plugin.plugin import PinPlugin
from encoder_pin_plugin.settings import load_settings
from examples.nodes import KUBO_VERSION, OLD_KUBO_VERSION, ClusterPeer, KuboDaemon, make_dag
from tests.real.conftest import until

pytestmark = pytest.mark.real

NOBODY_HAS = "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi"


class Encoder:
    """A host with plain pluggy, as small as a host can be."""

    def __init__(self, folder: Path, **changes: object) -> None:
        options: dict[str, object] = {
            "data_dir": folder / "data", "lazy_pin_backoff": "1,1,1",
            "lazy_pin_stall_timeout": 3, "lazy_pin_timeout": 20,
        }  # fmt: skip
        self.settings = load_settings({}, folder, **(options | changes))
        self.manager = pluggy.PluginManager("encoder")
        self.manager.add_hookspecs(EncoderSpecs)
        self.plugin = PinPlugin(self.settings)
        self.manager.register(self.plugin, "pin")

    def complete(self, cid: str, job_id: str = "job", **fields: object) -> None:
        self.manager.hook.on_job_complete(job=CompletedJob(cid=cid, job_id=job_id, **fields))

    def drain(self) -> int:
        return self.plugin.service.worker(self.manager).run(drain=True)

    def start(self) -> None:
        self.manager.hook.on_encoder_start(manager=self.manager)

    def stop(self) -> None:
        self.manager.hook.on_encoder_stop(timeout=10)

    def job(self, job_id: str = "job") -> LazyPin:
        ledger = Ledger(self.settings.data_dir / LEDGER_NAME)
        try:
            (pin,) = ledger.select("job_id=?", [job_id])
            return pin
        finally:
            ledger.close()

    def attempts(self) -> int:
        try:
            return self.job().attempts
        except ValueError:
            return 0  # not taken in yet

    def archived(self) -> list[tuple[str, str]]:
        return [entry.record.key for entry in Archive(self.settings.data_dir).entries() if entry.record]


@pytest.fixture
def make_encoder(tmp_path: Path) -> Iterator[Callable[..., Encoder]]:
    """Encoders that are stopped when the test ends."""
    made: list[Encoder] = []

    def make(local: KuboDaemon, supernode: KuboDaemon, **changes: object) -> Encoder:
        addresses = {"ipfs_api_addr": local.api_multiaddr, "threespeak_ipfs_endpoint": supernode.api_url}
        made.append(Encoder(tmp_path, **(addresses | changes)))
        return made[-1]

    yield make
    for encoder in made:
        encoder.stop()


def test_a_job_is_pinned_on_the_supernode(local_kubo, super_kubo, make_encoder) -> None:
    encoder, cid = make_encoder(local_kubo, super_kubo), make_dag(local_kubo)
    encoder.complete(cid)
    assert encoder.drain() == 0
    assert cid in super_kubo.pins()
    assert encoder.job().state is State.PINNED
    assert encoder.archived() == []


@pytest.mark.parametrize("version", ["0.43.0", "0.34.1"])
def test_a_dead_supernode_leads_to_the_local_fallback(make_kubo, make_encoder, version: str) -> None:
    local, supernode = make_kubo(version=version), make_kubo()
    encoder, cid = make_encoder(local, supernode), make_dag(local, pin=False)
    supernode.kill()
    encoder.complete(cid)
    assert encoder.drain() == 0
    assert encoder.archived() == [(cid, "job")]
    assert cid in local.pins()
    record = next(iter(Archive(encoder.settings.data_dir).entries())).record
    assert (record.type, record.failed_lazy_attempts) == ("directory", 3)
    assert record.size_mb == pytest.approx(0.016, abs=0.002)


def test_an_old_supernode_serves_as_well(make_kubo, make_encoder) -> None:
    local, supernode = make_kubo(), make_kubo(version="0.34.1")
    supernode.connect(local)
    encoder, cid = make_encoder(local, supernode), make_dag(local)
    encoder.complete(cid)
    assert encoder.drain() == 0
    assert cid in supernode.pins()


@pytest.mark.parametrize("version", [KUBO_VERSION, OLD_KUBO_VERSION])
def test_after_many_new_jobs_the_supernode_is_listed_and_what_it_has_is_left_alone(
    make_kubo, make_encoder, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    monkeypatch.setattr(listing, "ENOUGH", 20)
    local, supernode = make_kubo(), make_kubo(version=version)
    supernode.connect(local)
    cids = [local.add_files({"n": str(number).encode()}) for number in range(120)]
    supernode.add_files({"n": b"119"})
    encoder = make_encoder(local, supernode)
    for number, cid in enumerate(cids):
        encoder.complete(cid, f"job-{number}")
    asked, pinned = _asked_in_vain(monkeypatch, supernode), _pinned(monkeypatch, supernode)
    assert encoder.drain() == 0
    assert supernode.pins() >= set(cids)
    assert sorted(pinned) == sorted(cids[:-1])
    assert 20 <= len(asked) < 100


def _asked_in_vain(monkeypatch: pytest.MonkeyPatch, daemon: KuboDaemon) -> list[str]:
    """The CIDs about which a node is asked from here on, and which it has not."""
    noes: list[str] = []
    ask = KuboNode.pinned

    def listen(node: KuboNode, cids: Sequence[str], **options: Any) -> Mapping[str, Told]:
        told = ask(node, cids, **options)
        if node.address == daemon.api_url:
            noes.extend(cid for cid in cids if told[cid].answer is Answer.NO)
        return told

    monkeypatch.setattr(KuboNode, "pinned", listen)
    return noes


def _pinned(monkeypatch: pytest.MonkeyPatch, daemon: KuboDaemon) -> list[str]:
    """The CIDs that a node is asked to pin from here on."""
    asked: list[str] = []
    pin = KuboNode.pin

    def listen(node: KuboNode, cid: str, **options: Any) -> None:
        if node.address == daemon.api_url:
            asked.append(cid)
        pin(node, cid, **options)

    monkeypatch.setattr(KuboNode, "pin", listen)
    return asked


def test_a_frozen_supernode_costs_an_attempt_and_no_job(make_kubo, make_encoder) -> None:
    local, supernode = make_kubo(), make_kubo()
    encoder = make_encoder(local, supernode, local_fallback_threshold=1, lazy_pin_timeout=5)
    cid = make_dag(local)
    supernode.freeze()
    encoder.complete(cid)
    assert encoder.drain() == 0
    supernode.thaw()
    assert encoder.archived() == [(cid, "job")]


def test_content_that_the_supernode_cannot_find_stalls_and_falls_back(make_kubo, make_encoder) -> None:
    local, supernode = make_kubo(), make_kubo()
    encoder, cid = make_encoder(local, supernode, local_fallback_threshold=1), make_dag(local)
    encoder.complete(cid)
    assert encoder.drain() == 0
    assert encoder.archived() == [(cid, "job")]
    assert encoder.job().reason in {"stalled", "timeout"}


def test_content_that_nobody_has_is_kept_and_shown(make_kubo, make_encoder) -> None:
    local, supernode = make_kubo(), make_kubo()
    encoder = make_encoder(local, supernode, local_fallback_threshold=1)
    encoder.complete(NOBODY_HAS)
    assert encoder.drain() == 1
    assert encoder.job().state is State.FALLING_BACK
    assert encoder.archived() == []


def test_a_supernode_that_comes_back_gets_the_job(make_kubo, make_encoder) -> None:
    local, supernode = make_kubo(), make_kubo()
    encoder, cid = make_encoder(local, supernode, local_fallback_threshold=100), make_dag(local)
    supernode.kill()
    encoder.start()
    encoder.complete(cid)
    until(lambda: encoder.attempts() >= 2)
    supernode.start()
    supernode.connect(local)
    until(lambda: cid in supernode.pins())
    until(lambda: encoder.job().state is State.PINNED)


def test_garbage_collection_cannot_take_what_is_held(make_kubo, make_encoder) -> None:
    local, supernode = make_kubo(), make_kubo()
    encoder, cid = make_encoder(local, supernode, local_fallback_threshold=100), make_dag(local, pin=False)
    supernode.kill()
    encoder.start()
    encoder.complete(cid)
    until(lambda: cid in local.pins())
    local.rpc("repo/gc")
    assert local.rpc("dag/stat", cid, offline="true", progress="false")
    supernode.start()
    supernode.connect(local)
    until(lambda: cid in supernode.pins())


def test_a_pin_that_lost_a_block_is_no_fallback_until_it_is_whole_again(make_kubo, make_encoder) -> None:
    local, supernode = make_kubo(), make_kubo()
    cid = make_dag(local)
    supernode.connect(local)
    supernode.rpc("pin/add", cid)
    leaf = local.rpc("refs", cid, recursive="true")[-1]["Ref"]
    local.remove_block(leaf)
    supernode.freeze()
    encoder = make_encoder(local, supernode, local_fallback_threshold=1, lazy_pin_timeout=4)
    encoder.complete(cid)
    assert encoder.drain() == 1
    assert encoder.archived() == []
    assert "blocks" in (encoder.job().error or "")
    supernode.thaw()


def test_a_cluster_can_be_the_supernode(local_kubo, cluster_peer: ClusterPeer, make_encoder) -> None:
    cluster_peer.kubo.connect(local_kubo)
    encoder = make_encoder(
        local_kubo, local_kubo, threespeak_ipfs_endpoint="", use_cluster_for_pins=True,
        ipfs_cluster_endpoint=f"{cluster_peer.rest_url}?replication-min=1&quorum=1",
    )  # fmt: skip
    cid = make_dag(local_kubo)
    encoder.complete(cid)
    assert encoder.drain() == 0
    assert set(cluster_peer.statuses(cid).values()) == {"pinned"}
    assert encoder.job().state is State.PINNED


def test_many_jobs_of_one_video_are_all_accounted_for(local_kubo, super_kubo, make_encoder) -> None:
    encoder = make_encoder(local_kubo, super_kubo)
    cids = [make_dag(local_kubo) for _ in range(20)]
    for number, cid in enumerate(cids * 2):
        encoder.complete(cid, f"job-{number}")
    assert encoder.drain() == 0
    assert set(cids) <= super_kubo.pins()
