"""A person at a shell, for tests that run what documents show."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from encoder_pin_plugin.settings.table import TABLE


@dataclass
class Shell:
    """A person at a shell in a folder of their own, with the console script on the path."""

    folder: Path
    env: dict[str, str]

    def run(self, line: str) -> subprocess.CompletedProcess[str]:
        command = ["bash", "-o", "pipefail", "-c", line]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "stdin": subprocess.DEVNULL}
        return subprocess.run(command, cwd=self.folder, env=self.env, text=True, timeout=120, check=False, **pipes)

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        quiet = subprocess.DEVNULL
        return subprocess.Popen(command, cwd=self.folder, env=self.env, stdin=quiet, stdout=quiet, stderr=quiet)


def shell_in(folder: Path) -> Shell:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    kept = {name: text for name, text in os.environ.items() if name not in TABLE}
    (folder / "data").mkdir()
    return Shell(folder, kept | {"PATH": path, "IPFS_API_ADDR": "http://127.0.0.1:1", "NODE_NAME": "encoder-1"})
