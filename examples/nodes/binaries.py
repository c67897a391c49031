"""Where the node binaries come from: the ones a person already has, else built from their published Go
modules.

No binary is kept in git and none is downloaded ready-made, so that a machine with Python and the package
registries gets real nodes, of exactly the versions the facts in our tests were seen with. The order for
Kubo: KUBO_BINARY, `ipfs` on PATH, our cache folder, a build; for IPFS Cluster the same without a variable.
A build is done once for each cache folder.
"""

import functools
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from examples.nodes.build import Say, build_lock, build_module
from examples.nodes.errors import NodeError

KUBO_VERSION = "0.43.0"
OLD_KUBO_VERSION = "0.34.1"
CLUSTER_VERSION = "1.1.6"

_skipped: set[tuple[str, "Tool"]] = set()  # what was found on PATH and not used: said once in a run


@dataclass(frozen=True, slots=True)
class Tool:
    """One program of one version, and the Go package it is built from."""

    program: str
    line: str
    version: str
    package: str

    @property
    def folder(self) -> str:
        return f"{self.line}-{self.version}"


def tell(message: str) -> None:
    """Where news of a build goes unless the caller wants it elsewhere: a first build takes minutes."""
    print(message, file=sys.stderr, flush=True)


def kubo_binary(version: str = KUBO_VERSION, *, say: Say = tell) -> Path:
    """The `ipfs` program. KUBO_BINARY is taken as it is, whatever its version, for the current line only."""
    chosen = os.environ.get("KUBO_BINARY", "")
    if chosen and version == KUBO_VERSION:
        return _as_chosen(Path(chosen))
    return find(Tool("ipfs", "kubo", version, "github.com/ipfs/kubo/cmd/ipfs"), say=say)


def cluster_service_binary(*, say: Say = tell) -> Path:
    """The program of a Cluster peer."""
    return find(_cluster("ipfs-cluster-service"), say=say)


def cluster_ctl_binary() -> Path:
    """The program that asks a Cluster peer."""
    return find(_cluster("ipfs-cluster-ctl"))


def find(tool: Tool, *, say: Say = tell) -> Path:
    """The tool from PATH or the cache folder if it is the very version, else built into the cache."""
    if on_path := _from_path(tool, say):
        return on_path
    cache = cache_folder()
    cached = cache / "bin" / tool.folder / tool.program
    if _is(tool, cached):
        return cached
    with build_lock(cache, say):
        if _is(tool, cached):  # whoever held the lock before us built it
            return cached
        if cached.exists():
            say(f"{cached} does not answer as version {tool.version}: building it anew")
        build_module(Path(__file__).parent / tool.folder, tool.package, cached, cache=cache, say=say)
        if not _is(tool, cached):
            raise NodeError(
                f"{cached} was built but does not answer as version {tool.version}: remove it and try again"
            )
    return cached


def cache_folder() -> Path:
    """Everything we build, and what we need to build it; it may be removed at any time."""
    if chosen := os.environ.get("ENCODER_PIN_CACHE"):
        return Path(chosen).absolute()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "encoder-pin-plugin"


def _cluster(program: str) -> Tool:
    return Tool(program, "cluster", CLUSTER_VERSION, f"github.com/ipfs-cluster/ipfs-cluster/cmd/{program}")


def _as_chosen(binary: Path) -> Path:
    if not os.access(binary, os.X_OK) or binary.is_dir():
        raise NodeError(f"KUBO_BINARY is {binary}, which is no program that can be run: correct it or unset it")
    return binary.absolute()


def _from_path(tool: Tool, say: Say) -> Path | None:
    found = shutil.which(tool.program)
    if not found:
        return None
    if _is(tool, Path(found)):
        return Path(found).absolute()
    if (found, tool) not in _skipped:
        _skipped.add((found, tool))
        say(f"{found} is not version {tool.version}: not used")
    return None


def _is(tool: Tool, binary: Path) -> bool:
    try:
        stat = binary.stat()
    except OSError:
        return False
    return tool.version in _reported_version(binary, stat.st_mtime_ns, stat.st_size).split()


@functools.cache
def _reported_version(binary: Path, _mtime_ns: int, _size: int) -> str:
    """What `--version` says, asked once for each state of the file; empty when it can't even be run."""
    try:
        done = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""
