from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from encoder_pin_plugin.archive.jsonl import Archive

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path / "data", lock_timeout=10)
