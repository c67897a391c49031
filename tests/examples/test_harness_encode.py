"""The harness encodes for real: what a player needs is there, read from the files, without ffprobe."""

from __future__ import annotations

import re
import struct
import sys
import threading
from pathlib import Path

import pytest

from examples.encoder_harness.encode import MASTER, RENDITIONS, THUMBNAILS, Rendition, encode, make_video
from examples.encoder_harness.errors import HarnessError
from examples.encoder_harness.ffmpeg import find_ffmpeg, look_at, run_ffmpeg

TS_PACKET = 188


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_video(tmp_path_factory.mktemp("video") / "clip one.mp4", seconds=4)


@pytest.fixture(scope="module")
def encoded(video: Path) -> Path:
    return encode(video, video.parent / "hls").folder


def test_a_made_video_has_the_length_asked_for_and_sound(video: Path) -> None:
    media = look_at(video)
    assert media.sound
    assert media.seconds == pytest.approx(4, abs=0.2)


def test_two_made_videos_differ(video: Path, tmp_path: Path) -> None:
    assert make_video(tmp_path / "other.mp4").read_bytes() != video.read_bytes()


def test_the_master_playlist_names_both_renditions_with_their_sizes(encoded: Path) -> None:
    lines = (encoded / MASTER).read_text().splitlines()
    assert lines[0] == "#EXTM3U"
    streams = [line for line in lines if line.startswith("#EXT-X-STREAM-INF:")]
    assert [re.search(r"RESOLUTION=(\d+x\d+)", line)[1] for line in streams] == ["640x360", "426x240"]  # type: ignore[index]
    variants = [line for line in lines if line and not line.startswith("#")]
    assert variants == [f"{rendition.name}/index.m3u8" for rendition in RENDITIONS]


@pytest.mark.parametrize("rendition", RENDITIONS, ids=lambda r: r.name)
def test_each_rendition_is_whole_and_its_segments_are_transport_streams(encoded: Path, rendition: Rendition) -> None:
    playlist = encoded / rendition.name / "index.m3u8"
    text = playlist.read_text()
    assert text.rstrip().endswith("#EXT-X-ENDLIST")
    assert sum(map(float, re.findall(r"#EXTINF:([\d.]+)", text))) == pytest.approx(4, abs=0.2)
    segments = [playlist.parent / line for line in text.splitlines() if line and not line.startswith("#")]
    assert len(segments) == 2
    for segment in segments:
        content = segment.read_bytes()
        assert len(content) % TS_PACKET == 0
        assert set(content[::TS_PACKET]) == {0x47}


def test_thumbnails_are_jpegs_of_320_pixels_width(encoded: Path) -> None:
    thumbnails = sorted((encoded / "thumbnails").glob("*.jpg"))
    assert len(thumbnails) == THUMBNAILS
    for thumbnail in thumbnails:
        assert _jpeg_size(thumbnail.read_bytes()) == (320, 180)


def test_the_folder_holds_nothing_else_and_is_measured(video: Path, tmp_path: Path) -> None:
    shares: list[float] = []
    done = encode(video, tmp_path / "hls", progress=shares.append)
    files = [path for path in done.folder.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".m3u8", ".ts", ".jpg"}
    assert done.files == len(files)
    assert done.size_mb == round(sum(path.stat().st_size for path in files) / 1e6, 3)
    assert shares[-1] == 1.0
    assert shares == sorted(shares)


def test_encoding_again_replaces_the_folder(video: Path, tmp_path: Path) -> None:
    target = tmp_path / "hls"
    target.mkdir()
    (target / "left-over.ts").write_bytes(b"of a former run")
    assert not (encode(video, target).folder / "left-over.ts").exists()
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["hls"]


def test_a_video_without_sound_is_encoded(tmp_path: Path) -> None:
    silent = tmp_path / "silent.mp4"
    picture = ["-f", "lavfi", "-i", "testsrc2=size=320x180:rate=10:duration=1", silent]
    run_ffmpeg(picture, doing="making a silent video", log=tmp_path / "log")
    assert not look_at(silent).sound
    assert "avc1" in (encode(silent, tmp_path / "hls").folder / MASTER).read_text()


@pytest.mark.parametrize("content", [b"", b"this is no video", b"\x00" * 100_000], ids=["empty", "text", "zeros"])
def test_what_is_no_video_is_refused_with_ffmpegs_words(tmp_path: Path, content: bytes) -> None:
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(content)
    with pytest.raises(HarnessError, match=r"bad\.mp4 holds no video that ffmpeg can read\. It says:\n  \| "):
        encode(bad, tmp_path / "hls")
    assert not (tmp_path / "hls").exists()


def test_a_missing_video_is_named(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"no video at .*nowhere\.mp4"):
        encode(tmp_path / "nowhere.mp4", tmp_path / "hls")


def test_a_failure_of_ffmpeg_shows_the_end_of_its_log_and_where_it_is(tmp_path: Path) -> None:
    log = tmp_path / "ffmpeg.log"
    with pytest.raises(HarnessError, match=r"trying it failed: ffmpeg ended with exit code \d+") as caught:
        run_ffmpeg(["-f", "lavfi", "-i", "nosuchfilter", tmp_path / "x.mp4"], doing="trying it", log=log)
    assert str(log) in str(caught.value)
    assert "nosuchfilter" in str(caught.value)


def test_an_encoding_that_is_interrupted_leaves_neither_ffmpeg_nor_folder(video: Path, tmp_path: Path) -> None:
    class CtrlCError(Exception):
        pass

    def interrupt(_: float) -> None:
        raise CtrlCError

    before = threading.active_count()
    with pytest.raises(CtrlCError):
        encode(video, tmp_path / "hls", progress=interrupt)
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]
    assert threading.active_count() == before


def test_ffmpeg_path_wins_and_must_be_a_program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FFMPEG_PATH", sys.executable)
    assert find_ffmpeg() == Path(sys.executable)
    monkeypatch.setenv("FFMPEG_PATH", str(tmp_path))
    with pytest.raises(HarnessError, match=r"FFMPEG_PATH is .* no program"):
        find_ffmpeg()


def test_ffmpeg_is_found_on_path_before_the_packaged_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("FFMPEG_PATH", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    packaged = find_ffmpeg()
    assert packaged.parent != tmp_path
    own = tmp_path / "ffmpeg"
    own.symlink_to(packaged)
    assert find_ffmpeg() == own


def _jpeg_size(content: bytes) -> tuple[int, int]:
    """Width and height out of the frame header; the file must begin and end as a JPEG does."""
    assert content.startswith(b"\xff\xd8\xff")
    assert content.endswith(b"\xff\xd9")
    position = 2
    while content[position + 1] not in (0xC0, 0xC1, 0xC2):
        position += 2 + int.from_bytes(content[position + 2 : position + 4], "big")
    height, width = struct.unpack(">HH", content[position + 5 : position + 9])
    return width, height
