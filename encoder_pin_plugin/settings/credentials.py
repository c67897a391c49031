"""What a node lets us in by: kept so that it can be sent, and never shown.

A token that reaches a log, a traceback or a process list has to be changed on every machine. So it travels
as a `Secret`, whose text comes out of `reveal()` alone, and it comes in from the environment or from a file
that only its owner can read, never from a command line.
"""

from __future__ import annotations

import base64
import binascii
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NoReturn

from encoder_pin_plugin.errors import Unusable

if TYPE_CHECKING:
    from pathlib import Path

MASK = "***"
_LARGEST = 16_384
_FORM = "write bearer:TOKEN or basic:USER:PASSWORD"


class Secret:
    """A text that shows as `***` wherever it is printed, formatted or logged, and cannot be pickled.

    Two secrets are compared in constant time.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself: for the header of a request, and for nothing else."""
        return self._text

    def __repr__(self) -> str:
        return f"Secret({MASK})"

    def __str__(self) -> str:
        return MASK

    def __format__(self, spec: str) -> str:
        return format(MASK, spec)

    def __eq__(self, other: object) -> bool:
        from hmac import compare_digest  # costs more to import than all of this file

        if not isinstance(other, Secret):
            return NotImplemented
        return compare_digest(_as_bytes(self._text), _as_bytes(other._text))

    def __hash__(self) -> int:
        return hash((Secret, self._text))

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: object) -> Secret:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a Secret is not pickled: it would lie readable wherever the pickle goes")


@dataclass(frozen=True)
class Credentials:
    """How to introduce ourselves to a node.

    Args:
        kind: `bearer` (a token) or `basic` (user and password).
        user: of `basic`; empty for `bearer`.
        secret: the token or the password.
    """

    kind: Literal["bearer", "basic"]
    user: str
    secret: Secret

    def text(self) -> str:
        """The form that `parse_credentials` reads. It is as secret as the secret."""
        return ":".join([self.kind, *filter(None, [self.user]), self.secret.reveal()])

    def forms(self) -> tuple[str, ...]:
        """The forms in which a node could send them back to us, to be hidden in what it says."""
        forms = (self.header().partition(" ")[2], self.secret.reveal())
        return tuple(text for text in forms if len(text) > 3)

    def header(self) -> str:
        """The value of the HTTP header `Authorization`. It is as secret as the secret."""
        if self.kind == "bearer":
            return f"Bearer {self.secret.reveal()}"
        pair = f"{self.user}:{self.secret.reveal()}".encode()
        return f"Basic {base64.b64encode(pair).decode('ascii')}"


def parse_credentials(text: str) -> Credentials:
    """Read `bearer:TOKEN`, `basic:USER:PASSWORD` or `basic:BASE64`: the forms of Kubo's `AuthSecret`
    (its configuration's `API.Authorizations`). Raises `Unusable`, which never holds the text."""
    kind, colon, rest = text.partition(":")
    if not colon or not rest or not text.isprintable():
        raise Unusable(_FORM, secret=True)
    if kind == "bearer":
        return _bearer(rest)
    if kind == "basic":
        return _basic(rest if ":" in rest else _decoded(rest))
    raise Unusable(_FORM, secret=True)


def _bearer(token: str) -> Credentials:
    if not token.isascii() or " " in token:
        raise Unusable("write bearer:TOKEN with a token of ASCII characters without spaces", secret=True)
    return Credentials("bearer", "", Secret(token))


def _basic(pair: str) -> Credentials:
    user, _, password = pair.partition(":")
    if not user or not password:
        raise Unusable("write basic:USER:PASSWORD with a user and a password", secret=True)
    return Credentials("basic", user, Secret(password))


def _decoded(text: str) -> str:
    try:
        return base64.b64decode(text, validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        raise Unusable("write basic:USER:PASSWORD, or basic: and the Base64 of USER:PASSWORD", secret=True) from None


def read_credentials(path: Path) -> Credentials:
    """Read credentials from a file of ours that nobody else can read; a newline at its end is dropped.

    Raises `Unusable` where it is missing, not ours, readable by others, no regular file, too large or of
    another form.
    """
    try:
        content = _read_private(path)
    except OSError as error:
        raise Unusable(f"cannot read that file: {error.strerror or error}; check its path and its owner") from None
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        raise Unusable(f"the file is not UTF-8 text; {_FORM} into it") from None
    try:
        return parse_credentials(text.rstrip("\r\n"))
    except Unusable as fault:
        raise Unusable(f"what the file holds is of no use; {fault} into it") from None


def _read_private(path: Path) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        _refuse_readable_by_others(os.fstat(descriptor))
        return os.read(descriptor, _LARGEST)
    finally:
        os.close(descriptor)


def _refuse_readable_by_others(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise Unusable("that is no regular file; write the path of a file of mode 0600")
    if status.st_uid != os.geteuid():
        raise Unusable("the file belongs to another user; make it owned by the user that runs this (chown)")
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise Unusable(f"others may read the file (mode {stat.S_IMODE(status.st_mode):04o}); run chmod 0600 on it")
    if status.st_size >= _LARGEST:
        raise Unusable(f"the file is larger than {_LARGEST} bytes; {_FORM} into it")


def _as_bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
