"""Inside a host: one that stops while it records, forks, loses its folders, or runs as root beside the encoder."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pluggy
import pytest

from encoder_hookspecs import hookimpl
from encoder_hookspecs.events import CompletedJob
from encoder_pin_plugin.durable import SharedSync
from encoder_pin_plugin.errors import NotRecorded, StorageError
from encoder_pin_plugin.lazy.spool import Spool
from encoder_pin_plugin.service import Service
from tests.cids import cid_of

JOB = CompletedJob(cid=cid_of("a"), job_id="a")


def test_recording_while_the_host_stops_is_recording(bench, monkeypatch) -> None:
    service = bench.plugin.service
    service.start(bench.manager)
    real = service.spool.record

    def record(job: CompletedJob) -> object:
        done = real(job)
        service.stop(10)
        return done

    monkeypatch.setattr(service.spool, "record", record)
    bench.complete("a")
    assert len(bench.spool.arrivals(10)) + len(bench.spool.opened()) == 1 or bench.jobs()["a"].closed_at


def test_many_threads_record_while_the_host_starts_and_stops(bench) -> None:
    service, failed = bench.plugin.service, []

    def host(number: int) -> None:
        for count in range(30):
            try:
                bench.complete(f"{number}-{count}")
            except Exception as error:  # noqa: BLE001 - whatever it is, it reaches the host
                failed.append(error)

    threads = [threading.Thread(target=host, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        service.start(bench.manager)
        service.stop(0.01)
    assert failed == []


class _Failing:
    """A site's plugin that cannot start, and not stop either."""

    @hookimpl
    def on_encoder_start(self) -> None:
        raise OSError("no dashboard")

    @hookimpl
    def on_encoder_stop(self) -> None:
        raise OSError("no dashboard")


def test_a_plugin_that_fails_under_plain_pluggy_keeps_no_worker_from_starting_or_ending(bench) -> None:
    bench.manager.register(_Failing(), "site")
    with pytest.raises(OSError, match="no dashboard"):
        bench.manager.hook.on_encoder_start(manager=bench.manager)
    worker = bench.plugin.service._worker
    assert worker is not None
    assert worker.runs
    with pytest.raises(OSError, match="no dashboard"):
        bench.manager.hook.on_encoder_stop(timeout=20.0)
    assert worker.wait(0)


def test_a_host_may_wait_for_the_worker_for_ever(bench) -> None:
    bench.plugin.service.start(bench.manager)
    worker = bench.plugin.service._worker
    bench.manager.hook.on_encoder_stop(timeout=float("inf"))
    assert worker is not None
    assert worker.wait(0)


def test_a_worker_that_has_ended_is_no_worker(bench, monkeypatch) -> None:
    service, said = bench.plugin.service, []
    monkeypatch.setattr(service, "_warn_if_nobody_works", lambda: said.append(1))
    service.start(bench.manager)
    service._worker.stop()
    assert service._worker.wait(20)
    bench.complete("a")
    assert said == [1]


def test_a_deleted_current_folder_is_said_to_the_host(tmp_path: Path) -> None:
    code = (
        "import os, sys, shutil\n"
        "from encoder_hookspecs.events import CompletedJob\n"
        "from encoder_pin_plugin.errors import NotRecorded\n"
        "from encoder_pin_plugin.service import Service\n"
        "os.chdir(sys.argv[1]); shutil.rmtree(sys.argv[1])\n"
        "os.environ.pop('DATA_DIR', None)\n"
        "try:\n"
        f"    Service().record(CompletedJob(cid={JOB.cid!r}, job_id='a'))\n"
        "except NotRecorded as error:\n"
        "    print('told', error)\n"
    )
    folder = tmp_path / "gone"
    folder.mkdir()
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("told"), done.stderr


@pytest.mark.parametrize("first", ["records", "starts"])
def test_a_host_that_changes_its_folder_records_where_its_worker_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for folder, node in ((here, "a"), (there, "b")):
        folder.mkdir()
        (folder / ".env").write_text(f"NODE_NAME={node}\nIPFS_API_ADDR=http://127.0.0.1:1\nDATA_DIR={node}\n")
    for name in ("DATA_DIR", "NODE_NAME", "IPFS_API_ADDR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(here)
    service = Service()
    if first == "records":
        service.record(JOB)
    else:
        assert service.settings.node_name == "a"
    monkeypatch.chdir(there)
    service.record(JOB)
    worker = service.worker(pluggy.PluginManager("encoder"))
    assert (service.data_dir, worker._settings.data_dir) == (here / "a", here / "a")
    assert (service.archive.path.parent, service.settings.node_name) == (here / "a", "a")
    assert list(there.iterdir()) == [there / ".env"]


def test_a_host_without_a_working_folder_records_where_an_absolute_path_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    service = Service()
    service.record(JOB)
    assert service.settings.data_dir == tmp_path / "data"


def test_a_forked_child_records_and_works_with_nodes_of_its_own(bench) -> None:
    service = bench.plugin.service
    before = service.pinner
    before.sync._running = True  # as while another thread syncs: nobody ends it in the child
    child = os.fork()
    if child == 0:
        try:
            service._renew_after_fork()
            bench.complete("child")
            os._exit(0 if service.pinner is not before and not service.pinner.sync._running else 1)
        except BaseException:  # noqa: BLE001 - a test's child must not go on as a second pytest
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert len(bench.spool.arrivals(10)) == 1


def test_a_hanging_sync_is_told_in_time_and_served_later(monkeypatch) -> None:
    go = threading.Event()
    monkeypatch.setattr(os, "sync", lambda: go.wait(20))
    sync = SharedSync()
    for _ in range(2):
        with pytest.raises(StorageError, match="hangs"):
            sync.wait(0.1)
    go.set()
    sync.wait(10)


def test_a_sync_that_began_before_is_not_enough(monkeypatch) -> None:
    began, go = [], threading.Event()

    def slow() -> None:
        began.append(time.monotonic())
        go.wait(20)

    monkeypatch.setattr(os, "sync", slow)
    sync = SharedSync()
    first = threading.Thread(target=sync.wait)
    first.start()
    while not began:
        time.sleep(0.01)
    asked = time.monotonic()
    second = threading.Thread(target=sync.wait)
    second.start()
    time.sleep(0.1)
    go.set()
    first.join(10)
    second.join(10)
    assert began[-1] >= asked


def _links(folder: Path) -> dict[str, str]:
    return {path.name: str(path) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["tmp", "new"])
def test_a_link_to_nowhere_in_a_folders_place_is_named(tmp_path: Path, name: str) -> None:
    spool = Spool(tmp_path)
    spool.create()
    (spool.folder / name).rmdir()
    (spool.folder / name).symlink_to(tmp_path / "nowhere")
    with pytest.raises(NotRecorded, match="points nowhere"):
        spool.record(JOB)
    assert _links(spool.folder) == {}


@pytest.mark.parametrize("name", ["tmp", "new"])
def test_a_file_in_a_folders_place_is_named_and_nothing_piles_up(tmp_path: Path, name: str) -> None:
    spool = Spool(tmp_path)
    spool.create()
    (spool.folder / name).rmdir()
    (spool.folder / name).write_text("")
    for _ in range(3):
        with pytest.raises(NotRecorded, match="a file stands where a folder belongs"):
            spool.record(JOB)
    assert _links(spool.folder) == {name: str(spool.folder / name)}


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="needs a second file system")
def test_folders_on_two_file_systems_are_told_apart(tmp_path: Path) -> None:
    spool, elsewhere = Spool(tmp_path), Path(f"/dev/shm/encoder-pin-{os.getpid()}")
    spool.create()
    elsewhere.mkdir()
    try:
        if elsewhere.stat().st_dev == tmp_path.stat().st_dev:
            pytest.skip("one file system")
        spool.new.rmdir()
        spool.new.symlink_to(elsewhere)
        with pytest.raises(NotRecorded, match="on one file system"):
            spool.record(JOB)
        assert list(spool.tmp.iterdir()) == []
    finally:
        elsewhere.rmdir()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_what_root_makes_belongs_to_the_encoder(tmp_path: Path, bench) -> None:
    data = bench.settings.data_dir
    data.mkdir(parents=True)
    os.chown(data, 65534, 65534)
    bench.complete("a")
    bench.supernode.down()
    assert bench.drain() == 0
    bench.complete("b")
    others = [path for path in data.rglob("*") if path.lstat().st_uid != 65534]
    assert others == []
