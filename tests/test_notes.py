"""Small files of ours whose loss costs nothing: read whole, or as nothing, whatever stands there."""

from __future__ import annotations

from pathlib import Path

import pytest

from encoder_pin_plugin import durable


@pytest.mark.parametrize(
    ("content", "read"),
    [(b'{"a": [1]}', {"a": [1]}), (None, {}), (b"", {}), (b"[1]", {}), (b"{", {}), (b"\xff", {}), (b"[" * 100_000, {}),
     (b'{"a": ' + b"9" * 5000 + b"}", {}), (b'{"a": "' + b"x" * 200 + b'"}', {})],
    ids=["sound", "gone", "empty", "list", "half", "binary", "deep", "digits", "large"],
)  # fmt: skip
def test_a_note_is_what_it_says_or_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None, read: dict[str, object]
) -> None:
    monkeypatch.setattr(durable, "LARGEST_NOTE", 100_000 if content and len(content) > 5000 else 200)
    if content is not None:
        (tmp_path / "note").write_bytes(content)
    assert durable.read_note(tmp_path / "note") == read


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 200_000])
def test_a_file_of_any_size_below_the_limit_is_read_whole(tmp_path: Path, size: int) -> None:
    (tmp_path / "a").write_bytes(b"x" * size)
    assert durable.read_regular(tmp_path / "a", 200_000) == b"x" * size
