"""A small but real encoder: video in, HLS out, the folder on IPFS, the job reported to every plugin.

It is the host's side of the contract, to read and to copy from, and the stage of `make demo`:
`python -m examples.encoder_harness demo`, or `… run VIDEO` for your own videos and your own faults.
"""
