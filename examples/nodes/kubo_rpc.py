"""The few words of Kubo's RPC API that running a node takes; a test of the API itself speaks its own."""

import base64
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from examples.nodes.calls import Query, json_lines, text
from examples.nodes.errors import NodeError


class KuboRpc:
    """POST calls to one node. `secret` is an `AuthSecret` of its configuration, or empty."""

    def __init__(self, url: str, secret: str) -> None:
        self._url = url
        self.secret = secret

    def call(self, command: str, *args: str, timeout: float, **params: object) -> list[Any]:
        """The JSON lines of the answer. Options are written with underscores: `pin_roots` is `pin-roots`."""
        query = [("arg", arg) for arg in args]
        query += [(name.replace("_", "-"), text(value)) for name, value in params.items()]
        return self._post(command, query, timeout=timeout)

    def add_directory(self, files: Mapping[str, bytes], *, pin: bool) -> str:
        """Add a directory of files given as bytes; Kubo wants the path of each, escaped, as its file name."""
        parts = [("file", ("directory", b"", "application/x-directory"))]
        parts += [
            ("file", (quote(f"directory/{name}", safe=""), content, "application/octet-stream"))
            for name, content in files.items()
        ]
        query = [("cid-version", "1"), ("raw-leaves", "true"), ("pin", text(pin))]
        added = self._post("add", query, timeout=600, files=parts)
        return next(str(entry["Hash"]) for entry in added if entry["Name"] == "directory")

    def answers_as(self, peer_id: str) -> bool:
        try:
            return bool(self.call("id", timeout=5)[0]["ID"] == peer_id)
        except (NodeError, LookupError):
            return False

    def _post(self, command: str, query: Query, *, timeout: float, files: Any = None) -> list[Any]:
        url = f"{self._url}/api/v0/{command}"
        return json_lines("POST", url, query=query, timeout=timeout, headers=self._headers(), files=files)

    def _headers(self) -> dict[str, str]:
        kind, _, rest = self.secret.partition(":")
        if not self.secret:
            return {}
        if kind == "basic":
            return {"Authorization": "Basic " + base64.b64encode(rest.encode()).decode()}
        return {"Authorization": f"Bearer {rest if kind == 'bearer' else self.secret}"}
