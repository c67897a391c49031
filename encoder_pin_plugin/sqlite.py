"""What a damaged SQLite file is told by, besides the errors that its module names."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ALSO_DAMAGE = (UnicodeDecodeError, MemoryError)
"""A schema that is no text any more, quoted in a message or as a column's name; a length of gigabytes in the file."""


@contextmanager
def damage_named() -> Iterator[None]:
    """Raises sqlite3.DatabaseError where the module raises something else for a damaged file."""
    try:
        yield
    except ALSO_DAMAGE as error:
        raise sqlite3.DatabaseError(f"its schema cannot be read: {str(error) or 'it wants too much memory'}") from error
