"""What nodes say, made safe to show: in a message, as a word of a protocol, in a traceback.

Anything may stand in a node's answer: control characters that act on a terminal, megabytes, the credentials that we
sent it.
"""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

from encoder_pin_plugin.settings.masking import without

if TYPE_CHECKING:
    from encoder_pin_plugin.settings import Credentials


def said(text: object, limit: int = 300) -> str:
    """A node's own words as they may be shown: on one line, printable, of bounded length."""
    clean = str(text)[: 4 * limit]
    if not clean.isprintable():
        clean = "".join(character if character.isprintable() else " " for character in clean)
    clean = " ".join(clean.split())
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"


def word(text: str) -> str:
    """A status as it stands; one that is not printable as it is, or has blanks at its ends, is quoted: it is no word of
    the protocol."""
    shown = said(text, 40)
    return text if shown == text else repr(shown)


def cause(error: BaseException, auth: Credentials | None) -> BaseException | None:
    """`error` as it may stand in a traceback, without our credentials where a library quotes a node that repeated them;
    None where that can't be had.

    The frames that it came through are emptied: there stand the headers of the request, and a host's log may show the
    values in a traceback (loguru's `diagnose`). The traceback's lines stay.
    """
    each: BaseException | None = error
    for _ in range(10):
        if each is None:
            return error
        traceback.clear_frames(each.__traceback__)
        if (words := without(auth, str(each))) != str(each):
            each.args = (words,)
        if words != str(each):
            return None
        each = each.__cause__ or each.__context__
    return None
