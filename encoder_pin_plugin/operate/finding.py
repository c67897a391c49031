"""What the doctor finds: one thing looked at, how it is, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "look at", "wrong"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One finding.

    Args:
        topic: what was looked at, in a word or two.
        level: `ok`; `look at`: it works, but a person should know; `wrong`: it does not, or loses something.
        text: how it is.
        todo: what to do; empty for `ok`.
    """

    topic: str
    level: Level
    text: str
    todo: str = ""


def ok(topic: str, text: str) -> Finding:
    """All is well."""
    return Finding(topic=topic, level="ok", text=text)


def look_at(topic: str, text: str, todo: str) -> Finding:
    """It works; a person should know."""
    return Finding(topic=topic, level="look at", text=text, todo=todo)


def wrong(topic: str, text: str, todo: str) -> Finding:
    """It does not work, or something could be lost."""
    return Finding(topic=topic, level="wrong", text=text, todo=todo)
