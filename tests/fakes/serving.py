"""The HTTP server of a fake: on a free loopback port, for as long as the fake is entered."""

from __future__ import annotations

import http.server
import threading
from typing import Any, Self


class Server(http.server.ThreadingHTTPServer):
    """Its handlers find their fake at `node`."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    node: Any

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is what many tests are about."""


class Served:
    """A fake that answers by HTTP; `stopping` is set when it is to end."""

    def __init__(self, handler: type[http.server.BaseHTTPRequestHandler]) -> None:
        self.stopping = threading.Event()
        self._server = Server(("127.0.0.1", 0), handler)
        self._server.node = self
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
