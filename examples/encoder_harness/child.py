"""The encoder as a child process, so that it can be killed for real, by its pid, and started again.

Its standard input carries what the parent has to say, one line each: the child prints it, because on a terminal the
child draws. When that ends, the parent is gone, and the child ends in order.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from examples.encoder_harness.host import STOP_TIMEOUT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROOT = Path(__file__).parents[2]
_SHOW_CURSOR = "\033[?25h"


class EncoderChild:
    """One encoder process after the other.

    Args:
        arguments: of the harness's command line.
        settings: laid over this process's environment.
    """

    def __init__(self, arguments: Sequence[str], settings: Mapping[str, str]) -> None:
        self._command = [sys.executable, "-m", "examples.encoder_harness", *arguments]
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
        self._environment = {**os.environ, **settings, "PYTHONPATH": path}
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()

    def start(self) -> None:
        with self._lock:
            self._process = subprocess.Popen(
                self._command,
                env=self._environment,
                stdin=subprocess.PIPE,
                text=True,
                start_new_session=True,  # so that what it has started, an ffmpeg, can be ended with it
            )

    def wait(self, seconds: float | None = None) -> int | None:
        """Its exit code, or None if it still runs after so many seconds."""
        try:
            return self._running().wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def kill(self) -> int:
        """kill -9, to exactly this process; then to its ffmpeg, while the pid is still ours as nobody waited for it."""
        process = self._running()
        os.kill(process.pid, signal.SIGKILL)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        os.killpg(process.pid, signal.SIGKILL)
        with self._lock:
            self._forget()
        if sys.stdout.isatty():
            click.echo(_SHOW_CURSOR)  # it had no time to leave the terminal as it found it
        return process.pid

    def end(self) -> None:
        """Let it end in order; nothing happens if it has ended."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.terminate()
            if self.wait(STOP_TIMEOUT + 10) is None:
                self.kill()
                return
        with self._lock:
            self._forget()

    def say(self, message: str) -> None:
        """A line of the parent's among those of the encoder."""
        line = f"{datetime.now(UTC):%H:%M:%S}  -- {message}"
        with self._lock:
            if self._process is None or self._process.stdin is None or self._process.poll() is not None:
                click.echo(line)
                return
            try:
                self._process.stdin.write(f"{line}\n")
                self._process.stdin.flush()
            except OSError:  # it has just ended
                click.echo(line)

    def _running(self) -> subprocess.Popen[str]:
        assert self._process is not None, "start it first"  # noqa: S101 - our own order of calls
        return self._process

    def _forget(self) -> None:
        process = self._running()
        process.wait()
        try:
            if process.stdin:
                process.stdin.close()
        except OSError:  # a line for a reader that is gone
            pass
        self._process = None


def hear_parent() -> None:
    """In the child: print what the parent says, and end in order, as on SIGTERM, when the parent is gone."""

    def listen() -> None:
        for line in sys.stdin:
            sys.stdout.write(line)  # not click.echo: it would write past the table that is being drawn
            sys.stdout.flush()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=listen, name="parent", daemon=True).start()
