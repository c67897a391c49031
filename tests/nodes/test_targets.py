"""One line of text names a target: what it says, and what is refused with a sentence that helps."""

import pytest

from encoder_pin_plugin.errors import InvalidSettings
from encoder_pin_plugin.nodes.cluster import ClusterNode
from encoder_pin_plugin.nodes.kubo import KuboNode
from encoder_pin_plugin.nodes.pinning_service import PinningService
from encoder_pin_plugin.nodes.targets import read_target
from encoder_pin_plugin.settings import Credentials, Secret


@pytest.mark.parametrize(
    ("url", "kind", "address"),
    [
        ("kubo+http://node.example:5001", KuboNode, "http://node.example:5001"),
        ("kubo+https://node.example/prefix", KuboNode, "https://node.example/prefix"),
        ("cluster+http://127.0.0.1:9094", ClusterNode, "http://127.0.0.1:9094"),
        ("cluster+https://cluster.example", ClusterNode, "https://cluster.example"),
        ("psa+https://service.example/psa", PinningService, "https://service.example/psa"),
        ("psa+http://[::1]:9097", PinningService, "http://[::1]:9097"),
    ],
)
def test_opens_the_node_that_is_named(url: str, kind: type, address: str) -> None:
    node = read_target(url).open()
    assert type(node) is kind
    assert node.address == address


def test_the_usual_port_is_that_of_the_software() -> None:
    cluster, service = read_target("cluster+http://c.example").open(), read_target("psa+http://s.example/psa").open()
    assert isinstance(cluster, ClusterNode)
    assert isinstance(service, PinningService)
    assert (cluster.where.port, service.where.port) == (9094, 80)


def test_a_clusters_options() -> None:
    url = "cluster+http://c.example?replication-min=2&replication-max=3&quorum=2&peer=p1@http://127.0.0.1:5001"
    node = read_target(url).open()
    assert isinstance(node, ClusterNode)
    assert node.address == "http://c.example"
    assert node.on_this_machine  # its one known Kubo node is


@pytest.mark.parametrize(
    "url",
    ["kubo+http://n.example:5001", "cluster+http://c.example?quorum=2&peer=p1@http://127.0.0.1:5001", "psa+http://s"],
)
def test_what_was_read_is_opened_with_credentials_that_come_later(url: str) -> None:
    named = read_target(url)
    assert named.url == url
    node = named.open(Credentials("bearer", "", Secret("token-of-ours")))
    assert node.address == named.address
    assert node.on_this_machine == url.startswith("cluster"), "where a peer's own node is known to be"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://node.example:5001", "names no kind of node"),
        ("kubo+ftp://node.example", "names no kind of node"),
        ("swarm+http://node.example", "names no kind of node"),
        ("", "names no kind of node"),
        ("kubo", "names no kind of node"),
        ("kubo+http://", "is no host"),
        ("kubo+http://node.example:port", "cannot be used"),
        ("cluster+http://c.example?replication=2", "no option of a cluster"),
        ("cluster+http://c.example?replication-min=two", "write a number of copies"),
        ("cluster+http://c.example?replication-min=-2", "write a number of copies"),
        ("cluster+http://c.example?quorum=0", "write a number of copies"),
        ("cluster+http://c.example?replication-min=3&replication-max=2", "contradict each other"),
        ("cluster+http://c.example?replication-min=-1&replication-max=2", "contradict each other"),
        ("cluster+http://c.example?peer=http://127.0.0.1:5001", "write peer=NAME@URL"),
        ("cluster+http://c.example?peer=p1@nonsense", "cannot be used"),
        ("psa+http://s.example?quorum=2", "only a cluster takes any"),
        ("kubo+http://[::1", "is no URL"),
        ("kubo+http://node.example#x", "query or a fragment"),
    ],
)
def test_refuses_what_cannot_be_meant(url: str, words: str) -> None:
    with pytest.raises(InvalidSettings, match=words):
        read_target(url)


@pytest.mark.parametrize(
    "url",
    [
        "cluster+http://user:hunter22@c.example:9094",
        "psa+https://hunter22@s.example",
        "nothing+http://user:hunter22@c.example",
        "kubo+http://user:hunter22@[::1",
        "kubo+http://user:hunter22@n.example?x=1",
        "cluster+http://user:hunter22@c.example?quorum=x",
        "cluster+http://c.example?peer=p1@http://user:hunter22@n.example",
        "cluster+http://c.example?peer=http://user:hunter22",
    ],
)
def test_a_password_in_it_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(InvalidSettings) as caught:
        read_target(url)
    assert "hunter22" not in str(caught.value)
    assert "hunter22" not in repr(caught.value.__cause__)
