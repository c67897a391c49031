"""The calls beneath the Cluster and the pinning service adapters: whom they speak to, and what they never give away."""

import os
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

from encoder_hookspecs.events import Reason
from encoder_pin_plugin.errors import InvalidSettings, NodeError
from encoder_pin_plugin.nodes.http import Http, service_address
from encoder_pin_plugin.nodes.http_reply import Reply
from encoder_pin_plugin.settings import Credentials, Secret
from tests.fakes.kubo_node import Talk
from tests.fakes.service import FakeService, Request, send_json
from tests.nodes.conftest import failure

SECRET = "hunter2-hunter2"


class Echo(FakeService):
    def answer(self, talk: Talk, request: Request) -> None:
        send_json(talk, {"path": request.path, "query": request.query, "body": request.body.decode()})


@pytest.fixture
def echo() -> Iterator[Echo]:
    with Echo() as echo:
        yield echo


def http(url: str, auth: Credentials | None = None, *, seconds: float = 10) -> Http:
    return Http(service_address(url, 80), auth, seconds=seconds)


def test_a_body_is_sent_whole_or_in_pieces(echo: Echo) -> None:
    assert http(echo.url).call("POST", "/x", body=b"whole").object()["body"] == "whole"
    assert http(echo.url).call("POST", "/x", body=iter([b"in ", b"pieces"])).object()["body"] == "in pieces"
    assert http(echo.url).call("DELETE", "/x").object()["body"] == ""
    assert not [call for call in echo.calls if {"Content-Length", "Transfer-Encoding"} <= set(call.headers)]


def test_a_prefix_of_the_address_is_kept(echo: Echo) -> None:
    assert http(f"{echo.url}/psa/").call("GET", "/pins").object()["path"] == "/psa/pins"


def test_what_is_odd_in_a_query_arrives_as_it_is(echo: Echo) -> None:
    query = [("name", "a&b=c ä/?#%41\n"), ("empty", "")]
    assert http(echo.url).call("GET", "/x", query=query).object()["query"] == dict(query)


def test_no_netrc_and_no_proxy_on_loopback(echo: Echo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password netrc-secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    http(echo.url).call("GET", "/x").need_ok()
    assert "Authorization" not in echo.calls[0].headers
    http(echo.url, Credentials("bearer", "", Secret(SECRET))).call("GET", "/x").need_ok()
    assert echo.calls[1].headers["Authorization"] == f"Bearer {SECRET}"


def test_a_redirect_takes_no_credentials_anywhere(echo: Echo) -> None:
    with Echo() as elsewhere:
        echo.lie(lambda talk: talk.send(307, "", location=f"{elsewhere.url}/x"))
        error = failure(http(echo.url, Credentials("basic", "me", Secret(SECRET))).call, "GET", "/x")
        assert error.reason is Reason.BAD_REPLY
        assert elsewhere.calls == []


@pytest.mark.parametrize("secret", [f"{SECRET}\r\nX-Evil: 1", f"{SECRET}\n", f"{SECRET}\x00", f"{SECRET}€"])
def test_credentials_that_cannot_be_sent_are_not_shown_either(echo: Echo, secret: str) -> None:
    with pytest.raises(NodeError) as caught:
        http(echo.url, Credentials("bearer", "", Secret(secret))).call("GET", "/x")
    assert caught.value.reason is Reason.NOT_ALLOWED
    shown = "".join(traceback.format_exception(caught.value))
    assert "hunter2" not in shown
    assert echo.calls == []


@pytest.mark.parametrize(
    "auth", [Credentials("bearer", "", Secret(SECRET)), Credentials("basic", "me", Secret(SECRET))]
)
def test_an_error_that_repeats_our_credentials_is_masked(echo: Echo, auth: Credentials) -> None:
    echo.lie(
        lambda talk: send_json(talk, {"message": f"bad header: {talk.call.headers['Authorization']} {SECRET}"}, 500)
    )
    reply = http(echo.url, auth).call("GET", "/x")
    assert "bad header: " in str(reply.failure())
    assert SECRET not in f"{reply.failure()} {reply.words()}"
    assert auth.header().partition(" ")[2] not in str(reply.failure())


def test_no_cookie_is_kept(echo: Echo) -> None:
    echo.cookie = "session=1; Path=/"
    service = http(echo.url)
    for _ in range(2):
        service.call("GET", "/x").need_ok()
    assert not [call for call in echo.calls if "Cookie" in call.headers]


def test_nobody_there_is_said_with_the_systems_reason() -> None:
    error = failure(http("http://127.0.0.1:9").call, "GET", "/x")
    assert error.reason is Reason.REFUSED
    assert "http://127.0.0.1:9 GET /x: nobody answers there: " in str(error)
    assert "refused" in str(error)
    assert "0x" not in str(error)
    unknown = failure(http("http://no-such-host.invalid").call, "GET", "/x")
    assert unknown.reason is Reason.REFUSED


def test_a_missing_certificate_bundle_is_no_crash(echo: Echo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/no/such/file")
    secure = http(echo.url.replace("http:", "https:"), seconds=3)
    assert failure(secure.call, "GET", "/x").reason in (Reason.REFUSED, Reason.NOT_ALLOWED)


def test_plain_http_where_tls_was_expected_ends_in_time(echo: Echo) -> None:
    assert failure(http(echo.url.replace("http:", "https:"), seconds=3).call, "GET", "/x").reason is Reason.REFUSED


def test_threads_and_forks_have_connections_of_their_own(echo: Echo) -> None:
    service = http(echo.url)
    done: list[bool] = []
    threads = [
        threading.Thread(target=lambda: done.extend(service.call("GET", "/x").ok for _ in range(20))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert done == [True] * 160
    service.call("GET", "/x").need_ok()
    child = os.fork()
    if child == 0:
        os._exit(0 if service.call("GET", "/child").ok else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    service.call("GET", "/x").need_ok()


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (401, b"", Reason.NOT_ALLOWED),
        (404, b'{"message":"not found"}', Reason.NOT_ALLOWED),
        (500, b'{"message":"no space left on device"}', Reason.NODE_FULL),
        (507, b"", Reason.NODE_FULL),
        (500, b'{"message":"oops"}', Reason.NODE_ERROR),
        (429, b"", Reason.NODE_ERROR),
        (502, b"<html>Bad Gateway</html>", Reason.BAD_REPLY),
        (503, b"", Reason.BAD_REPLY),
    ],
)
def test_a_refusal_is_given_its_reason(status: int, body: bytes, reason: Reason) -> None:
    assert Reply(where="x", status=status, body=body).failure().reason is reason


@pytest.mark.parametrize("address", ["/unix/run/x.sock", "ftp://x", "http://me:pw@x", "", "http://x?y=1"])
def test_addresses_that_are_none(address: str) -> None:
    with pytest.raises(InvalidSettings):
        service_address(address, 80)
