// Pins the IPFS Cluster that the examples and tests run; see examples/nodes/binaries.py.
module encoder-pin-plugin/examples/nodes/cluster

go 1.26

require github.com/ipfs-cluster/ipfs-cluster v1.1.6
