"""A site's settings as the tests need them: refused ones, and files that only their owner can read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from encoder_pin_plugin.errors import InvalidSettings
from encoder_pin_plugin.settings import load_settings

if TYPE_CHECKING:
    from pathlib import Path


def refused(folder: Path, **environ: str) -> str:
    """Load the settings of `environ`, which must not work, and return what is said about it."""
    with pytest.raises(InvalidSettings) as caught:
        load_settings(environ, folder)
    return str(caught.value)


def private_file(path: Path, text: str, mode: int = 0o600) -> Path:
    """Write `text` into a file with exactly that mode."""
    path.write_text(text)
    path.chmod(mode)
    return path
