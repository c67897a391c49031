"""A node, or what it takes to get one, did not do what was asked.

Every message says what failed, where to look (a log, a path) and what a person can do about it.
"""

LAST_LINES = 15
"""Of a log that are shown."""


class NodeError(RuntimeError):
    """A node binary cannot be had, or a node did not start, stop or answer as it should."""


class PortTakenError(NodeError):
    """A node did not start because somebody else was quicker to take its port."""


def log_tail(text: str) -> str:
    """The end of a log, indented, for an error message: most readers never open the file itself."""
    tail = text.splitlines()[-LAST_LINES:]
    return "\n".join(f"  | {line}" for line in tail) or "  (the log is empty)"
