// Pins the older Kubo line that the tests run too; see examples/nodes/binaries.py.
module encoder-pin-plugin/examples/nodes/kubo

go 1.24

require github.com/ipfs/kubo v0.34.1
