"""`audit` at the desk: nothing to ask about, nodes that do not answer, targets that are none."""

from __future__ import annotations

import pytest

from encoder_pin_plugin.archive.jsonl import Archive
from encoder_pin_plugin.archive.record import ArchiveRecord
from encoder_pin_plugin.lazy.pins import State
from tests.fakes.kubo_honest import Content
from tests.fakes.kubo_node import FakeKubo
from tests.operate.conftest import CIDS, Desk


def line(desk: Desk, cid: str, target: str = "") -> None:
    archive = Archive(desk.data)
    record = ArchiveRecord(hash=cid, job_id="job-1", local_pin_timestamp="2025-10-28T10:30:00.000Z")
    archive.append(record)
    if target:
        moved = ArchiveRecord(**(vars(record) | {"extra": {"migrated_to": target}}))
        archive.compact({record.key}, [moved.line()])


def test_where_nothing_is_there_is_nothing_to_ask(desk: Desk) -> None:
    result = desk.run("audit")
    assert result.exit_code == 0
    assert "nothing to ask about" in result.stdout
    assert not desk.data.exists()


def test_nodes_that_do_not_answer_are_named_and_nothing_changes(desk: Desk) -> None:
    desk.env["THREESPEAK_IPFS_ENDPOINT"] = "http://127.0.0.1:1"
    desk.submit("job-1")
    desk.finish(State.PINNED)
    line(desk, CIDS[1])
    line(desk, CIDS[2], "kubo+http://127.0.0.1:2")
    result = desk.run("audit")
    assert result.exit_code == 1
    assert result.stdout.count("no answer about 1") == 3
    assert "LOST" not in result.stdout
    assert desk.spool.arrivals(10) == []
    assert len(list(Archive(desk.data).entries())) == 1


def test_pinned_jobs_without_a_supernode_are_said(desk: Desk) -> None:
    desk.submit("job-1")
    desk.finish(State.PINNED)
    result = desk.run("audit")
    assert result.exit_code == 1
    assert "no supernode is configured" in result.stdout


@pytest.mark.parametrize("target", ["", "http://permanent:5001", "ftp+x"])
def test_a_migrated_line_without_a_usable_target_is_said_with_what_to_do(desk: Desk, target: str) -> None:
    line(desk, CIDS[1], target or "?")
    result = desk.run("audit")
    assert result.exit_code == 1
    assert "or name it with --to" in result.stdout


@pytest.mark.parametrize("named", [True, False])
def test_the_encoder_s_own_node_is_not_asked_in_the_place_of_a_target(desk: Desk, named: bool) -> None:
    with FakeKubo() as local:
        local.content[CIDS[1]], local.pins[CIDS[1]] = Content(), "theirs"
        desk.env["IPFS_API_ADDR"] = local.url
        here = f"kubo+http://localhost:{local.port}"
        line(desk, CIDS[1], "kubo+http://127.0.0.1:2" if named else here)
        result = desk.run("audit", *(("--to", here) if named else ()))
        assert result.exit_code == 1
        assert "is the encoder's own node" in result.stdout
        assert "1 there" not in result.stdout


def test_a_wrong_target_is_wrong_usage(desk: Desk) -> None:
    line(desk, CIDS[1], "kubo+http://127.0.0.1:2")
    assert desk.run("audit", "--to", "ftp://x").exit_code == 2


def test_json_says_the_same(desk: Desk) -> None:
    line(desk, CIDS[1])
    document = desk.json("audit", "--dry-run")
    assert document["well"] is False
    assert document["nodes"][0]["what"] == "waiting in the archive"
    assert list(document["nodes"][0]["unknown"]) == [CIDS[1]]
