"""The head of an HTTP reply, read strictly and quickly.

The standard library reads headers as it reads e-mail, which takes a fifth of what a whole call to a node costs us, and
takes almost anything for one. What nodes and proxies send has one form: a name, a colon, a value, on one line.
"""

from __future__ import annotations

import http.client
from typing import Any


class Reply(http.client.HTTPResponse):
    """The standard library's reply, but for how its head is read. Raises `http.client.HTTPException` as it does."""

    def begin(self) -> None:
        """Read status and headers, and find out how long the body is."""
        parts: Any = self
        if parts.headers is not None:
            return
        version, status, reason = parts._read_status()  # noqa: SLF001 - the parts of `begin` that are kept
        while status == http.client.CONTINUE:
            _read_headers(self.fp)
            version, status, reason = parts._read_status()  # noqa: SLF001
        if not version.startswith(("HTTP/1.", "HTTP/0.9")):
            raise http.client.UnknownProtocol(version)
        self.code = self.status = status
        self.reason = reason.strip()
        self.version = 10 if version in ("HTTP/1.0", "HTTP/0.9") else 11
        self.headers = self.msg = _read_headers(self.fp)
        self.chunked = self.headers.get("Transfer-Encoding", "").lower() == "chunked"
        self.chunk_left = None
        self.will_close = parts._check_close()  # noqa: SLF001
        self.length = None if self.chunked else self._length()
        if self.length is None and not self.chunked:
            self.will_close = True

    def _length(self) -> int | None:
        if self.status in (http.client.NO_CONTENT, http.client.NOT_MODIFIED) or self.status < 200:
            return 0
        length = self.headers.get("Content-Length", "")
        return int(length) if length.isascii() and length.isdigit() and len(length) < 20 else None


def _read_headers(file: Any) -> http.client.HTTPMessage:
    message = http.client.HTTPMessage()
    for line in http.client._read_headers(file)[:-1]:  # type: ignore[attr-defined]  # noqa: SLF001 - with its limits
        name, colon, value = line.decode("iso-8859-1").partition(":")
        if not colon or not name or name != name.strip():
            raise http.client.HTTPException(f"a header that is none: {line[:80]!a}")
        message[name] = value.strip()
    return message
