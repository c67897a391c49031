"""What became of the jobs of an earlier run, asked as anybody can ask: `encoder-pin jobs --state all --json`.

The hooks tell of what happens while the encoder runs. A killed encoder may have missed the last word.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from examples.encoder_harness.board import State
from examples.encoder_harness.errors import HarnessError

if TYPE_CHECKING:
    from pathlib import Path

_STATES = {"pinned": State.PINNED, "falling_back": State.FALLING_BACK, "archived": State.ARCHIVED}


def earlier_jobs(data: Path) -> dict[str, dict[str, Any]]:
    """For each job id that the data folder knows: what to show of it on the board."""
    command = [sys.executable, "-m", "encoder_pin_plugin", "--data-dir", str(data)]
    command += ["jobs", "--state", "all", "--limit", "1000000", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        jobs = json.loads(done.stdout)["jobs"]
    except (ValueError, KeyError) as error:
        raise HarnessError(f"`encoder-pin jobs` does not say how things stand in {data}: {done.stderr}") from error
    return {job["job_id"]: _on_the_board(job) for job in jobs}


def _on_the_board(job: dict[str, Any]) -> dict[str, Any]:
    attempts = int(job["attempts"] or 0)
    state = _STATES.get(job["state"], State.RETRYING if attempts else State.REPORTED)
    return {"state": state, "attempts": attempts, "error": "" if state is State.PINNED else job["error"] or ""}
