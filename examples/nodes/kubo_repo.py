"""A Kubo repository on the disk: made, configured and damaged without a running daemon."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from examples.nodes.errors import NodeError
from examples.nodes.process import clean_environment

# The profile `test` already has no bootstrap, mDNS, NAT mapping, AutoTLS and AutoConf.
_QUIET: dict[str, Any] = {
    "Routing": {"Type": "none"},
    "Plugins": {"Plugins": {"telemetry": {"Disabled": True}}},
    "Version": {"SwarmCheckEnabled": False},
    "Provide": {"Enabled": False},
}
_SINCE_PROVIDE = "AutoConf"  # lines that have this section know `Provide`; older ones leave it out


def create(binary: Path, repo: Path) -> None:
    """Make an empty repository of the profile `test`."""
    run(binary, repo, "init", "--profile=test", "--empty-repo")


def configure(repo: Path, *layers: Mapping[str, Any]) -> None:
    """Write the quiet settings and then `layers` into the configuration, each over what stands there."""
    path = repo / "config"
    config = json.loads(path.read_text(encoding="utf-8"))
    quiet = dict(_QUIET)
    if _SINCE_PROVIDE not in config:
        del quiet["Provide"]
    for layer in (quiet, *layers):
        lay_over(config, layer)
    path.write_text(json.dumps(config, indent=2), encoding="utf-8")
    (repo / "api").unlink(missing_ok=True)  # of a daemon that was killed: the `ipfs` program would go by it


def lay_over(config: dict[str, Any], layer: Mapping[str, Any]) -> None:
    """Put the values of `layer` into `config`, section by section."""
    for name, value in layer.items():
        if isinstance(value, Mapping) and isinstance(config.get(name), dict):
            lay_over(config[name], value)
        else:
            config[name] = value


def peer_id(repo: Path) -> str:
    return str(json.loads((repo / "config").read_text(encoding="utf-8"))["Identity"]["PeerID"])


def remove_block_file(binary: Path, repo: Path, cid: str) -> None:
    """Delete a block from the disk, behind Kubo's back: pinned or not, running or not."""
    name = run(binary, repo, "cid", "format", "-b=base32upper", "-f=%M", cid).strip()  # the multihash
    (repo / "blocks" / name[-3:-1] / f"{name}.data").unlink(missing_ok=True)


def run(binary: Path, repo: Path, *arguments: str, timeout: float = 60) -> str:
    """Run the `ipfs` program on a repository; what it printed."""
    environment = clean_environment(IPFS_PATH=str(repo), IPFS_TELEMETRY="off", GOLOG_LOG_LEVEL="error")
    try:
        done = subprocess.run(
            [binary, *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NodeError(f"ipfs {arguments[0]} on {repo}: {error}") from error
    if done.returncode != 0:
        raise NodeError(f"ipfs {arguments[0]} on {repo} failed: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout
