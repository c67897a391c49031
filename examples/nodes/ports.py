"""Ports for nodes that stop and come back on the same address.

Port 0 would give a port from the system's ephemeral range. While such a node is down, any outgoing
connection of any program may be given that number, and then the node cannot come back; worse, a client that
retries on loopback can be given it as its own source port and connect to itself. So we take ports from
below that range.
"""

import random
import socket
import threading
from pathlib import Path

LOOPBACK = "127.0.0.1"
LOWEST_PORT = 20000
_EPHEMERAL_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_USUAL_EPHEMERAL_START = 32768
_given_out: set[int] = set()
_lock = threading.Lock()


def free_port() -> int:
    """A port on loopback that is free now, and that this process has given to nobody else before.

    Another process can still be quicker than the node that gets it: whoever starts a node tries again then.
    """
    highest = _first_ephemeral_port() - 1
    for _ in range(200):
        port = random.randint(LOWEST_PORT, highest) if highest > LOWEST_PORT else 0  # noqa: S311
        if found := _claim(port):
            return found
    raise OSError(f"no free port on {LOOPBACK} between {LOWEST_PORT} and {highest}")


def _claim(port: int) -> int | None:
    with _lock, socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        if port in _given_out:
            return None
        # As Go's listeners do: without it, a port with connections in TIME_WAIT would look taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return None
        found = int(probe.getsockname()[1])
        if found in _given_out:
            return None
        _given_out.add(found)
        return found


def _first_ephemeral_port() -> int:
    try:
        return int(_EPHEMERAL_RANGE.read_text(encoding="ascii").split()[0])
    except (OSError, ValueError, IndexError):
        return _USUAL_EPHEMERAL_START
