"""From a video to what a player wants: HLS in two renditions, one master playlist, a few thumbnails.

One run of ffmpeg decodes once and writes everything. It writes into a folder of its own, which is moved into
place at the end: an encoder that is killed leaves no half encoded folder that looks like a whole one.
"""

from __future__ import annotations

import random
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from examples.encoder_harness.ffmpeg import Media, Progress, look_at, run_ffmpeg

if TYPE_CHECKING:
    from pathlib import Path

MASTER = "manifest.m3u8"
THUMBNAILS = 5
SEGMENT_SECONDS = 2


@dataclass(frozen=True, kw_only=True)
class Rendition:
    """One quality of the video; the width follows from the video's own shape."""

    name: str
    height: int
    kilobits: int


RENDITIONS = (
    Rendition(name="360p", height=360, kilobits=800),
    Rendition(name="240p", height=240, kilobits=350),
)


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """A folder ready for IPFS, and its size in MB (10^6 bytes)."""

    folder: Path
    size_mb: float
    files: int


def make_video(target: Path, *, seconds: float = 4) -> Path:
    """A test pattern with a tone, other picture and sound each time: no two of them have the same CID."""
    hue, tone = random.uniform(0, 360), random.uniform(200, 2000)  # noqa: S311 - no secret, only variety
    unfinished = target.with_name(f".{target.stem}.part{target.suffix}")
    target.parent.mkdir(parents=True, exist_ok=True)
    run_ffmpeg(
        [
            *("-f", "lavfi", "-i", f"testsrc2=size=640x360:rate=25:duration={seconds},hue=h={hue:.6f}"),
            *("-f", "lavfi", "-i", f"sine=frequency={tone:.6f}:duration={seconds}"),
            *("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-c:a", "aac", unfinished),
        ],
        doing=f"making a test video at {target}",
        log=target.with_suffix(".ffmpeg.log"),
    )
    return unfinished.replace(target)


def encode(source: Path, target: Path, *, progress: Progress = lambda _: None) -> Encoded:
    """Encode `source` into the folder `target`, which is replaced. `progress` gets the share done, 0 to 1.

    Raises `HarnessError` where ffmpeg cannot, with its own words.
    """
    source = source.absolute()
    media = look_at(source)
    unfinished = target.with_name(f".{target.name}.{random.randbytes(4).hex()}.part")  # noqa: S311
    (unfinished / "thumbnails").mkdir(parents=True)
    whole = media.seconds or float("inf")
    try:
        run_ffmpeg(
            _arguments(source, unfinished, media),
            doing=f"encoding {source}",
            log=target.with_suffix(".ffmpeg.log"),
            progress=lambda seconds: progress(min(seconds / whole, 1.0)),
        )
        shutil.rmtree(target, ignore_errors=True)
        unfinished.rename(target)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    progress(1.0)
    return measure(target)


def measure(folder: Path) -> Encoded:
    """What stands in an encoded folder."""
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return Encoded(folder=folder, size_mb=round(sum(sizes) / 1e6, 3), files=len(sizes))


def _arguments(source: Path, out: Path, media: Media) -> list[str | Path]:
    streams = " ".join(
        f"v:{n},a:{n},name:{r.name}" if media.sound else f"v:{n},name:{r.name}" for n, r in enumerate(RENDITIONS)
    )
    arguments: list[str | Path] = ["-i", source, "-filter_complex", _filters(media)]
    for number, rendition in enumerate(RENDITIONS):
        arguments += ["-map", f"[video{number}]", f"-b:v:{number}", f"{rendition.kilobits}k"]
        arguments += ["-map", "0:a:0"] if media.sound else []
    return [
        *arguments,
        *("-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p"),
        *("-c:a", "aac", "-b:a", "96k", "-ac", "2"),
        *("-force_key_frames", f"expr:gte(t,n_forced*{SEGMENT_SECONDS})"),  # both renditions are cut alike
        *("-f", "hls", "-hls_time", str(SEGMENT_SECONDS), "-hls_playlist_type", "vod"),
        *("-hls_flags", "independent_segments", "-hls_segment_filename", out / "%v" / "segment-%03d.ts"),
        *("-master_pl_name", MASTER, "-var_stream_map", streams, out / "%v" / "index.m3u8"),
        *("-map", "[thumbnails]", "-q:v", "4", "-f", "image2", out / "thumbnails" / "%03d.jpg"),
    ]


def _filters(media: Media) -> str:
    """Decode once, split, and scale each branch; thumbnails are spread evenly over the video."""
    names = "".join(f"[in{n}]" for n in range(len(RENDITIONS)))
    each = max((media.seconds or THUMBNAILS) / THUMBNAILS, 0.04)  # seconds
    return ";".join(
        [
            f"[0:v:0]split={len(RENDITIONS) + 1}{names}[in]",
            *(f"[in{n}]scale=-2:{r.height}[video{n}]" for n, r in enumerate(RENDITIONS)),
            f"[in]fps=1/{each:.3f}:start_time=0,scale=320:-2[thumbnails]",
        ]
    )
