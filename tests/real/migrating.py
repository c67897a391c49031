"""An encoder with an archive to migrate, on real nodes, and the command run as its operator would."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from encoder_pin_plugin.archive.jsonl import Archive
from encoder_pin_plugin.archive.record import ArchiveRecord
from examples.nodes import KuboDaemon, make_dag

SCRIPT = Path(sys.executable).with_name("encoder-pin")


@dataclass
class Encoder:
    """A data folder, the encoder's own node, and where everything should go."""

    data: Path
    local: KuboDaemon
    target: KuboDaemon

    @property
    def to(self) -> str:
        return f"kubo+{self.target.api_url}"

    @property
    def archive(self) -> Archive:
        return Archive(self.data)

    def video(self, number: int, *, name: str = "encoder-pin", cid: str = "") -> str:
        """One finished job that fell back: pinned locally, one line in the archive."""
        cid = cid or make_dag(self.local, pin=False)
        if name:
            self.local.rpc("pin/add", cid, name=name)
        stamp = f"2025-10-28T10:30:{number % 60:02d}.000Z"
        record = ArchiveRecord(
            hash=cid, job_id=f"job-{number}", size_mb=0.016, type="directory", failed_lazy_attempts=3,
            local_pin_timestamp=stamp, node_id="encoder-1",
        )  # fmt: skip
        self.archive.append(record)
        return cid

    def run(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        with self.start(*arguments, **env) as running:
            out, err = running.communicate(timeout=240)
        return subprocess.CompletedProcess(running.args, running.returncode, out, err)

    def start(self, *arguments: str, **env: str) -> subprocess.Popen[str]:
        command = [str(SCRIPT), "--data-dir", str(self.data), *arguments]
        environ = {"PATH": "/usr/bin:/bin", "IPFS_API_ADDR": self.local.api_url, **env}
        return subprocess.Popen(
            command, env=environ, cwd=self.data.parent, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def waiting(self) -> list[str]:
        return [entry.record.hash for entry in self.archive.entries() if entry.record]

    def migrated(self) -> list[dict[str, Any]]:
        path = self.archive.migrated_path
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
