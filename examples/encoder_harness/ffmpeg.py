"""ffmpeg, found wherever there is one; run as a child whose progress is read and whose failure is explained.

Only ffmpeg itself is needed, no ffprobe: the Python package that brings one to a bare machine has no ffprobe.
"""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from examples.encoder_harness.errors import HarnessError

Progress = Callable[[float], None]
"""Called with the seconds of video done so far."""

_DURATION = re.compile(r"Duration: (\d+):(\d+):(\d+(?:\.\d+)?)")
_LOG_LINES = 12


@dataclass(frozen=True, kw_only=True)
class Media:
    """What ffmpeg says of a file: its length in seconds (None: it cannot tell), and whether it has sound."""

    seconds: float | None
    sound: bool


def find_ffmpeg() -> Path:
    """FFMPEG_PATH, else `ffmpeg` on PATH, else the one of the Python package imageio-ffmpeg."""
    if chosen := os.environ.get("FFMPEG_PATH", ""):
        if not Path(chosen).is_file() or not os.access(chosen, os.X_OK):
            raise HarnessError(f"FFMPEG_PATH is {chosen}, which is no program that can be run: correct it or unset it")
        return Path(chosen).absolute()
    if found := shutil.which("ffmpeg"):
        return Path(found)
    try:
        return Path(importlib.import_module("imageio_ffmpeg").get_ffmpeg_exe())
    except (ImportError, RuntimeError) as error:
        raise HarnessError(
            "no ffmpeg: install one (apt install ffmpeg), set FFMPEG_PATH, or pip install imageio-ffmpeg"
        ) from error


def look_at(source: Path) -> Media:
    """Length and sound of a video. Raises `HarnessError` for what is no video."""
    if not source.is_file():
        raise HarnessError(f"no video at {source}: check the path")
    # Without an output it describes its input and ends.
    command: list[str | Path] = [find_ffmpeg(), "-hide_banner", "-nostdin", "-i", source]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    said = done.stderr
    if " Video: " not in said:
        raise HarnessError(f"{source} holds no video that ffmpeg can read. It says:\n{_indented(said)}")
    length = _DURATION.search(said)
    hours, minutes, seconds = map(float, length.groups()) if length else (0.0, 0.0, 0.0)
    return Media(seconds=hours * 3600 + minutes * 60 + seconds if length else None, sound=" Audio: " in said)


def run_ffmpeg(arguments: Sequence[str | Path], *, doing: str, log: Path, progress: Progress = lambda _: None) -> None:
    """Run ffmpeg to its end. Raises `HarnessError` with the end of its log; never leaves it running."""
    command: list[str | Path] = [find_ffmpeg(), "-hide_banner", "-nostdin", "-y", "-loglevel", "warning"]
    command += ["-nostats", "-progress", "pipe:1", *arguments]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as errors:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            errors="replace",
        )
        try:
            _follow(child, progress)
        finally:
            if child.poll() is None:  # we were interrupted
                child.kill()
            child.wait()
            if child.stdout:
                child.stdout.close()
    if child.returncode != 0:
        tail = log.read_text(encoding="utf-8", errors="replace")
        raise HarnessError(
            f"{doing} failed: ffmpeg ended with {_ending(child.returncode)}. The end of its log, {log}:\n"
            f"{_indented(tail)}\nTry the same video with ffmpeg by hand, or another video."
        )


def _follow(child: subprocess.Popen[str], progress: Progress) -> None:
    assert child.stdout is not None  # noqa: S101 - for the type checker: it is a pipe
    for line in child.stdout:
        name, _, value = line.strip().partition("=")
        if name == "out_time_us" and value.isdigit():  # "N/A" until the first frame is out
            progress(int(value) / 1e6)
    child.wait()


def _ending(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def _indented(text: str) -> str:
    lines = text.strip().splitlines()[-_LOG_LINES:]
    return "\n".join(f"  | {line}" for line in lines) or "  (it said nothing)"
