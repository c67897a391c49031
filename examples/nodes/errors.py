"""The one error of this package: a node, or what it takes to get one, did not do what was asked.

Every message says what failed, where to look (a log, a path) and what a person can do about it.
"""

from pathlib import Path


class NodeError(RuntimeError):
    """A node binary cannot be had, or a node did not start, stop or answer as it should."""


def log_tail(path: Path, lines: int = 15) -> str:
    """The end of a log, indented, for an error message: most readers never open the file itself."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        return f"  (no log: {error})"
    tail = text.splitlines()[-lines:]
    return "\n".join(f"  | {line}" for line in tail) or "  (the log is empty)"
