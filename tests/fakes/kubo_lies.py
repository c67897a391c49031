"""What the fake Kubo node can say instead of the truth: a table of lies, each with what a reader must make of it.

`means` is the reason that a careful client gives for a pin (None where the lie is a yes that only a second question
finds out). No lie may ever be read as "pinned" or "whole"; those that are lies to one command only name it in `only`.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from encoder_hookspecs.events import Reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.fakes.kubo_node import Talk

OTHER_CID = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"


@dataclass(frozen=True)
class Lie:
    """One way not to tell the truth.

    Args:
        what: in words.
        means: the reason that `pin` ends with, or None where it can't know.
        tell: answers the request.
        only: the commands it is a lie to; empty for all.
    """

    what: str
    means: Reason | None
    tell: Callable[[Talk], object]
    only: frozenset[str] = field(default=frozenset())

    def fits(self, command: str) -> bool:
        return not self.only or command in self.only


def _silence(talk: Talk) -> None:
    talk.wait()


def _not_http(talk: Talk) -> None:
    talk.write(b"SSH-2.0-OpenSSH_9.6\r\n")
    talk.cut()


def _endless_headers(talk: Talk) -> None:
    talk.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        talk.write(b"X-Filler: " + b"x" * 1000 + b"\r\n")


def _slow_headers(talk: Talk) -> None:
    for byte in b"HTTP/1.1 200 OK\r\nX-Filler: " + b"x" * 10**6:
        talk.write(bytes([byte]))
        if talk.wait(0.05):
            return


def _short_body(talk: Talk) -> None:
    talk.start(200, "application/json", content_length="1000")
    talk.write(b'{"Pins":["')
    talk.cut()


def _cut_chunk(talk: Talk) -> None:
    talk.start(200, "application/json", transfer_encoding="chunked")
    talk.write(b'64\r\n{"Progress":1')
    talk.cut()


def _reset_in_body(talk: Talk) -> None:
    talk.start(200, "application/json", transfer_encoding="chunked")
    talk.chunk(b'{"Progress":1}\n')
    talk.wait(0.1)
    talk.cut(reset=True)


def _stall_in_body(talk: Talk) -> None:
    talk.start(200, "application/json", transfer_encoding="chunked")
    talk.chunk(b'{"Progress":1}\n')
    talk.wait()


def _stall_in_error(talk: Talk) -> None:
    talk.start(500, "application/json", content_length="1000")
    talk.write(b'{"Message":"')
    talk.wait()


def _cut_in_error(talk: Talk) -> None:
    talk.start(500, "application/json", content_length="1000")
    talk.write(b'{"Message":"')
    talk.cut()


def _drip(talk: Talk) -> None:
    talk.start(200, "application/json", transfer_encoding="chunked")
    while not talk.wait(0.05):
        talk.chunk(b" ")


def _drip_in_chunk(talk: Talk) -> None:
    talk.start(200, "application/json", transfer_encoding="chunked")
    talk.write(b"FFFFFF\r\n")
    while not talk.wait(0.05):
        talk.write(b" ")


def _huge_length(talk: Talk) -> None:
    talk.start(200, "application/json", content_length=str(10**15))
    talk.write(b'{"Pins":[')
    talk.wait()


def _huge_chunk(talk: Talk) -> None:
    talk.start(200, "application/json", transfer_encoding="chunked")
    talk.write(b"7FFFFFFFFFFFFFF\r\n{")
    talk.wait()


def _flood(piece: bytes) -> Callable[[Talk], None]:
    def tell(talk: Talk) -> None:
        talk.start(200, "application/json", transfer_encoding="chunked")
        while True:
            talk.chunk(piece)

    return tell


def _gzip(talk: Talk) -> None:
    talk.send(200, b"\x1f\x8b\x08" + b"\0" * 50, "application/json", content_encoding="gzip")


def _endless_trailer(talk: Talk) -> None:
    talk.start(200, "application/json", transfer_encoding="chunked")
    talk.write(b"0\r\n")
    while True:
        talk.write(b"X-Filler: x\r\n")


def _body(status: int, body: str | bytes, kind: str = "application/json", **headers: str) -> Callable[[Talk], None]:
    return lambda talk: talk.send(status, body, kind, **headers)


def _elsewhere(talk: Talk) -> None:
    talk.send(307, "", location=f"http://localhost:{talk.node.port}/api/v0/elsewhere")


def _lines(*items: object, late_error: str = "") -> Callable[[Talk], None]:
    """Items as Kubo streams them, where "CID" stands for the CID asked about."""

    def tell(talk: Talk) -> None:
        talk.start(200, "application/json", transfer_encoding="chunked")
        for item in items:
            talk.chunk(json.dumps(item).replace("CID", talk.cid).encode() + b"\n")
        talk.end(late_error)

    return tell


def _heartbeats(talk: Talk) -> None:
    talk.start(200, "application/json", transfer_encoding="chunked")
    talk.chunk(b'{"Progress":7,"Bytes":700}\n')
    while not talk.wait(0.05):
        talk.chunk(b'{"Progress":7,"Bytes":700}\n')


def _crawl(talk: Talk) -> None:
    talk.start(200, "application/json", transfer_encoding="chunked")
    for blocks in range(10**6):
        talk.chunk(b'{"Progress":%d}\n' % blocks)
        if talk.wait(0.05):
            return


def _slow_yes(talk: Talk) -> None:
    time.sleep(0.2)
    talk.json({"Pins": [talk.cid]})


def _on(command: str, what: str, means: Reason | None, tell: Callable[[Talk], object]) -> Lie:
    return Lie(what, means, tell, frozenset({command}))


_HTML = "<!DOCTYPE html><html><body><h1>Welcome to nginx!</h1></body></html>"
_ROW = {"Cid": "CID", "Size": 10, "NumBlocks": 1}

LIES: dict[str, Lie] = {
    "silence": Lie("takes the call and says nothing", Reason.TIMEOUT, _silence),
    "closed_at_once": Lie("closes the connection before it answers", Reason.CUT, lambda talk: talk.cut()),
    "reset_at_once": Lie("resets the connection before it answers", Reason.CUT, lambda talk: talk.cut(reset=True)),
    "not_http": Lie("is an SSH server", Reason.CUT, _not_http),
    "endless_headers": Lie("never ends its headers", Reason.CUT, _endless_headers),
    "slow_headers": Lie("sends its headers a byte at a time", Reason.TIMEOUT, _slow_headers),
    "short_body": Lie("sends less than it announced", Reason.CUT, _short_body),
    "cut_chunk": Lie("closes in the middle of a chunk", Reason.CUT, _cut_chunk),
    "reset_in_body": Lie("resets in mid answer", Reason.CUT, _reset_in_body),
    "stall_in_body": Lie("stops in mid answer and stays connected", Reason.TIMEOUT, _stall_in_body),
    "stall_in_error": Lie("stops in the middle of an error", Reason.TIMEOUT, _stall_in_error),
    "cut_in_error": Lie("closes in the middle of an error", Reason.CUT, _cut_in_error),
    "drip": Lie("sends white space for ever, a chunk at a time", Reason.TIMEOUT, _drip),
    "drip_in_chunk": Lie("sends one chunk for ever, a byte at a time", Reason.TIMEOUT, _drip_in_chunk),
    "huge_length": Lie("announces a petabyte", Reason.BAD_REPLY, _huge_length),
    "huge_chunk": Lie("announces a chunk of half an exabyte", Reason.TIMEOUT, _huge_chunk),
    "endless_line": Lie("never ends its line", Reason.BAD_REPLY, _flood(b"x" * 65000)),
    "endless_string": Lie("never ends a JSON text", Reason.BAD_REPLY, _flood(b'{"Progress":"' + b"x" * 900)),
    "endless_newlines": Lie("sends empty lines for ever", Reason.BAD_REPLY, _flood(b"\n" * 65000)),
    "gzip": Lie("compresses what nobody asked it to", Reason.BAD_REPLY, _gzip),
    "endless_trailer": Lie("never ends its trailer", Reason.BAD_REPLY, _endless_trailer),
    "html_200": Lie("is a web server that greets", Reason.BAD_REPLY, _body(200, _HTML, "text/html")),
    "html_502": Lie("is a proxy without its node", Reason.NODE_ERROR, _body(502, _HTML, "text/html")),
    "empty_200": Lie("says 200 and nothing else", Reason.BAD_REPLY, _body(200, "")),
    "null": Lie("says null", Reason.BAD_REPLY, _body(200, "null\n")),
    "list": Lie("says a list", Reason.BAD_REPLY, _body(200, '["Pins"]\n')),
    "number": Lie("says a number", Reason.BAD_REPLY, _body(200, "1e999\n")),
    "text": Lie("says a text", Reason.BAD_REPLY, _body(200, '"Pins"\n')),
    "deep_json": Lie("says a list of lists of lists", Reason.BAD_REPLY, _body(200, "[" * 15000)),
    "garbage": Lie("says bytes that are no text", Reason.BAD_REPLY, _body(200, bytes(range(256)) * 4)),
    "cut_json": Lie("ends its JSON too early", Reason.BAD_REPLY, _body(200, '{"Pins":["')),
    "long_number": Lie(
        "says a number of 10,000 digits", Reason.BAD_REPLY, _body(200, '{"Progress":' + "9" * 10000 + "}")
    ),
    "redirect": Lie("sends us to another path", Reason.BAD_REPLY, _body(301, "", location="/elsewhere")),
    "redirect_elsewhere": Lie("sends us to another host", Reason.BAD_REPLY, _elsewhere),
    "unauthorized": Lie("wants credentials", Reason.NOT_ALLOWED, _body(401, "401 Unauthorized", "text/plain")),
    "forbidden": Lie("does not allow it", Reason.NOT_ALLOWED, _body(403, "403 - Forbidden", "text/plain")),
    "forbidden_json": Lie(
        "does not allow it, in JSON", Reason.NOT_ALLOWED, _body(403, '{"Message":"no","Type":"error"}')
    ),
    "not_found": Lie("knows no such call", Reason.NOT_ALLOWED, _body(404, "404 page not found", "text/plain")),
    "wrong_method": Lie("does not take POST", Reason.NOT_ALLOWED, _body(405, "405", "text/plain")),
    "too_many": Lie("is overloaded", Reason.NODE_ERROR, _body(429, "slow down", "text/plain")),
    "error_without_words": Lie("fails without a word", Reason.NODE_ERROR, _body(500, "")),
    "error_odd_message": Lie("fails with a number for a message", Reason.NODE_ERROR, _body(500, '{"Message":7}')),
    "error_other_json": Lie("fails with a list", Reason.NODE_ERROR, _body(500, "[1]")),
    "error_in_200": Lie("fails under status 200", Reason.NODE_ERROR, _lines({"Message": "oops", "Type": "error"})),
    "error_in_200_mute": Lie("fails under status 200, wordless", Reason.BAD_REPLY, _lines({"Type": "error"})),
    "node_full": Lie("has no space", Reason.NODE_FULL, lambda talk: talk.error("write: no space left on device")),
    "deadline": Lie("ran out of time", Reason.TIMEOUT, lambda talk: talk.error("pin: context deadline exceeded")),
    "shutting_down": Lie("is stopping", Reason.NODE_ERROR, lambda talk: talk.error("pinner closed")),
    "control_characters": Lie(
        "colours our terminal", Reason.NODE_ERROR, lambda talk: talk.error("\x1b[31mred\r\n\x07")
    ),
    "late_error": Lie("fails in the trailer", Reason.TIMEOUT, _lines({}, late_error="pin: context deadline exceeded")),
    "late_full": Lie("is full, in the trailer", Reason.NODE_FULL, _lines({}, late_error="no space left on device")),
    "no_end": _on("pin/add", "ends without having pinned", Reason.CUT, _lines({}, {"Progress": 4})),
    "other_cid": _on("pin/add", "pins something else", Reason.BAD_REPLY, _lines({"Pins": [OTHER_CID]})),
    "pins_nothing": _on("pin/add", "pins nothing", Reason.BAD_REPLY, _lines({"Pins": []})),
    "pins_null": _on("pin/add", "has null for pins", Reason.BAD_REPLY, _lines({"Pins": None})),
    "pins_text": _on("pin/add", "has a text for pins", Reason.BAD_REPLY, _lines({"Pins": "CID"})),
    "pins_odd": _on("pin/add", "has numbers for pins", Reason.BAD_REPLY, _lines({"Pins": [1, None]})),
    "progress_text": _on("pin/add", "counts in words", Reason.BAD_REPLY, _lines({"Progress": "many"})),
    "progress_negative": _on("pin/add", "counts below zero", Reason.BAD_REPLY, _lines({"Progress": -1})),
    "heartbeats": _on("pin/add", "lives and gets nowhere", Reason.STALLED, _heartbeats),
    "crawl": _on("pin/add", "gets on for ever", Reason.TIMEOUT, _crawl),
    "empty_yes": _on("pin/add", "says yes and does nothing", None, lambda talk: talk.json({"Pins": [talk.cid]})),
    "slow_yes": _on("pin/add", "says yes slowly and does nothing", None, _slow_yes),
    "no_keys": _on("pin/ls", "answers about nothing", None, _lines({"Keys": {}})),
    "null_keys": _on("pin/ls", "has null for keys", None, _lines({"Keys": None})),
    "other_keys": _on(
        "pin/ls", "answers about another CID", None, _lines({"Keys": {OTHER_CID: {"Type": "recursive"}}})
    ),
    "null_row": _on("pin/ls", "knows nothing of the CID", None, _lines({"Keys": {"CID": None}})),
    "odd_type": _on("pin/ls", "has a number for a type", None, _lines({"Keys": {"CID": {"Type": 1}}})),
    "other_not_pinned": _on(
        "pin/ls", "says no about another CID", None, lambda talk: talk.error(f"path '/ipfs/{OTHER_CID}' is not pinned")
    ),
    "twice": _on("pin/ls", "answers twice", None, _lines(*[{"Keys": {"CID": {"Type": "recursive"}}}] * 2)),
    "no_rows": _on("dag/stat", "has no rows", None, _lines({"DagStats": []})),
    "null_rows": _on("dag/stat", "has null for rows", None, _lines({"DagStats": None})),
    "other_row": _on("dag/stat", "answers about another DAG", None, _lines({"DagStats": [{**_ROW, "Cid": OTHER_CID}]})),
    "odd_row": _on("dag/stat", "has odd rows", None, _lines({"DagStats": [None, 1, {"Cid": {"/": 7}}, {"Cid": None}]})),
    "no_blocks": _on("dag/stat", "counts no block", None, _lines({"DagStats": [{**_ROW, "NumBlocks": 0, "Size": 0}]})),
    "negative_size": _on("dag/stat", "has a size below zero", None, _lines({"DagStats": [{**_ROW, "Size": -1}]})),
    "true_size": _on("dag/stat", "has true for a size", None, _lines({"DagStats": [{**_ROW, "Size": True}]})),
}
