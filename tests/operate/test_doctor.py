"""`doctor`: each thing that can be wrong is found, and what to do is said."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from encoder_pin_plugin.archive.locking import ArchiveLock
from encoder_pin_plugin.archive.record import ArchiveRecord
from encoder_pin_plugin.lazy.pins import State
from encoder_pin_plugin.lazy.worker import LEDGER_NAME
from encoder_pin_plugin.operate import check_folder, check_state
from encoder_pin_plugin.operate.mounts import file_system_of
from tests.fakes.cluster_peer import FakeClusterPeer
from tests.fakes.kubo_node import FakeKubo
from tests.operate.conftest import CIDS, Desk


@pytest.fixture
def nodes(desk: Desk) -> Iterator[tuple[FakeKubo, FakeKubo]]:
    with FakeKubo() as supernode, FakeKubo() as local:
        desk.env |= {"THREESPEAK_IPFS_ENDPOINT": supernode.url, "IPFS_API_ADDR": local.url}
        yield supernode, local


def found(desk: Desk, topic: str, *arguments: str) -> list[tuple[str, str, str]]:
    """Level, text and advice of the findings about `topic` that are not ok."""
    findings = desk.json("doctor", *arguments)["findings"]
    bad = [it for it in findings if it["topic"] == topic and it["level"] != "ok"]
    assert all(it["todo"] for it in bad), "each says what to do"
    return [(it["level"], it["text"], it["todo"]) for it in bad]


@pytest.mark.usefixtures("nodes")
def test_where_all_is_well_it_ends_with_0_and_leaves_nothing_behind(desk: Desk) -> None:
    desk.submit("job-1")
    desk.ledger().close()
    before = sorted(desk.data.rglob("*"))
    result = desk.run("doctor")
    assert result.exit_code == 0, result.output
    assert "nothing is wrong" in result.stdout
    assert sorted(desk.data.rglob("*")) == before


@pytest.mark.usefixtures("nodes")
def test_without_a_data_folder_it_makes_none(desk: Desk) -> None:
    assert desk.run("doctor").exit_code == 0
    assert not desk.data.exists()


def test_wrong_settings(desk: Desk) -> None:
    desk.env["LAZY_PIN_BACKOFF"] = "soon"
    ((level, text, _),) = found(desk, "settings")
    assert (level, "LAZY_PIN_BACKOFF" in text) == ("wrong", True)
    assert desk.run("doctor").exit_code == 1


@pytest.mark.parametrize(
    ("name", "value", "word"),
    [
        ("ENABLE_LOCAL_FALLBACK", "false", "however long"),
        ("HOLD_LOCAL", "off", "garbage collection"),
        ("LOCAL_FALLBACK_THRESHOLD", "50", "never made"),
        ("IPFS_CLUSTER_ENDPOINT", "http://127.0.0.1:9094", "not used"),
    ],
)
def test_settings_that_work_and_may_not_be_meant(desk: Desk, name: str, value: str, word: str) -> None:
    desk.env[name] = value
    assert any(level == "look at" and word in text for level, text, _ in found(desk, "settings", "--no-nodes"))


def test_nodes_that_do_not_answer(desk: Desk) -> None:
    desk.env["THREESPEAK_IPFS_ENDPOINT"] = "http://127.0.0.1:2"
    for topic in ("supernode", "local node"):
        ((level, text, todo),) = found(desk, topic)
        assert (level, "127.0.0.1" in text) == ("wrong", True)
        assert "127.0.0.1" not in todo


def test_a_missing_supernode(desk: Desk) -> None:
    ((_, text, todo),) = found(desk, "supernode")
    assert "jobs fall back 7200 s after completion (FALLBACK_AFTER)" in text
    assert "THREESPEAK_IPFS_ENDPOINT" in todo


@pytest.mark.parametrize("lie", ["html_200", "empty_200", "unauthorized", "forbidden", "redirect", "not_found"])
def test_what_answers_and_is_no_node(desk: Desk, nodes: tuple[FakeKubo, FakeKubo], lie: str) -> None:
    nodes[0].lie(lie)
    assert found(desk, "supernode")[0][0] == "wrong"
    assert not found(desk, "local node")


def test_a_node_that_does_not_say_what_it_has_whole(desk: Desk, nodes: tuple[FakeKubo, FakeKubo]) -> None:
    for node in nodes:
        node.lie("forbidden", only={"dag/stat"})
    assert found(desk, "supernode")[0][0] == "look at"
    assert found(desk, "local node")[0][0] == "wrong"


def test_a_node_that_does_not_say_what_is_pinned(desk: Desk, nodes: tuple[FakeKubo, FakeKubo]) -> None:
    nodes[0].lie("forbidden", only={"pin/ls"})
    assert any(level == "wrong" and "pin/ls" in text for level, text, _ in found(desk, "supernode"))


def test_a_node_that_hangs(desk: Desk, nodes: tuple[FakeKubo, FakeKubo], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("encoder_pin_plugin.operate.check_nodes.SECONDS", 0.5)
    nodes[0].lie("silence")
    assert "no answer within" in found(desk, "supernode")[0][1]


def test_one_node_under_two_names(desk: Desk, nodes: tuple[FakeKubo, FakeKubo]) -> None:
    desk.env["IPFS_API_ADDR"] = f"/ip4/127.0.0.1/tcp/{nodes[0].port}"
    assert any("the local node itself" in text for _, text, _ in found(desk, "supernode"))


def test_a_supernode_that_does_not_say_who_it_is(desk: Desk, nodes: tuple[FakeKubo, FakeKubo]) -> None:
    nodes[0].lie("forbidden", only={"id"})
    ((level, text, todo),) = [it for it in found(desk, "supernode") if "local node itself" in it[1]]
    assert (level, "ever be released" in todo) == ("look at", True)
    assert "cannot be told" in text


@pytest.mark.parametrize("lie", ["html_200", "deadline", "error_without_words"])
@pytest.mark.parametrize("node", [0, 1])
def test_a_node_that_answers_all_but_who_it_is(
    desk: Desk, nodes: tuple[FakeKubo, FakeKubo], node: int, lie: str
) -> None:
    nodes[node].lie(lie, only={"id"})
    ((level, text, todo),) = found(desk, "supernode")
    assert (level, "no local copy is released" in todo) == ("look at", True)
    assert f"cannot be told: {nodes[node].url} id" in text


def test_that_a_node_that_is_down_does_not_say_who_it_is_is_told_once(
    desk: Desk, nodes: tuple[FakeKubo, FakeKubo]
) -> None:
    for node in nodes:
        node.lie("closed_at_once")
    assert [len(found(desk, topic)) for topic in ("supernode", "local node")] == [1, 1]


def test_a_cluster_that_the_local_node_is_one_of(desk: Desk, nodes: tuple[FakeKubo, FakeKubo]) -> None:
    with FakeClusterPeer() as peer:
        desk.env |= {"USE_CLUSTER_FOR_PINS": "true", "IPFS_CLUSTER_ENDPOINT": peer.url}
        assert not [it for it in found(desk, "supernode") if "one of its nodes" in it[1]]
        peer.kubos["peer-1"] = f"12D3KooWFake{nodes[1].port}"
        assert [it[0] for it in found(desk, "supernode") if "one of its nodes" in it[1]] == ["look at"]


def test_others_may_write(desk: Desk) -> None:
    desk.data.mkdir(mode=0o777)
    desk.data.chmod(0o777)
    assert "chmod 0700" in found(desk, "data folder", "--no-nodes")[0][2]


def test_a_file_in_the_place_of_a_spool_folder(desk: Desk) -> None:
    (desk.data / "spool").mkdir(parents=True)
    (desk.data / "spool" / "new").touch()
    assert "is no folder" in found(desk, "data folder", "--no-nodes")[0][1]


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="this machine has no folder in memory")
def test_a_data_folder_in_memory(desk: Desk) -> None:
    desk.env["DATA_DIR"] = "/dev/shm/encoder-pin-test-nowhere"
    assert "gone with the next boot" in found(desk, "disk", "--no-nodes")[0][1]


@pytest.mark.parametrize(
    ("kind", "level"), [("nfs4", "look at"), ("cifs", "look at"), ("fuse.sshfs", "look at"), ("overlay", "look at"),
                        ("tmpfs", "wrong"), ("ext4", "ok"), ("", "ok")],
)  # fmt: skip
def test_what_each_file_system_means(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, level: str) -> None:
    monkeypatch.setattr(check_folder, "file_system_of", lambda _: (kind, "/mnt"))
    assert [it.level for it in check_folder._file_system(tmp_path)] == [level]


def test_the_innermost_mount_counts_and_its_escapes_are_read(tmp_path: Path) -> None:
    deep = tmp_path / "a b" / "c"
    deep.mkdir(parents=True)
    where = str(tmp_path / "a b").replace(" ", "\\040")
    table = tmp_path / "mountinfo"
    table.write_text(
        f"1 0 8:1 / / rw - ext4 /dev/a rw\n2 1 0:5 / {where} rw shared:1 - nfs4 host:/x rw\n"
        f"3 1 0:6 / {where}x rw - tmpfs t rw\nrubbish\n"
    )
    assert file_system_of(deep, table) == ("nfs4", str(tmp_path / "a b"))
    assert file_system_of(tmp_path, table) == ("ext4", "/")
    assert file_system_of(deep, tmp_path / "none") == ("", "")


def test_a_damaged_ledger(desk: Desk) -> None:
    desk.data.mkdir()
    (desk.data / LEDGER_NAME).write_bytes(b"rubbish" * 1000)
    ((level, text, _),) = found(desk, "ledger", "--no-nodes")
    assert (level, "damaged" in text) == ("wrong", True)


def test_an_archive_with_bad_lines(desk: Desk) -> None:
    desk.data.mkdir()
    (desk.data / "local-fallback-pins.jsonl").write_text("rubbish\n")
    assert "archive repair" in found(desk, "archive", "--no-nodes")[0][2]


def test_an_archive_lock_that_somebody_holds(desk: Desk) -> None:
    desk.data.mkdir()
    with ArchiveLock(desk.data / "local-fallback-pins.jsonl.lock", 5).held():
        ((level, _, todo),) = found(desk, "archive", "--no-nodes")
    assert (level, "fuser" in todo) == ("look at", True)


def test_what_was_set_aside(desk: Desk) -> None:
    desk.data.mkdir()
    for name in ("lazy-pins.db.damaged-17", "lazy-pins.db.damaged-17-journal"):
        (desk.data / name).touch()
    assert "1 damaged ledger set aside" in found(desk, "ledger", "--no-nodes")[0][1]
    (desk.data / "quarantine").mkdir()
    for name in ("1-torn", "2-torn"):
        (desk.data / "quarantine" / name).touch()
    ((level, text, _),) = found(desk, "archive", "--no-nodes")
    assert level == "look at"
    assert "2 pieces that are no lines set aside" in text


def test_a_clock_that_is_behind(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.submit("job-1")
    ledger = desk.ledger()
    with ledger.transaction() as db:
        db.execute("UPDATE job SET waiting_since = waiting_since + 86400000")
    ledger.close()
    assert "before the newest job" in found(desk, "clock", "--no-nodes")[0][1]
    monkeypatch.setattr(check_state.time, "time", lambda: 1000.0)
    assert "cannot be" in found(desk, "clock", "--no-nodes")[0][1]


def test_an_sqlite_that_is_too_old(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 31, 0))
    assert "too old" in found(desk, "software", "--no-nodes")[0][1]


def test_names_of_plugins_that_nobody_installed(desk: Desk) -> None:
    desk.env |= {"TRUST_PLUGINS": "ghost", "BLOCK_PLUGINS": "pin"}
    texts = [text for _, text, _ in found(desk, "plugins", "--no-nodes")]
    assert any("ghost" in text for text in texts)
    assert any("pin is blocked" in text for text in texts)


def test_a_data_folder_of_somebody_else_is_said_once(desk: Desk) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can be somebody else")
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    (folder / "data").mkdir(mode=0o700)
    desk.env["DATA_DIR"] = str(folder / "data")
    commands = [("status", "--no-nodes"), ("doctor", "--no-nodes")]
    for command in commands:
        desk.run(*command)  # what it imports may be out of the other's reach
    os.seteuid(65534)
    try:
        shown = [desk.run(*command) for command in commands]
    finally:
        os.seteuid(0)
        shutil.rmtree(folder)
    for result in shown:
        assert result.exit_code == 1
        assert result.stdout.count("as the user that runs the encoder") == 1


def test_a_folder_that_nobody_may_make(desk: Desk) -> None:
    desk.env["DATA_DIR"] = "/proc/no/data"
    if os.access("/proc", os.W_OK) and os.geteuid() == 0:
        result = desk.run("doctor", "--no-nodes")  # root may do anything, and finds out when it does
        assert result.exit_code in (0, 1)
    else:
        assert found(desk, "data folder", "--no-nodes")[0][0] == "wrong"


def test_what_was_set_aside_is_not_to_be_deleted_while_nothing_else_would_migrate_it(desk: Desk) -> None:
    lines = [ArchiveRecord(hash=cid, job_id=f"job-{number}").line() for number, cid in enumerate(CIDS)]
    desk.submit("job-1", CIDS[1])
    desk.finish(State.PINNED)
    desk.submit("job-2", CIDS[2])
    desk.finish(State.ARCHIVED, line=lines[2])
    path = desk.data / "local-fallback-pins.jsonl"
    path.write_bytes(b"".join(lines).replace(b'"size_mb":null', b'"size_mb":NaN'))
    assert desk.run("archive", "repair").exit_code == 1
    findings = found(desk, "archive", "--no-nodes")
    ((text, todo),) = [(text, todo) for level, text, todo in findings if level == "wrong"]
    assert text.startswith("2 CIDs stand ")
    assert CIDS[0] in text
    assert "repair --from-ledger" in todo
    assert not any("delete what was set aside" in todo for _, _, todo in findings)
    assert desk.run("archive", "repair", "--from-ledger").exit_code == 0
    desk.submit("job-0", CIDS[0])
    desk.ledger().close()
    assert [level for level, _, _ in found(desk, "archive", "--no-nodes")] == ["look at"]
