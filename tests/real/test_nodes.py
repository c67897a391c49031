"""The real nodes that other tests stand on do what those tests take for granted."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from examples.nodes import ClusterPeer, KuboDaemon, NodeError, cluster_of, make_dag
from examples.nodes.ports import LOOPBACK
from examples.nodes.process import NodeProcess
from tests.real.conftest import until

pytestmark = pytest.mark.real


MakeKubo = Callable[..., KuboDaemon]


def is_alive(pid: int) -> bool:
    """Whether it runs; a zombie, which only waits for its parent to look, does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_node_answers_and_pins_what_is_added(local_kubo: KuboDaemon) -> None:
    """The addresses a test hands on all lead to the node, and what was added is pinned there."""
    cid = make_dag(local_kubo)
    port = local_kubo.api_url.rsplit(":", 1)[1]
    assert local_kubo.api_multiaddr == f"/ip4/{LOOPBACK}/tcp/{port}"
    assert local_kubo.rpc("id")[0]["ID"] == local_kubo.peer_id
    assert cid in local_kubo.pins()
    assert requests.get(f"{local_kubo.gateway_url}/ipfs/{cid}?format=raw", timeout=60).ok


def test_it_keeps_to_itself(local_kubo: KuboDaemon) -> None:
    """No bootstrap, no announcements, no telemetry, no address but loopback: tests talk to this machine alone."""
    config = local_kubo.rpc("config/show")[0]
    assert config["Bootstrap"] == []
    assert config["Routing"]["Type"] == "none"
    assert config["Plugins"]["Plugins"]["telemetry"]["Disabled"] is True
    assert all(LOOPBACK in address for address in local_kubo.rpc("id")[0]["Addresses"])


def test_connected_nodes_fetch_from_each_other(local_kubo: KuboDaemon, super_kubo: KuboDaemon) -> None:
    """The supernode gets and pins what only the encoder's node has."""
    cid = make_dag(local_kubo, size_kb=700, files=5)
    super_kubo.rpc("pin/add", cid)
    assert cid in super_kubo.pins()
    assert super_kubo.rpc("dag/stat", cid, offline=True, progress=False) == local_kubo.rpc(
        "dag/stat", cid, offline=True, progress=False
    )


def test_a_dag_is_new_each_time_and_as_big_as_asked(local_kubo: KuboDaemon) -> None:
    """No test is fooled by blocks that another one left behind."""
    first, second = (make_dag(local_kubo, size_kb=33, files=4) for _ in range(2))
    links = local_kubo.rpc("ls", first)[0]["Objects"][0]["Links"]
    assert first != second
    assert len(links) == 4
    assert sum(link["Size"] for link in links) == 33 * 1024


def test_unpinned_when_asked(local_kubo: KuboDaemon) -> None:
    """Content that is there and not pinned, as a job's is before the lazy pin."""
    assert make_dag(local_kubo, pin=False) not in local_kubo.pins()


def test_a_folder_is_added_by_the_program_even_to_a_stopped_node(make_kubo: MakeKubo, tmp_path: Path) -> None:
    """The same folder has the same CID, running or not."""
    folder = tmp_path / "job"
    (folder / "480p").mkdir(parents=True)
    (folder / "480p" / "a.ts").write_bytes(os.urandom(3000))
    (folder / "manifest.m3u8").write_text("#EXTM3U\n")
    node = make_kubo()
    running = node.add(folder)
    node.stop()
    assert node.add(folder) == running


def test_a_restarted_node_has_its_addresses_and_its_pins(make_kubo: MakeKubo) -> None:
    """The supernode is back: same address, same content."""
    node = make_kubo()
    before = (node.api_url, node.gateway_url, node.swarm_addresses())
    cid = make_dag(node)
    first_pid = node.pid
    node.restart()
    assert (node.api_url, node.gateway_url, node.swarm_addresses()) == before
    assert node.pid != first_pid
    assert cid in node.pins()


def test_a_new_object_for_the_same_folder_takes_up_the_same_ports(make_kubo: MakeKubo) -> None:
    """A person who runs the demo's nodes again finds them where they were."""
    node = make_kubo()
    node.stop()
    with KuboDaemon(node.folder, node.binary) as again:
        assert (again.api_url, again.swarm_addresses()) == (node.api_url, node.swarm_addresses())


def test_a_killed_node_refuses_connections_and_comes_back(make_kubo: MakeKubo) -> None:
    """A power cut: the port is closed at once, and a start without any repair works."""
    node = make_kubo()
    cid = make_dag(node)
    node.kill()
    assert not node.running
    with pytest.raises(NodeError, match="refused"):
        node.rpc("id")
    node.start()
    assert cid in node.pins()


def test_a_frozen_node_accepts_and_says_nothing(make_kubo: MakeKubo) -> None:
    """The overload that a client must not wait for endlessly."""
    node = make_kubo()
    node.freeze()
    host, port = node.api_url.removeprefix("http://").split(":")
    socket.create_connection((host, int(port)), timeout=10).close()
    with pytest.raises(NodeError, match="timed out"):
        node.rpc("id", timeout=1)
    node.thaw()
    assert node.rpc("id")[0]["ID"] == node.peer_id


def test_a_frozen_node_can_be_stopped(make_kubo: MakeKubo) -> None:
    """A test that fails while its node is frozen still leaves nothing behind."""
    node = make_kubo()
    pid = node.pid
    node.freeze()
    node.stop()
    assert not is_alive(pid)


def test_stopping_twice_and_starting_twice_do_nothing(make_kubo: MakeKubo) -> None:
    """Clean-up code need not know what state a test left its node in."""
    node = make_kubo()
    pid = node.pid
    assert node.start().pid == pid
    node.stop()
    node.stop()
    with pytest.raises(NodeError, match="is not running"):
        node.freeze()


def test_an_offline_node_misses_at_once(make_kubo: MakeKubo, local_kubo: KuboDaemon) -> None:
    """What it does not have, it says so instead of looking for a provider."""
    cid = make_dag(local_kubo)
    with pytest.raises(NodeError, match="offline"):
        make_kubo(offline=True).rpc("pin/add", cid)


@pytest.mark.parametrize("pinned", [True, False])
def test_a_removed_block_is_missing(make_kubo: MakeKubo, pinned: bool) -> None:
    """A bad disk: the pin record, if there was one, outlives the block."""
    node = make_kubo()
    cid = make_dag(node, pin=pinned)
    node.remove_block(node.rpc("ls", cid)[0]["Objects"][0]["Links"][0]["Hash"])
    with pytest.raises(NodeError, match="could not find"):
        node.rpc("dag/stat", cid, offline=True, progress=False)
    assert (cid in node.pins()) is pinned


@pytest.mark.parametrize("secret", ["basic:encoder:s3cret", "bearer:token-1"])
def test_a_node_that_asks_for_a_secret(make_kubo: MakeKubo, secret: str, tmp_path: Path) -> None:
    """Our own calls know it; everybody else's are refused."""
    access = {"encoder": {"AuthSecret": secret, "AllowedPaths": ["/api/v0"]}}
    node = make_kubo(config={"API": {"Authorizations": access}})
    assert requests.post(f"{node.api_url}/api/v0/id", timeout=60).status_code == 403
    (tmp_path / "file").write_text("hello")
    assert node.add(tmp_path / "file") in node.pins()


def test_a_port_taken_before_the_first_start_is_changed(make_kubo: MakeKubo) -> None:
    """Ports are chosen before they are used, so somebody can be quicker; then others are taken."""
    node = make_kubo(start=False)
    wanted = node.api_url
    with socket.create_server((LOOPBACK, int(wanted.rsplit(":", 1)[1]))):
        node.start()
    assert node.api_url != wanted
    assert node.rpc("id")[0]["ID"] == node.peer_id


def test_a_port_taken_later_is_an_error_that_shows_the_log(make_kubo: MakeKubo) -> None:
    """A node whose address others know must not move quietly."""
    node = make_kubo()
    node.stop()
    with (
        socket.create_server((LOOPBACK, int(node.api_url.rsplit(":", 1)[1]))),
        pytest.raises(NodeError, match="address already in use"),
    ):
        node.start()
    node.start()


def test_a_node_that_cannot_start_shows_its_log(make_kubo: MakeKubo) -> None:
    """Whoever reads the error need not go looking for the reason."""
    node = make_kubo(start=False, config={"Datastore": {"Spec": {"type": "no-such-thing"}}})
    with pytest.raises(NodeError, match=r"ended with exit code 1(.|\n)*no-such-thing"):
        node.start()


def test_the_older_line_runs_too(old_kubo: KuboDaemon) -> None:
    """Kubo 0.34 with the same settings and the same calls."""
    cid = make_dag(old_kubo)
    assert old_kubo.rpc("version")[0]["Version"] == "0.34.1"
    assert cid in old_kubo.pins()


def test_a_node_outlives_the_thread_that_started_it(make_kubo: MakeKubo) -> None:
    """Otherwise a node started by a worker thread would vanish in the middle of a test."""
    node = make_kubo(start=False)
    thread = threading.Thread(target=node.start)
    thread.start()
    thread.join()
    assert node.rpc("id")[0]["ID"] == node.peer_id


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child whose parent was killed")
def test_a_node_does_not_outlive_its_program(kubo_binary: Path, tmp_path: Path) -> None:
    """A test run that is killed leaves no daemon behind."""
    script = (
        "import pathlib, sys, time; from examples.nodes import KuboDaemon;"
        "print(KuboDaemon(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])).start().pid, flush=True);"
        "time.sleep(3600)"
    )
    command = [sys.executable, "-c", script, str(tmp_path), str(kubo_binary)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as program:
        assert program.stdout is not None
        pid = int(program.stdout.readline())
        assert is_alive(pid)
        program.send_signal(signal.SIGKILL)
    until(lambda: not is_alive(pid))


def test_a_process_that_ignores_requests_to_end_is_killed(tmp_path: Path) -> None:
    """A node that hangs while it shuts down does not hang the tests."""
    script = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(3600)"
    )
    process = NodeProcess([sys.executable, "-c", script], env=dict(os.environ), log=tmp_path / "log")
    until(lambda: "up" in process.output())
    process.stop(patience=0.2)
    assert process.exit_code == -signal.SIGKILL


def test_a_cluster_of_one_really_pins(cluster_peer: ClusterPeer) -> None:
    """Not only in its own books: the Kubo behind it has the pin."""
    cid = make_dag(cluster_peer.kubo, pin=False)
    cluster_peer.rest("POST", f"/pins/{cid}", name="job-1")
    until(lambda: cluster_peer.statuses(cid) == {"peer-1": "pinned"})
    assert cid in cluster_peer.kubo.pins()


def test_a_peer_serves_a_pinning_service_and_a_kubo_proxy(cluster_peer: ClusterPeer) -> None:
    """The other two doors of the same peer."""
    cid = make_dag(cluster_peer.kubo, pin=False)
    asked = requests.post(f"{cluster_peer.pinsvc_url}/pins", json={"cid": cid, "name": "job-1"}, timeout=60).json()
    assert asked["pin"]["cid"] == cid
    until(lambda: cluster_peer.statuses(cid) == {"peer-1": "pinned"})
    listed = requests.post(f"{cluster_peer.proxy_url}/api/v0/pin/ls", params={"arg": cid}, timeout=60).json()
    assert listed["Keys"] == {cid: {"Type": "recursive"}}


def test_a_peer_comes_back_on_the_same_addresses_with_its_pins(make_kubo: MakeKubo, tmp_path: Path) -> None:
    """Stopped, killed or frozen, like a Kubo."""
    with ClusterPeer(tmp_path / "peer", make_kubo()) as peer:
        before = (peer.rest_url, peer.pinsvc_url, peer.proxy_url, peer.peer_id)
        cid = make_dag(peer.kubo, pin=False)
        peer.rest("POST", f"/pins/{cid}")
        until(lambda: peer.statuses(cid) == {"peer-1": "pinned"})
        peer.restart()
        peer.kill()
        peer.start()
        peer.freeze()
        with pytest.raises(NodeError, match="timed out"):
            peer.rest("GET", "/id", timeout=1)
        peer.thaw()
        until(lambda: peer.statuses(cid) == {"peer-1": "pinned"})
        assert (peer.rest_url, peer.pinsvc_url, peer.proxy_url, peer.peer_id) == before


def test_a_peer_whose_port_is_taken_takes_another(make_kubo: MakeKubo, tmp_path: Path) -> None:
    """As with Kubo, before its first start."""
    peer = ClusterPeer(tmp_path / "peer", make_kubo())
    wanted = peer.rest_url
    with socket.create_server((LOOPBACK, int(wanted.rsplit(":", 1)[1]))), peer:
        assert peer.rest_url != wanted
        assert peer.rest("GET", "/id")[0]["id"] == peer.peer_id


@pytest.mark.slow
def test_three_peers_share_the_pins(kubo_binary: Path, tmp_path: Path) -> None:
    """Two copies were asked for: two nodes have it, the third knows that others do."""
    with cluster_of(3, tmp_path) as peers:
        cid = make_dag(peers[0].kubo, pin=False)
        peers[0].rest("POST", f"/pins/{cid}", replication_min=2, replication_max=2)
        wanted = ["pinned", "pinned", "remote"]
        until(lambda: sorted(peers[0].statuses(cid).values()) == wanted)
        assert sum(cid in peer.kubo.pins() for peer in peers) == 2
