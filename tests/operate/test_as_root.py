"""What root does beside the encoder, with sudo, leaves nothing behind that the encoder's own user cannot use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from encoder_pin_plugin.archive.jsonl import Archive
from encoder_pin_plugin.archive.record import ArchiveRecord
from tests.fakes.kubo_honest import Content
from tests.fakes.kubo_node import FakeKubo
from tests.operate.conftest import CIDS, Desk

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")

ENCODER = 65534


@pytest.fixture
def target(desk: Desk) -> Iterator[FakeKubo]:
    """A target, beside a local node and an archive of the encoder's user."""
    desk.data.mkdir()
    os.chown(desk.data, ENCODER, ENCODER)
    with FakeKubo() as node, FakeKubo() as local:
        for fake in (node, local):
            fake.content |= {cid: Content() for cid in CIDS}
        local.pins |= dict.fromkeys(CIDS, "encoder-pin")
        desk.env |= {"IPFS_API_ADDR": local.url, "THREESPEAK_IPFS_ENDPOINT": node.url}
        for cid in CIDS:
            Archive(desk.data).append(ArchiveRecord(hash=cid, job_id="job-1", size_mb=2.5))
        yield node


def _not_the_encoder_s(folder: Path) -> list[str]:
    return [str(path.relative_to(folder)) for path in folder.rglob("*") if path.lstat().st_uid != ENCODER]


@pytest.mark.parametrize("command", [
    ("migrate", "--to", "{to}"), ("migrate", "--to", "{to}", "--clean"), ("audit",), ("archive", "repair"),
    ("submit", CIDS[0], "--job-id", "job-2"), ("work", "--drain", "--log-file", "-"), ("doctor",), ("status",),
    ("archive", "repair", "--from-ledger"),
], ids=" ".join)  # fmt: skip
def test_everything_belongs_to_the_encoder(desk: Desk, target: FakeKubo, command: tuple[str, ...]) -> None:
    if "--from-ledger" in command:
        desk.submit("job-3")
        desk.run("work", "--drain", "--log-file", "-")
    desk.run(*(word.format(to=f"kubo+{target.url}") for word in command))
    assert _not_the_encoder_s(desk.data) == []
