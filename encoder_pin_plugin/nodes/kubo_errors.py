"""What a failed call to a Kubo node means: one `NodeError` with a reason, whatever the library raised.

Seen with ipfshttpclient 0.7.0 against scripted servers: a body that breaks or stalls comes out as a raw requests
exception, an empty 200 as AssertionError (IndexError under `python -O`), odd JSON as TypeError and its kin, deep JSON
as RecursionError, a missing CA bundle as OSError.
"""

from __future__ import annotations

import functools
import http.client
from typing import TYPE_CHECKING

from encoder_hookspecs.events import Reason
from encoder_pin_plugin.errors import NodeError
from encoder_pin_plugin.nodes.sayings import said
from encoder_pin_plugin.settings.masking import without

if TYPE_CHECKING:
    from encoder_pin_plugin.nodes.transport import Watch
    from encoder_pin_plugin.settings import Credentials


class OddReply(ValueError):
    """The node's JSON is not of the shape that this call answers with; the message says what came instead."""


@functools.cache
def failures() -> tuple[type[BaseException], ...]:
    """Every type that a failed call comes out as."""
    import urllib3.exceptions
    from ipfshttpclient import exceptions

    from encoder_pin_plugin.nodes.transport import BadReply, TimeIsUp

    odd = (AssertionError, AttributeError, LookupError, TypeError, ValueError, RecursionError)
    wire = (exceptions.Error, urllib3.exceptions.HTTPError, http.client.HTTPException, OSError)
    return (BadReply, TimeIsUp, *wire, *odd)  # requests' exceptions are OSErrors


def as_node_error(error: BaseException | None, call: str, watch: Watch, *, hide: Credentials | None) -> NodeError:
    """The error to raise for `call` (node and call in words), without secrets, should the node repeat some: `hide`."""
    reason, words = _judge(error, watch, hide)
    return NodeError(f"{call}: {without(hide, words)}", reason)


def reason_of_text(text: str) -> Reason:
    """What Kubo's own error text says (its status is 500 for everything)."""
    for part, reason in _TEXTS:
        if part in text:
            return reason
    return Reason.NODE_ERROR


_TEXTS = (
    ("context deadline exceeded", Reason.TIMEOUT),
    ("no space left on device", Reason.NODE_FULL),
    ("disk quota exceeded", Reason.NODE_FULL),
    ("block was not found locally", Reason.CONTENT_MISSING),
    ("ipld: could not find", Reason.CONTENT_MISSING),
)

_NOT_ALLOWED = {
    401: "it wants credentials: set them, or correct them",
    403: "it does not allow this call: correct the credentials, or allow the call in API.Authorizations",
    404: "it does not know this call: correct the address, or allow the call",
    405: "it does not take POST here: correct the address",
}


def _judge(error: BaseException | None, watch: Watch, hide: Credentials | None) -> tuple[Reason, str]:
    from ipfshttpclient import exceptions

    if watch.late_error:
        late = without(hide, watch.late_error)
        return reason_of_text(late), f"the node says, late: {said(late)}"
    if isinstance(error, exceptions.ErrorResponse):
        return _refused_with_words(error, hide)
    if isinstance(error, exceptions.StatusError):
        return _refused_by_status(error)
    if _is_timeout(error):
        return Reason.TIMEOUT, "no complete answer in the time allowed"
    if not watch.answered:
        return _no_answer(error)
    return _broken_answer(error)


def _refused_with_words(error: BaseException, hide: Credentials | None) -> tuple[Reason, str]:
    status, text = _status(error), without(hide, str(error))
    reason = Reason.NOT_ALLOWED if status in _NOT_ALLOWED else reason_of_text(text)
    return reason, f"the node says: {said(text) or 'an error without words'}"


def _refused_by_status(error: BaseException) -> tuple[Reason, str]:
    status = _status(error)
    if status in _NOT_ALLOWED:
        return Reason.NOT_ALLOWED, f"HTTP {status}: {_NOT_ALLOWED[status]}"
    if status == 400:
        return Reason.NODE_ERROR, "HTTP 400: it does not understand this call"
    return Reason.NODE_ERROR, f"HTTP {status}, without an error of Kubo's: a proxy before it, or another program"


def _status(error: BaseException) -> int:
    response = getattr(getattr(error, "original", None), "response", None)
    return int(getattr(response, "status_code", 0) or 0)


def _is_timeout(error: BaseException | None) -> bool:
    import requests
    import urllib3.exceptions
    from ipfshttpclient import exceptions

    from encoder_pin_plugin.nodes.transport import TimeIsUp

    kinds = (TimeIsUp, TimeoutError, exceptions.TimeoutError, requests.Timeout, urllib3.exceptions.ReadTimeoutError)
    cause = error.args[0] if isinstance(error, requests.ConnectionError) and error.args else None
    return isinstance(error, kinds) or isinstance(cause, kinds)


def _no_answer(error: BaseException | None) -> tuple[Reason, str]:
    from ipfshttpclient import exceptions

    if isinstance(error, exceptions.ProtocolError):
        return Reason.CUT, "the connection broke before an answer came, or what answers is no HTTP server"
    if isinstance(error, ValueError) and not isinstance(error, OSError):
        return Reason.BAD_REPLY, f"the answer could not be read: {said(error)}"
    return Reason.REFUSED, f"nobody answers there: {said(_innermost(error))}"


def _innermost(error: BaseException | None) -> str:
    """The system's own reason, without the object addresses that urllib3 prints."""
    for _ in range(10):
        inner = getattr(error, "original", None) or getattr(error, "reason", None)
        if not isinstance(inner, BaseException) and error is not None and error.args:
            inner = error.args[0]
        if not isinstance(inner, BaseException):
            break
        error = inner
    text = str(error)
    return text.partition(">: ")[2] or text.partition(": ")[2] if " object at 0x" in text else text


def _broken_answer(error: BaseException | None) -> tuple[Reason, str]:
    import requests
    import urllib3.exceptions

    from encoder_pin_plugin.nodes.transport import BadReply

    broken = (requests.RequestException, urllib3.exceptions.HTTPError, http.client.HTTPException, OSError)
    if isinstance(error, broken):
        return Reason.CUT, "the connection broke in the middle of the answer"
    if isinstance(error, BadReply | OddReply):
        return Reason.BAD_REPLY, f"not a Kubo node's answer: {error}"
    if isinstance(error, AssertionError | IndexError):
        return Reason.BAD_REPLY, "not a Kubo node's answer: it is empty, or more than one"
    return Reason.BAD_REPLY, f"not a Kubo node's answer: {type(error).__name__}"
