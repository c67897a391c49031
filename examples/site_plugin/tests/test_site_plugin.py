"""Our hooks, tried with the kit for plugin authors: no node, no encoder."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from encoder_site_plugin import SitePlugin

from encoder_hookspecs import GiveUp, Reason, RetryIn
from encoder_hookspecs.testing import RecordingHost, a_fallback, a_job, an_attempt, check_plugin


class Webhook(BaseHTTPRequestHandler):
    """Takes notices, and answers as it is told."""

    notices: ClassVar[list[dict[str, Any]]] = []
    status: ClassVar[int] = 204

    def do_POST(self) -> None:
        self.notices.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(self.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def webhook() -> Iterator[str]:
    Webhook.notices, Webhook.status = [], 204
    with HTTPServer(("127.0.0.1", 0), Webhook) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/hook"
        server.shutdown()
        thread.join()


@pytest.fixture
def plugin(tmp_path: Path, webhook: str) -> SitePlugin:
    return SitePlugin({"SITE_WEBHOOK_URL": webhook, "SITE_RECORDS": str(tmp_path / "records")})


def test_the_plugin_fits_the_contract(plugin: SitePlugin) -> None:
    assert check_plugin(plugin) == []


def test_a_full_supernode_is_not_waited_for(plugin: SitePlugin) -> None:
    host = RecordingHost(plugin)
    decision = host.on_lazy_pin_attempt_failed(an_attempt(number=1, reason=Reason.NODE_FULL))
    assert isinstance(decision, GiveUp)


def test_a_stalled_large_video_gets_a_long_pause(plugin: SitePlugin) -> None:
    attempt = an_attempt(number=1, reason=Reason.STALLED, job=a_job(size_mb=9000))
    assert RecordingHost(plugin).on_lazy_pin_attempt_failed(attempt) == RetryIn(seconds=1800)


def test_anything_else_is_left_to_the_default(plugin: SitePlugin) -> None:
    assert RecordingHost(plugin).on_lazy_pin_attempt_failed(an_attempt(number=1)) == RetryIn(seconds=60)


def test_a_fallback_is_recorded_told_once_and_archived_by_the_default(plugin: SitePlugin, tmp_path: Path) -> None:
    host = RecordingHost(plugin)
    fallback = a_fallback()
    host.on_local_fallback(fallback)
    host.on_local_fallback(fallback)
    (record,) = (tmp_path / "records").glob("*.json")
    assert json.loads(record.read_text())["cid"] == fallback.job.cid
    assert [notice["job_id"] for notice in Webhook.notices] == [fallback.job.job_id]
    assert host.archived == [fallback, fallback]
    assert not host.failures


def test_a_broken_webhook_does_no_harm(plugin: SitePlugin) -> None:
    Webhook.status = 500
    host = RecordingHost(plugin)
    host.on_local_fallback(a_fallback())
    assert len(host.archived) == 1
    assert not host.failures
