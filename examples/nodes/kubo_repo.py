"""A Kubo repository on the disk: made, configured and damaged without a running daemon."""

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from examples.nodes.errors import NodeError
from examples.nodes.json_files import change_json, read_json
from examples.nodes.process import clean_environment

# The profile `test` already has no bootstrap, mDNS, NAT mapping, AutoTLS and AutoConf.
_QUIET: dict[str, Any] = {
    "Routing": {"Type": "none"},
    "Plugins": {"Plugins": {"telemetry": {"Disabled": True}}},
    "Version": {"SwarmCheckEnabled": False},
    "Provide": {"Enabled": False},  # lines before 0.38 don't know it, and then Routing alone keeps them quiet
}


def create(binary: Path, repo: Path) -> None:
    """Make an empty repository of the profile `test`, unless there is one."""
    if not (repo / "config").exists():
        run(binary, repo, "init", "--profile=test", "--empty-repo")


def configure(repo: Path, *layers: Mapping[str, Any]) -> None:
    """Write the quiet settings and then `layers` into the configuration, each over what stands there."""
    change_json(repo / "config", _QUIET, *layers)
    (repo / "api").unlink(missing_ok=True)  # of a daemon that was killed: the `ipfs` program would go by it


def peer_id(repo: Path) -> str:
    return str(read_json(repo / "config")["Identity"]["PeerID"])


def ports(repo: Path) -> tuple[int, int, int] | None:
    """The ports for API, gateway and swarm that a repository was configured with before, if it was."""
    if not (repo / "config").exists():
        return None
    addresses = read_json(repo / "config")["Addresses"]
    texts = (addresses["API"], addresses["Gateway"], addresses["Swarm"][0])
    api, gateway, swarm = (int(text.split("/")[4]) for text in texts)
    return (api, gateway, swarm) if api and gateway and swarm else None  # 0 after a bare `ipfs init`


def remove_block_file(binary: Path, repo: Path, cid: str) -> None:
    """Delete a block from the disk, behind Kubo's back: pinned or not, running or not."""
    name = run(binary, repo, "cid", "format", "-b=base32upper", "-f=%M", cid).strip()  # the multihash
    (repo / "blocks" / name[-3:-1] / f"{name}.data").unlink(missing_ok=True)


def environment(repo: Path) -> dict[str, str]:
    """What the `ipfs` program runs with, as a daemon and otherwise."""
    return clean_environment(IPFS_PATH=str(repo), IPFS_TELEMETRY="off", GOLOG_LOG_LEVEL="error")


def run(binary: Path, repo: Path, *arguments: str, timeout: float = 60) -> str:
    """Run the `ipfs` program on a repository; what it printed."""
    command = [str(binary), *arguments]
    try:
        done = subprocess.run(
            command, env=environment(repo), capture_output=True, text=True, timeout=timeout, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NodeError(f"ipfs {arguments[0]} on {repo}: {error}") from error
    if done.returncode != 0:
        raise NodeError(f"ipfs {arguments[0]} on {repo} failed: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout
