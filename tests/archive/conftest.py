from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from encoder_pin_plugin.archive.jsonl import Archive
from tests.archive.migrating import Bench
from tests.fakes.memory_node import MemoryNode

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path / "data", lock_timeout=10)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A migration between nodes in memory."""
    return Bench(tmp_path / "data", MemoryNode(), MemoryNode())
