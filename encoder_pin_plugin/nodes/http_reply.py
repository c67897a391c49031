"""One whole answer over HTTP, and what it means where it is no success.

A status code is only where an answer begins: a service behind a proxy answers HTML with 200, and Cluster an empty 200
for an upload that failed, whose error stands in a trailer.
"""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from encoder_hookspecs.events import Reason
from encoder_pin_plugin.errors import NodeError
from encoder_pin_plugin.nodes.sayings import said
from encoder_pin_plugin.settings.masking import without

if TYPE_CHECKING:
    from collections.abc import Mapping

    from encoder_pin_plugin.settings import Credentials

LONGEST_BUSY = 60.0
"""Seconds that we wait at most for a service that names a time to come back (`Retry-After`)."""


@dataclass(frozen=True, kw_only=True)
class Reply:
    """One whole answer.

    Args:
        where: the call that it answers, for messages.
        status, headers, body: as received; header names in lower case.
        late_error: what the trailer `X-Stream-Error` says: the answer looks well and is not.
        hide: our credentials, which are shown to nobody, should the service send them back to us.
    """

    where: str
    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    late_error: str = ""
    hide: Credentials | None = None

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300 and not self.late_error

    def object(self) -> dict[str, Any]:
        """The body as one JSON object. Raises `NodeError` for a refusal, and for anything else than an object."""
        self.need_ok()
        return self._decode(self.body)

    def lines(self) -> list[dict[str, Any]]:
        """The body as JSON objects, one a line; none for an empty body. Raises as `object`."""
        self.need_ok()
        return [self._decode(line) for line in self.body.splitlines() if line.strip()]

    def need_ok(self) -> None:
        """Raises `NodeError` where the service refused, in its words."""
        if not self.ok:
            raise self.failure()

    def failure(self) -> NodeError:
        """What this answer means where it is no success."""
        words = self.words()
        if self.status in _NOT_ALLOWED:
            return NodeError(
                f"{self.where}: HTTP {self.status}{words}; {_NOT_ALLOWED[self.status]}", Reason.NOT_ALLOWED
            )
        return NodeError(f"{self.where}: HTTP {self.status}{words}", self._reason(words))

    def words(self) -> str:
        """The service's own words after a colon, or nothing where it has none."""
        text = said(without(self.hide, self.late_error or _error_in(self.body)))
        return f": {text}" if text else ""

    @staticmethod
    def _repeats(auth: Credentials, text: bytes) -> bool:
        return any(secret.encode() in text for secret in auth.forms())

    def busy_for(self) -> float | None:
        """Seconds after which the service wants to be asked again, 1 … `LONGEST_BUSY`; None where it names none."""
        wish = self.headers.get("retry-after", "").strip()
        if not wish or not (self.status == 429 or self.status >= 500):
            return None
        seconds = float(wish) if wish.isdecimal() and len(wish) < 10 else _seconds_until(wish)
        return None if seconds is None else min(max(seconds, 1.0), LONGEST_BUSY)

    def _reason(self, words: str) -> Reason:
        if self.status == 507 or "no space left" in words or "quota exceeded" in words:
            return Reason.NODE_FULL
        return Reason.NODE_ERROR if words or self.status == 429 else Reason.BAD_REPLY

    def _decode(self, text: bytes) -> dict[str, Any]:
        try:
            value = json.loads(text.decode("utf-8", "replace"))
            if _HALF.search(text):  # what comes from a service may be sent back to it
                value = json.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))
        except (ValueError, RecursionError):
            value = None
        if isinstance(value, dict):
            return _hidden(value, self.hide) if self.hide and self._repeats(self.hide, text) else value
        shown = without(self.hide, text[:1000].decode("utf-8", "replace"))
        what = "an empty body" if not text.strip() else said(shown[:80], 80)
        raise NodeError(
            f"{self.where}: HTTP {self.status} with {what} where a JSON object belongs: a proxy, or another program",
            Reason.BAD_REPLY,
        )


def _hidden(value: Any, auth: Credentials) -> Any:
    """A value that repeats our credentials, without them. A text that is nothing else stays: it may be a word of the
    protocol that somebody has for a password, and so may any short one."""
    if isinstance(value, str):
        return value if value in auth.forms() or min(map(len, auth.forms())) < 8 else without(auth, value)
    if isinstance(value, dict):
        return {key: _hidden(inner, auth) for key, inner in value.items()}
    return [_hidden(inner, auth) for inner in value] if isinstance(value, list) else value


def wait_while_busy(reply: Reply, until: float) -> bool:
    """Sleep for as long as a busy service wishes, and say that it may be asked again; False where there is no such
    wish, or it would end after `until`."""
    wait = reply.busy_for()
    if wait is None or time.monotonic() + wait >= until:
        return False
    time.sleep(wait)
    return True


def _error_in(body: bytes) -> str:
    """The words of an error: Cluster's `message`, a pinning service's `error.reason` and `error.details`; else what
    is readable of a short text. HTML has none: it is a proxy's, not the service's."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        text = body[:400].decode("utf-8", "replace").strip()
        return "" if text.startswith("<") else text
    if not isinstance(value, dict):
        return ""
    error = value.get("error", value.get("message"))
    if isinstance(error, dict):
        return " ".join(str(error[key]) for key in ("reason", "details") if error.get(key))
    return str(error or "")


def _seconds_until(moment: str) -> float | None:
    try:
        return (parsedate_to_datetime(moment).astimezone(UTC) - datetime.now(UTC)).total_seconds()
    except (ValueError, OverflowError):
        return None


_HALF = re.compile(rb"\\u[dD][89a-fA-F]")
"""Half a character, which JSON can name and nothing can send; or one of two that belong together."""

_NOT_ALLOWED = {
    401: "correct the credentials",
    403: "correct the credentials, or let them do this",
    404: "the address is wrong, or another program's",
    405: "the address is wrong, or another program's",
}
