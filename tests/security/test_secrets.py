"""A canary in every place where a secret can be given, looked for in everything that comes out."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CANARY = "canary-7f3a9b"
COMMANDS = [
    ["settings"], ["settings", "--json"], ["doctor"], ["status"], ["status", "--json"], ["jobs"], ["plugins"],
    ["work", "--drain"], ["archive", "check"], ["migrate", "--to", f"psa+http://127.0.0.1:9/?token={CANARY}"],
    ["migrate", "--to", f"kubo+http://user:{CANARY}@127.0.0.1:9"],
    ["submit", "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG", "--job-id", "job"],
]  # fmt: skip
WHERE = [
    {"THREESPEAK_IPFS_AUTH": f"bearer:{CANARY}", "IPFS_API_AUTH": f"basic:me:{CANARY}"},
    {"THREESPEAK_IPFS_AUTH": f"nonsense:{CANARY}"},
    {"THREESPEAK_IPFS_ENDPOINT": f"http://me:{CANARY}@127.0.0.1:9", "IPFS_API_ADDR": f"http://me:{CANARY}@127.0.0.1:9"},
    {"IPFS_CLUSTER_ENDPOINT": f"http://127.0.0.1:9/?key={CANARY}", "USE_CLUSTER_FOR_PINS": "true"},
]


@pytest.mark.parametrize("given", WHERE, ids=["auth", "wrong auth", "in the address", "in the query"])
@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_secret_comes_out_nowhere(tmp_path: Path, words: list[str], given: dict[str, str]) -> None:
    environ = {name: text for name, text in os.environ.items() if name in ("PATH", "HOME", "PYTHONPATH")}
    quick = {"LAZY_PIN_BACKOFF": "1", "LOCAL_FALLBACK_THRESHOLD": "1", "THREESPEAK_IPFS_ENDPOINT": "http://127.0.0.1:9"}
    done = subprocess.run(
        [sys.executable, "-m", "encoder_pin_plugin", "-vv", "--data-dir", str(tmp_path / "data"), *words],
        capture_output=True, check=False, timeout=60, cwd=tmp_path, env=environ | quick | given,
    )  # fmt: skip
    assert CANARY.encode() not in done.stdout + done.stderr
    for path in tmp_path.rglob("*"):
        assert CANARY not in path.name
        assert not path.is_file() or CANARY.encode() not in path.read_bytes(), path
