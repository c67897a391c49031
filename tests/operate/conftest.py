"""An operator at a data folder: commands run in this process, or as the installed console script in another."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from loguru import logger

from encoder_pin_plugin.alarms import Alarms
from encoder_pin_plugin.clock import EvenClock, SystemClock
from encoder_pin_plugin.lazy.intake import Intake
from encoder_pin_plugin.lazy.ledger import Ledger
from encoder_pin_plugin.lazy.pins import State, Step
from encoder_pin_plugin.lazy.spool import Spool
from encoder_pin_plugin.lazy.worker import LEDGER_NAME
from encoder_pin_plugin.operate.cli import cli
from encoder_pin_plugin.settings.table import TABLE

SCRIPT = Path(sys.executable).with_name("encoder-pin")

CIDS = (
    "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi",
    "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG",
    "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy",
)


@dataclass
class Desk:
    """One operator: a working folder with the data folder in it, and an environment."""

    folder: Path
    env: dict[str, str | None] = field(default_factory=dict)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def spool(self) -> Spool:
        return Spool(self.data)

    def run(self, *arguments: str) -> Result:
        """A command in this process; what it foresaw ends in an exit code and never in a traceback."""
        result = CliRunner().invoke(cli, arguments, env=self.env, prog_name="encoder-pin")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    def json(self, *arguments: str) -> Any:
        return json.loads(self.run(*arguments, "--json").stdout)

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """The console script in a process of its own."""
        env = {name: value for name, value in {**os.environ, **self.env}.items() if value is not None}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL} | options
        return subprocess.Popen([str(SCRIPT), *arguments], cwd=self.folder, env=env, text=True, **pipes)

    def process(self, *arguments: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        running = self.start(*arguments)
        try:
            out, err = running.communicate(timeout=timeout)
        finally:
            running.kill()
        return subprocess.CompletedProcess(running.args, running.returncode, out, err)

    def submit(self, job_id: str, cid: str = CIDS[0], *options: str) -> None:
        assert self.run("submit", cid, "--job-id", job_id, *options).exit_code == 0

    def ledger(self) -> Ledger:
        """The ledger with everything in it that has arrived, as a worker would have taken it in."""
        self.spool.create()
        ledger = Ledger(self.data / LEDGER_NAME)
        taken = [(path, self.spool.read(path)) for path in self.spool.arrivals(1000)]
        ledger.ingest((submission for _, submission in taken), now())
        self.spool.move_to_open(taken)
        return ledger

    def finish(self, state: State, *, line: bytes | None = None, **fields: Any) -> None:
        """Let every pending job of the ledger take a step to `state`."""
        ledger = self.ledger()
        for pin in ledger.claim("a test", State.PENDING, now() + 1000, limit=1000, lease=60_000):
            step = Step(
                pin=pin, state=state, delay=fields.get("delay", 0), attempts=fields.get("attempts", 3),
                tries=3, line=line, reason=fields.get("reason"), error=fields.get("error"),
                fallbacks=fields.get("fallbacks", 0),
            )  # fmt: skip
            assert ledger.commit([step], now())
        ledger.close()


def worker_takes_in(desk: Desk) -> None:
    """What a worker does first: reconcile, take in, sweep."""
    ledger = desk.ledger()
    intake = Intake(desk.spool, Alarms(SystemClock()), EvenClock(SystemClock()))
    intake.reconcile(ledger)
    intake.take_in(ledger)
    intake.sweep(ledger)
    ledger.close()


def now() -> int:
    return int(time.time() * 1000)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    for name in (*TABLE, "NO_COLOR", "ENCODER_BLOCK_PLUGINS", "ENCODER_LOAD_PLUGINS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    yield Desk(tmp_path, {"IPFS_API_ADDR": "http://127.0.0.1:1"})
    logger.remove()
    logger.configure(patcher=lambda _: None)


def in_a_mount(desk: Desk, script: str) -> subprocess.CompletedProcess[str]:
    """Run a script in a shell that may mount what nobody else sees, with the encoder-pin that is tested; skipped where
    that cannot be had."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("unshare", "mount"))):
        pytest.skip("needs root to mount")
    env = {**os.environ, **{name: value for name, value in desk.env.items() if value}}
    env["PATH"] = f"{Path(sys.executable).parent}:{env['PATH']}"
    result = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script],
        cwd=desk.folder,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    if "unshare" in result.stderr or "mount:" in result.stderr:
        pytest.skip(f"this machine mounts nothing: {result.stderr}")
    return result
