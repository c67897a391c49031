"""Makes processes that can be killed, a hundred a second: imports everything once, then only forks.

    with ForkServer(log) as server:
        child = server.start("tests.faults.actors:host", place="/tmp/x", seed=1)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()

The server runs in a process of its own that never has a second thread, so that what it forks is as clean as a new
process. A child's exception goes to the log, of which every error that names it carries the end: the log itself may
lie on a machine that is gone by the time somebody reads. Its returned value goes, as JSON, to the caller of `result`.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
import traceback
from pathlib import Path
from typing import Any, Self

from tests.faults.rig import ROOT

LAST = 4_000
"""Bytes of the log that an error carries: some forty lines."""

PRELOAD = (
    "tests.faults.actors", "tests.faults.moving", "tests.faults.scenarios", "tests.faults.planted",
    "tests.faults.command_place", "tests.faults.command_races",
)  # fmt: skip


class ForkServer:
    """Starts children. Ends with all of them.

    Args:
        log: where children write what goes wrong.
        planted: names of planted bugs that every child has.
    """

    def __init__(self, log: Path, planted: tuple[str, ...] = ()) -> None:
        self.log = log
        self._planted = planted
        self._results = log.parent / "results"
        self._results.mkdir(parents=True, exist_ok=True)
        self._children: set[int] = set()
        self._count = 0

    def __enter__(self) -> Self:
        environ = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "hookspecs")])}
        with self.log.open("ab") as log:
            self._server = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.forkserver"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=log, cwd=ROOT, env=environ,
            )  # fmt: skip
        return self

    def __exit__(self, *_: object) -> None:
        for pid in list(self._children):
            os.kill(pid, signal.SIGKILL)
            self.ask(wait=pid)
        assert self._server.stdin is not None
        self._server.stdin.close()
        self._server.wait(30)
        assert self._server.stdout is not None
        self._server.stdout.close()

    def start(self, call: str, **arguments: Any) -> Child:
        """Fork a child that calls `module:function` with `arguments`, which are JSON."""
        self._count += 1
        out = self._results / f"{self._count}.json"
        pid = self.ask(call=call, arguments=arguments, out=str(out), planted=self._planted)
        self._children.add(pid)
        return Child(self, pid, out)

    def run(self, call: str, *, within: float = 120.0, **arguments: Any) -> Any:
        """Start a child, and wait for what it returns."""
        return self.start(call, **arguments).result(within)

    def ask(self, **request: Any) -> Any:
        """One question to the server."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(request).encode() + b"\n")
        self._server.stdin.flush()
        return json.loads(self._server.stdout.readline())

    def last_words(self) -> str:
        """Where the log is, and how it ends."""
        end = self.log.read_bytes()[-LAST:].decode(errors="replace").strip()
        words = f"ends with:\n{textwrap.indent(end, '    ')}" if end else "is empty"
        return f"see {self.log}, which {words}"

    def reaped(self, pid: int) -> None:
        self._children.discard(pid)


class Child:
    """A process that the server forked."""

    def __init__(self, server: ForkServer, pid: int, out: Path) -> None:
        self._server = server
        self._out = out
        self._status: int | None = None
        self.pid = pid

    def kill(self) -> int:
        """Kill it by SIGKILL, stopped or not, and wait for its end."""
        os.kill(self.pid, signal.SIGKILL)
        return self.wait()

    def wait(self) -> int:
        """Wait for its end; the exit status, or minus the signal."""
        if self._status is None:
            self._ended(self._server.ask(wait=self.pid))
        return self._status or 0

    def poll(self) -> int | None:
        """Its exit status, or minus the signal; None while it runs."""
        if self._status is None and (status := self._server.ask(poll=self.pid)) is not None:
            self._ended(status)
        return self._status

    def result(self, within: float) -> Any:
        """What it returned; it is killed, and named, where that takes longer than `within` seconds."""
        end = time.monotonic() + within
        while self.poll() is None:
            if time.monotonic() > end:
                self.kill()
                raise TimeoutError(f"child {self.pid} did not end within {within} s: {self._server.last_words()}")
            time.sleep(0.002)
        if self._status != 0:
            raise RuntimeError(f"child {self.pid} ended with {self._status}: {self._server.last_words()}")
        return json.loads(self._out.read_bytes())

    def _ended(self, status: int) -> None:
        self._status = status
        self._server.reaped(self.pid)


def main() -> None:
    """The server's own loop."""
    import gc

    for name in PRELOAD:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    for line in sys.stdin.buffer:
        request = json.loads(line)
        if "call" in request:
            answer: object = _fork(request)
        elif "wait" in request:
            answer = os.waitstatus_to_exitcode(os.waitpid(request["wait"], 0)[1])
        else:
            pid, status = os.waitpid(request["poll"], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        os.write(1, json.dumps(answer).encode() + b"\n")


def _fork(request: dict[str, Any]) -> int:
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        _silence()
        value = _call(request)
        Path(request["out"]).write_text(json.dumps(value))
        status = 0
    except BaseException:  # noqa: BLE001 - whatever it is, it is written down, and the child must not become a server
        os.write(2, f"child {os.getpid()}, {request['call']}: {traceback.format_exc()}".encode())
    os._exit(status)


def _silence() -> None:
    """The server's pipes are the server's."""
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)


def _call(request: dict[str, Any]) -> object:
    from tests.faults import planted

    for name in request["planted"]:
        planted.plant(name)
    module, _, function = request["call"].partition(":")
    return getattr(importlib.import_module(module), function)(**request["arguments"])


if __name__ == "__main__":
    main()
