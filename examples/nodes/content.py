"""Content that no node has yet, for tests and the demo: small directories with random bytes in them."""

import os

from examples.nodes.kubo import KuboDaemon


def make_dag(node: KuboDaemon, *, size_kb: int = 16, files: int = 3, pin: bool = True) -> str:
    """Add a directory of `files` files, `size_kb` in all, that nobody ever added before; its CID.

    Looks like a finished video job to a node: a directory, with one block for each small file.
    """
    share, rest = divmod(size_kb * 1024, files)
    sizes = [share + (1 if number < rest else 0) for number in range(files)]
    return node.add_files({f"part-{number:04}.ts": os.urandom(size) for number, size in enumerate(sizes)}, pin=pin)
