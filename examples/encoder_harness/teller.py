"""How the demo speaks: acts, sentences, commands with what they print, and claims that are checked as they are made."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import click

from examples.encoder_harness.errors import HarnessError


class NotSo(HarnessError):
    """The demo claimed something that is not so."""


class Teller:
    """Tells a story on standard output, with the seconds that have passed."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self.checked = 0

    def act(self, title: str) -> None:
        click.secho(f"\n== {title}", bold=True)

    def say(self, sentence: str) -> None:
        click.echo(f"{time.monotonic() - self._started:6.1f} s  {sentence}")

    def show(self, text: str) -> None:
        """Quote something as it stands in a file or came from a node."""
        for line in text.rstrip("\n").splitlines():
            click.secho(f"          {line}", dim=True)

    def check(self, claim: str, true: bool, *, otherwise: object = "") -> None:
        """Claim something; `otherwise` is what is shown when it is not so, which ends the demo."""
        if not true:
            raise NotSo(f"not so: {claim}" + (f"; instead: {otherwise}" if otherwise != "" else ""))
        self.checked += 1
        click.echo(f"          {click.style('✓', fg='green')} {claim}")

    def run(self, command: str, *, folder: Path, expected: int = 0) -> str:
        """Run a shell command in `folder`, as an operator would type it, show both, and return what it printed."""
        own = Path(sys.executable).parent  # where `encoder-pin` is
        variables = {**os.environ, "PATH": os.pathsep.join([str(own), os.environ.get("PATH", os.defpath)])}
        click.secho(f"          $ {command}", fg="cyan")
        done = subprocess.run(  # noqa: S602 - the operators' commands are shell commands, and a constant of ours
            command,
            shell=True,
            cwd=folder,
            env=variables,
            capture_output=True,
            text=True,
            check=False,
        )
        self.show(done.stdout + done.stderr)
        if done.returncode != expected:
            raise NotSo(f"not so: `{command}` ends with exit code {expected}; it ended with {done.returncode}")
        return done.stdout
