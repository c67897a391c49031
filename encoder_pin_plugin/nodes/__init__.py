"""Nodes that pin: the port `PinNode`, what counts as proof, and an adapter for each kind of software."""
