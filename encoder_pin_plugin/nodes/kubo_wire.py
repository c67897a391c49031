"""Calls to one Kubo node through ipfshttpclient, with every way they fail turned into a `NodeError`.

ipfshttpclient 0.7.0 is used through `Client`, never `connect`, which refuses every Kubo since 0.8. Six kinds of
failure come out of it as something else than its own errors (raw requests exceptions, AssertionError for an empty
200, TypeError for odd JSON); they are caught here, in one place. Each thread has a client and a session of its own,
and a forked child makes new ones: neither is shared, so one call's deadline is never another's.
"""

from __future__ import annotations

import os
import threading
import weakref
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from encoder_pin_plugin.nodes.kubo_errors import OddReply, as_node_error, failures
from encoder_pin_plugin.nodes.sayings import cause

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping, Sequence

    from encoder_pin_plugin.nodes.transport import Watch
    from encoder_pin_plugin.settings import Credentials
    from encoder_pin_plugin.settings.address import NodeAddress

T = TypeVar("T")

_END = object()
_ANY = "/ip4/127.0.0.1/tcp/80"
"""The address is set as a URL instead: multiaddr refuses names with "_", which containers have."""

_LINE = 16384
_BODY = 64 * 1024 * 1024
"""Bytes: a progress line has some 50, and one comes each half second; 64 MB of them last a week."""


class KuboWire:
    """The calls to one node.

    Args:
        address: where it is.
        auth: what it wants to see of us, or None.
    """

    def __init__(self, address: NodeAddress, auth: Credentials | None) -> None:
        self.address = address
        self.auth = auth
        self._all: weakref.WeakSet[_Line] = weakref.WeakSet()
        self._lock = threading.Lock()
        self._forget()

    def ask(self, what: str, call: Callable[[Any], T], *, seconds: float, body: int = 65536) -> T:
        """One call whose answer comes whole: `call` gets the ipfshttpclient client.

        Args:
            what: the call in words, for messages.
            call: uses the client, and returns what it made of the answer; may raise `OddReply`.
            seconds: for all of it.
            body: bytes that the answer may have.

        Raises:
            NodeError: whatever went wrong.
        """
        line = self._line()
        watch = line.watch(seconds=seconds, body=body)
        with self._named(what, watch):
            return call(line.client)

    def stream(
        self, what: str, call: Callable[[Any], Any], *, seconds: float, silence: float, lines: bool = True
    ) -> Generator[Any, None, None]:
        """One call whose answer comes in items; close the generator to hang up.

        Args:
            what, call, seconds: as in `ask`; `call` returns an iterator that can be closed.
            silence: seconds without a byte.
            lines: whether the answer is made of short lines, so that a longer one is refused.

        Raises:
            NodeError: whatever went wrong, a late error of the node in the trailer too.
        """
        line = self._line()
        body, longest = (_BODY, _LINE) if lines else (None, None)
        watch = line.watch(seconds=seconds, silence=silence, body=body, line=longest)
        with self._named(what, watch):
            items = call(line.client)
        try:
            while True:
                with self._named(what, watch):
                    watch.patience()
                    item = next(items, _END)
                if item is _END:
                    return
                yield item
        finally:
            items.close()

    def close(self) -> None:
        """Close every thread's connections. No call may be under way."""
        with self._lock:
            lines, self._all = list(self._all), weakref.WeakSet()
            self._mine = threading.local()
        for line in lines:
            line.close()

    @contextmanager
    def _named(self, what: str, watch: Watch) -> Iterator[None]:
        try:
            yield
        except failures() as error:
            call = f"{self.address.text} {what}"
            raise as_node_error(error, call, watch, hide=self.auth) from cause(error, self.auth)
        if watch.late_error:
            raise as_node_error(None, f"{self.address.text} {what}", watch, hide=self.auth)

    def _line(self) -> _Line:
        if self._pid != os.getpid():
            self._forget()
        line: _Line | None = getattr(self._mine, "line", None)
        if line is None:
            line = self._mine.line = _Line(self.address, self.auth)
            with self._lock:
                self._all.add(line)
        return line

    def _forget(self) -> None:
        """Begin anew, without a lock that another thread may have held when this process was forked."""
        self._pid = os.getpid()
        self._mine = threading.local()
        self._all, self._lock = weakref.WeakSet(), threading.Lock()


def call_directly(kubo: Any, command: str, args: Sequence[str], options: Mapping[str, str]) -> Any:
    """A call that ipfshttpclient has no method for, or a broken one; its one answer, as JSON."""
    items = kubo._client.request(command, args, decoder="json", opts=options)  # noqa: SLF001 - no public way
    if len(items) != 1:
        raise OddReply(f"{len(items)} answers in place of one")
    return items[0]


class _Line:
    """One thread's client, with an open session whose replies are watched."""

    def __init__(self, address: NodeAddress, auth: Credentials | None) -> None:
        import ipfshttpclient  # 0.2 s: not before the first call to a node
        from ipfshttpclient.http_requests import ClientSync

        from encoder_pin_plugin.nodes.transport import Watch, open_session

        self._watch = Watch
        self._session = open_session(address, auth)
        backend = ClientSync(_ANY, "api/v0")
        backend._base_url = f"{address.url}{address.prefix}/api/v0/".replace("//api", "/api")  # noqa: SLF001
        backend._session = self._session  # noqa: SLF001 - these three have no public way in
        self.client = ipfshttpclient.Client(_ANY)
        self.client._client = backend  # noqa: SLF001

    def watch(self, **limits: Any) -> Watch:
        """Watch the next call: `limits` as `Watch` takes them."""
        watch = self._watch(**limits)
        self._session.watch_by(watch)
        return watch

    def close(self) -> None:
        self.client.close()
