"""A node that takes what it is sent, and then hangs, refuses, breaks, or sends the caller elsewhere.

Whatever it answers it repeats the credentials that it was sent, as proxies with a debug page do.

    with Unfriendly("hangs") as node:
        ...
        assert "Authorization: Bearer" in node.heads.get(timeout=60)
"""

from __future__ import annotations

import http.server
import queue
import threading
from typing import Any, Self

HOWS = ("hangs", "refuses", "fails", "redirects", "says yes to everything", "hangs up")


class Unfriendly:
    """`heads` are the requests' first lines and headers; `urls` of redirected calls would come to `elsewhere`."""

    def __init__(self, how: str) -> None:
        assert how in HOWS
        self.how = how
        self.heads: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.over = threading.Event()
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()

    def asked(self) -> str:
        """The heads of all requests up to now."""
        heads = []
        while not self.heads.empty():
            heads.append(self.heads.get())
        return "\n".join(heads)

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        node = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except OSError:  # the client hung up
                    self.close_connection = True

            def _answer(self) -> None:
                node.heads.put(f"{self.requestline}\n{self.headers}")
                node.answer(self)

            do_GET = do_POST = do_DELETE = do_PUT = _answer  # noqa: N815

            def log_message(self, *_: Any) -> None:
                """Tests look at `heads`."""

        return Handler

    def answer(self, talk: http.server.BaseHTTPRequestHandler) -> None:
        talk.close_connection = True
        sent = talk.headers.get("Authorization", "")
        if self.how == "hangs":
            self.over.wait(300)
        elif self.how != "hangs up":
            status = {"refuses": 403, "fails": 500, "redirects": 307}.get(self.how, 200)
            body = f'{{"Message": "you sent {sent}", "Code": 0, "Type": "error", "error": {{"reason": "{sent}"}}}}'
            talk.send_response(status, f"you sent {sent}")
            talk.send_header("X-You-Sent", sent)
            if status == 307:
                talk.send_header("Location", f"{self.url}/elsewhere?token={sent.replace(' ', '+')}")
            talk.send_header("Content-Length", str(len(body)))
            talk.end_headers()
            talk.wfile.write(body.encode())
