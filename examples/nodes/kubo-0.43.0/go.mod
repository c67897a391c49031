// Pins the Kubo that the examples and tests run; see examples/nodes/binaries.py.
module encoder-pin-plugin/examples/nodes/kubo

go 1.26.5

require github.com/ipfs/kubo v0.43.0
