"""HTTP calls to nodes on loopback: without proxy or .netrc, with a time limit, answered in JSON lines."""

import json
from collections.abc import Mapping
from typing import Any

import requests

from examples.nodes.errors import NodeError

Query = list[tuple[str, str]]


def json_lines(
    method: str,
    url: str,
    *,
    query: Query,
    timeout: float,
    headers: Mapping[str, str] | None = None,
    files: Any = None,
) -> list[Any]:
    """The JSON lines of the answer; an answer that is none, or not a success, is an error that quotes it."""
    try:
        with requests.Session() as session:
            session.trust_env = False
            answer = session.request(
                method, url, params=query, timeout=timeout, headers=dict(headers or {}), files=files
            )
        answer.raise_for_status()
        return [json.loads(line) for line in answer.text.splitlines() if line.strip()]
    except requests.HTTPError as error:
        raise NodeError(f"{method} {url}: {answer.status_code} {answer.text.strip()}") from error
    except (requests.RequestException, ValueError) as error:
        raise NodeError(f"{method} {url}: {error}") from error


def text(value: object) -> str:
    """A value as a node wants it in a query."""
    return str(value).lower() if isinstance(value, bool) else str(value)
