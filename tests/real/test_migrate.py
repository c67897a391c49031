"""A migration between real Kubo nodes: pulled, pushed, proved, cleaned; what fails is named, the rest goes on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from examples.nodes import make_dag
from tests.real.conftest import until
from tests.real.migrating import Encoder

pytestmark = pytest.mark.real

MISSING = "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi"


@pytest.mark.parametrize("transfer", ["pull", "push", "auto"])
def test_an_archive_moves_to_another_node_and_is_cleaned(encoder: Encoder, transfer: str) -> None:
    cids = [encoder.video(number) for number in range(20)]
    done = encoder.run("migrate", "--to", encoder.to, "--clean", "--transfer", transfer)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "20 CIDs are on" in done.stdout
    assert set(cids) <= encoder.target.pins()
    assert not set(cids) & encoder.local.pins()
    assert encoder.waiting() == []
    assert sorted(line["hash"] for line in encoder.migrated()) == sorted(cids)
    line = encoder.migrated()[0]
    assert list(line)[8:] == ["migrated_to", "migration_proof", "migrated_at"]
    assert (line["migrated_to"], line["migration_proof"]) == (encoder.to, "whole")


def test_without_clean_nothing_here_changes(encoder: Encoder) -> None:
    cids = [encoder.video(number) for number in range(3)]
    done = encoder.run("migrate", "--to", encoder.to, "--json")
    report = json.loads(done.stdout)
    assert (done.returncode, report["proved"], report["complete"]) == (0, 3, True)
    assert set(cids) <= encoder.target.pins() & encoder.local.pins()
    assert encoder.waiting() == cids
    again = json.loads(encoder.run("migrate", "--to", encoder.to, "--json").stdout)
    assert (again["pinned"], again["already_there"]) == (0, 3)


def test_a_dry_run_says_what_would_be_pinned_and_pins_nothing(encoder: Encoder) -> None:
    cids = [encoder.video(number) for number in range(3)]
    encoder.target.rpc("swarm/connect", *encoder.local.swarm_addresses())
    encoder.target.rpc("pin/add", cids[0])
    done = encoder.run("migrate", "--to", encoder.to, "--dry-run", "--json")
    report = json.loads(done.stdout)
    assert (done.returncode, report["to_pin"], report["already_there"], report["to_pin_mb"]) == (0, 2, 1, 0.032)
    assert not set(cids[1:]) & encoder.target.pins()


def test_what_nobody_has_is_named_and_kept_and_blocks_nothing_else(encoder: Encoder) -> None:
    encoder.video(0, name="", cid=MISSING)
    good = [encoder.video(number) for number in range(1, 4)]
    done = encoder.run("migrate", "--to", encoder.to, "--clean", LAZY_PIN_STALL_TIMEOUT="3")
    assert done.returncode == 1
    assert f"  {MISSING} (last on encoder-1): " in done.stdout
    assert "content_missing: 1 CID. No node that we reach has all of it" in done.stdout
    assert encoder.waiting() == [MISSING]
    assert {line["hash"] for line in encoder.migrated()} == set(good)


def test_hostile_lines_are_counted_and_left_where_they_are(encoder: Encoder) -> None:
    cid = encoder.video(1)
    hostile = b'{"hash":"../../etc/passwd"}\n\x00\xff\n{"hash":"QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbd0"}\n'
    with encoder.archive.path.open("ab") as file:
        file.write(hostile)
    done = encoder.run("migrate", "--to", encoder.to, "--clean")
    assert done.returncode == 1
    assert "bad line: 3 lines" in done.stdout
    assert encoder.archive.path.read_bytes() == hostile
    assert cid in encoder.target.pins()


def test_pins_that_others_need_or_made_stay(encoder: Encoder, tmp_path: Path) -> None:
    theirs, needed, free = encoder.video(1, name="somebody else's"), encoder.video(2), encoder.video(3)
    environ = {"DATA_DIR": str(encoder.data)}
    submitted = encoder.run("submit", needed, "--job-id", "job-9", **environ)
    assert submitted.returncode == 0, submitted.stderr
    done = encoder.run("migrate", "--to", encoder.to, "--clean", "--json")
    report = json.loads(done.stdout)
    assert done.returncode == 0, done.stdout
    assert report["local_pins_kept"] == {
        theirs: 'it is not ours: its name is "somebody else\'s"',
        needed: "an open job still needs it",
    }
    assert {theirs, needed} <= encoder.local.pins()
    assert free not in encoder.local.pins()
    assert encoder.waiting() == []


def test_the_encoders_own_pin_goes_where_the_settings_say_so(encoder: Encoder) -> None:
    cid = encoder.video(1, name="encoder")
    done = encoder.run("migrate", "--to", encoder.to, "--clean", REMOVE_LOCAL_AFTER_SYNC="true")
    assert done.returncode == 0, done.stdout
    assert cid not in encoder.local.pins()


def test_a_pin_without_blocks_deletes_nothing_here(encoder: Encoder) -> None:
    cid = encoder.video(1)
    encoder.run("migrate", "--to", encoder.to)
    block = encoder.target.rpc("ls", cid)[0]["Objects"][0]["Links"][0]["Hash"]
    encoder.target.stop()
    encoder.target.remove_block(block)
    encoder.target.start()
    done = encoder.run("migrate", "--to", encoder.to, "--clean")
    assert done.returncode == 1
    assert "has a pin of it but not all of its blocks" in done.stdout
    assert cid in encoder.local.pins()
    assert encoder.waiting() == [cid]
    assert encoder.migrated() == []


def test_the_encoders_own_node_is_no_target(encoder: Encoder) -> None:
    cid = encoder.video(1)
    for to in (encoder.local.api_url, encoder.local.api_url.replace("127.0.0.1", "localhost")):
        done = encoder.run("migrate", "--to", f"kubo+{to}", "--clean")
        assert done.returncode == 2
        assert "is the encoder's own node" in done.stderr
    assert cid in encoder.local.pins()


def test_a_target_that_is_down_is_said_and_changes_nothing(encoder: Encoder) -> None:
    cid = encoder.video(1)
    encoder.target.stop()
    done = encoder.run("migrate", "--to", encoder.to, "--clean")
    assert done.returncode == 1
    assert "the target does not answer" in done.stderr
    assert "ssh -L" in done.stderr
    assert encoder.waiting() == [cid]


def test_every_byte_is_read_back_where_that_is_wanted(encoder: Encoder) -> None:
    cids = [encoder.video(number, cid=make_dag(encoder.local, size_kb=700, files=2)) for number in range(3)]
    done = encoder.run("migrate", "--to", encoder.to, "--clean", "--proof", "retrieved")
    assert done.returncode == 0, done.stdout + done.stderr
    assert {line["migration_proof"] for line in encoder.migrated()} == {"retrieved"}
    assert set(cids) <= encoder.target.pins()


def test_a_second_migration_is_told_who_is_at_work(encoder: Encoder) -> None:
    encoder.video(0, name="", cid=MISSING)
    with encoder.start("migrate", "--to", encoder.to, "--transfer", "pull") as first:
        try:
            holder = encoder.data / "migration.holder.json"
            until(holder.exists)
            second = encoder.run("migrate", "--to", encoder.to)
            assert second.returncode == 1
            assert f"process {first.pid} has been migrating this archive since" in second.stderr
        finally:
            first.kill()


def test_ctrl_c_finishes_what_is_in_flight_and_says_where_it_stands(encoder: Encoder) -> None:
    cids = [encoder.video(number) for number in range(150)]
    with encoder.start("migrate", "--to", encoder.to, "--clean", "--concurrency", "1", "--transfer", "pull") as running:
        until(lambda: len(encoder.target.pins() & set(cids)) > 5)
        running.send_signal(2)
        out, err = running.communicate(timeout=60)
    assert running.returncode == 1, out + err
    assert "stopping when what is in flight has ended" in err
    assert "not tried; run this again to go on" in out
    assert 0 < len(encoder.migrated()) < 150
    assert len(encoder.migrated()) + len(encoder.waiting()) == 150
    assert encoder.run("migrate", "--to", encoder.to, "--clean").returncode == 0
    assert sorted(line["hash"] for line in encoder.migrated()) == sorted(cids)
