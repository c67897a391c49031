"""The few words of Kubo's RPC API that running a node takes; a test that studies the API speaks to it
itself.
"""

import base64
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import requests

from examples.nodes.errors import NodeError


class KuboRpc:
    """POST calls to one node. `secret` is an `AuthSecret` of its configuration, or empty."""

    def __init__(self, url: str, secret: str = "") -> None:
        self._url = url
        self.secret = secret

    def call(self, command: str, *args: str, timeout: float = 60, **params: object) -> list[Any]:
        """The JSON lines of the answer. Options are written with underscores: `pin_roots` is `pin-roots`."""
        query = [("arg", arg) for arg in args] + [
            (name.replace("_", "-"), _text(value)) for name, value in params.items()
        ]
        return _json_lines(command, self._post(command, query, timeout=timeout))

    def add_directory(self, files: Mapping[str, bytes], *, pin: bool, timeout: float = 600) -> str:
        """Add a directory of files given as bytes; Kubo wants the path of each, escaped, as its file name."""
        parts = [("file", ("directory", b"", "application/x-directory"))]
        parts += [
            ("file", (quote(f"directory/{name}", safe=""), content, "application/octet-stream"))
            for name, content in files.items()
        ]
        query = [("cid-version", "1"), ("raw-leaves", "true"), ("pin", _text(pin))]
        added = _json_lines("add", self._post("add", query, timeout=timeout, files=parts))
        return next(str(entry["Hash"]) for entry in added if entry["Name"] == "directory")

    def answers_as(self, peer_id: str) -> bool:
        try:
            return bool(self.call("id", timeout=5)[0]["ID"] == peer_id)
        except (NodeError, LookupError):
            return False

    def _post(
        self, command: str, query: list[tuple[str, str]], *, timeout: float, files: Any = None
    ) -> requests.Response:
        try:
            # A session without `trust_env`: no proxy and no .netrc of this person's for a node on loopback.
            with requests.Session() as session:
                session.trust_env = False
                return session.post(
                    f"{self._url}/api/v0/{command}",
                    params=query,
                    files=files,
                    headers=self._headers(),
                    timeout=timeout,
                )
        except requests.RequestException as error:
            raise NodeError(f"{command} on {self._url}: {error}") from error

    def _headers(self) -> dict[str, str]:
        kind, _, rest = self.secret.partition(":")
        if not self.secret:
            return {}
        if kind == "basic":
            return {"Authorization": "Basic " + base64.b64encode(rest.encode()).decode()}
        return {"Authorization": f"Bearer {rest if kind == 'bearer' else self.secret}"}


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _json_lines(command: str, answer: requests.Response) -> list[Any]:
    if answer.status_code != requests.codes.ok:
        raise NodeError(f"{command} on {answer.url}: {answer.status_code} {answer.text.strip()}")
    return [json.loads(line) for line in answer.text.splitlines() if line.strip()]
