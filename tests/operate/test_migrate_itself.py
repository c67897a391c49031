"""`migrate --clean` and `clean` into what may be the encoder's own node: nothing is unpinned that is the only pin."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from encoder_pin_plugin.archive.jsonl import Archive
from encoder_pin_plugin.archive.migration_report import MIGRATED, MigrationReport, ReportLine, write_report
from encoder_pin_plugin.archive.record import ArchiveRecord
from tests.fakes.cluster_peer import FakeClusterPeer
from tests.fakes.kubo_honest import Content
from tests.fakes.kubo_node import FakeKubo
from tests.operate.conftest import CIDS, Desk

PINNED = {CIDS[0]: "encoder-pin"}


@pytest.fixture
def local(desk: Desk) -> Iterator[FakeKubo]:
    with FakeKubo() as node:
        node.content[CIDS[0]] = Content()
        node.pins |= PINNED
        desk.env["IPFS_API_ADDR"] = node.url
        Archive(desk.data).append(ArchiveRecord(hash=CIDS[0], job_id="job-1", size_mb=2.5))
        yield node


def _waits(desk: Desk) -> list[str]:
    return [entry.record.job_id for entry in Archive(desk.data).entries() if entry.record]


@pytest.mark.parametrize("times", [1, 2, 3, 100])
@pytest.mark.parametrize("lie", ["html_502", "deadline", "cut_json"])
def test_a_node_that_does_not_say_for_a_moment_that_it_is_our_own_takes_nothing(
    desk: Desk, local: FakeKubo, lie: str, times: int
) -> None:
    local.lie(lie, only={"id"}, times=times)
    done = desk.run("migrate", "--to", f"kubo+http://localhost:{local.port}", "--clean")
    assert done.exit_code in (1, 2)
    assert "own node" in done.stderr
    assert (local.pins, _waits(desk)) == (PINNED, ["job-1"])


@pytest.mark.parametrize("times", [1, 100])
def test_nor_where_a_report_is_to_be_finished(desk: Desk, local: FakeKubo, times: int) -> None:
    line = ReportLine(hash=CIDS[0], job_id="job-1", node_id="", status=MIGRATED)
    path = desk.folder / "one.migrated.json"
    write_report(path, MigrationReport(target="kubo+http://x:5001", made_at="", made_on="x", lines=(line,)))
    local.lie("html_502", only={"id"}, times=times)
    done = desk.run("clean", str(path), "--to", f"kubo+http://localhost:{local.port}")
    assert done.exit_code in (1, 2)
    assert (local.pins, _waits(desk)) == (PINNED, ["job-1"])


@pytest.mark.parametrize("times", [1, 100])
def test_nor_a_cluster_of_which_our_own_node_may_be_one(desk: Desk, local: FakeKubo, times: int) -> None:
    with FakeClusterPeer() as peer:
        peer.kubos["peer-1"] = f"12D3KooWFake{local.port}"
        local.lie("html_502", only={"id"}, times=times)
        done = desk.run("migrate", "--to", f"cluster+{peer.url}", "--clean")
        assert done.exit_code in (1, 2)
        assert (local.pins, _waits(desk)) == (PINNED, ["job-1"])


def test_what_is_only_pinned_and_proved_needs_no_such_certainty(desk: Desk, local: FakeKubo) -> None:
    with FakeKubo() as target:
        target.content[CIDS[0]] = Content()
        target.lie("html_502", only={"id"})
        assert desk.run("migrate", "--to", f"kubo+{target.url}").exit_code == 0
        assert CIDS[0] in target.pins


@pytest.mark.parametrize("proof", [(), ("--proof", "retrieved")])
def test_nor_a_cluster_whose_peer_is_said_to_stand_before_our_own_node(
    desk: Desk, local: FakeKubo, proof: tuple[str, ...]
) -> None:
    with FakeClusterPeer() as peer:  # its own Kubo node, kubo-of-peer-1, has a record and may have lost the blocks
        to = f"cluster+{peer.url}?peer=peer-1@http://localhost:{local.port}"
        done = desk.run("migrate", "--to", to, "--clean", *proof)
        assert done.exit_code == 1
        assert "that of peer peer-1 is kubo-of-peer-1: correct peer=NAME@URL" in done.stdout
        assert (local.pins, _waits(desk)) == (PINNED, ["job-1"])
