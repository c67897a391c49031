"""Real IPFS nodes for the demo and the tests: found or built, run on loopback, broken on purpose."""

from examples.nodes.binaries import (
    CLUSTER_VERSION,
    KUBO_VERSION,
    OLD_KUBO_VERSION,
    cluster_ctl_binary,
    cluster_service_binary,
    kubo_binary,
)
from examples.nodes.cluster import ClusterPeer, cluster_of
from examples.nodes.content import make_dag
from examples.nodes.errors import NodeError
from examples.nodes.kubo import KuboDaemon

__all__ = [
    "CLUSTER_VERSION",
    "KUBO_VERSION",
    "OLD_KUBO_VERSION",
    "ClusterPeer",
    "KuboDaemon",
    "NodeError",
    "cluster_ctl_binary",
    "cluster_of",
    "cluster_service_binary",
    "kubo_binary",
    "make_dag",
]
