"""What a site plugin can do that none should, and the child of the rig in which it does."""

from __future__ import annotations

import builtins
import functools
import gc
import inspect
import json
import os
import resource
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from encoder_hookspecs.events import CompletedJob
from encoder_hookspecs.manager import EncoderManager
from encoder_hookspecs.specs import hookimpl
from tests.cids import cid_of
from tests.faults.actors import Place, place_at, plugin_at, quicken

HOOKS = ("on_job_complete", "on_lazy_pin_attempt_failed", "on_lazy_pin_failed", "on_local_fallback",
         "on_lazy_pin_succeeded")  # fmt: skip

LIMIT = 1.0
"""Seconds for each call of a plugin; `on_job_complete` cannot be limited."""


class _Acks:
    """The journal of what was acknowledged, written without any module that a demon may have patched."""

    def __init__(self, place: Place) -> None:
        self._file = os.open(place.acks / f"{os.getpid()}.acks", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._write = os.write

    def write(self, cid: str, job_id: str) -> None:
        self._write(self._file, f'{{"cid":"{cid}","job_id":"{job_id}"}}\n'.encode())


class Demon:
    """Does one thing, in one hook, whenever it is called. Before the first time, being called means: it is recorded."""

    def __init__(self, place: Place, manager: EncoderManager, kind: str, hook: str) -> None:
        self.place, self.manager, self.hook = place, manager, hook
        self.do = KINDS[kind]
        self.calls = self.depth = 0
        self.journal = _Acks(place)

    def act(self, hook: str, event: Any) -> Any:
        self.calls += hook == self.hook
        return self.do(self, event) if hook == self.hook else None

    @hookimpl
    def on_job_complete(self, job: CompletedJob) -> Any:
        if self.calls == 0:
            self.journal.write(job.cid, job.job_id)
        return self.act("on_job_complete", job)

    @hookimpl
    def on_lazy_pin_attempt_failed(self, attempt: Any) -> Any:
        return self.act("on_lazy_pin_attempt_failed", attempt)

    @hookimpl
    def on_lazy_pin_failed(self, failure: Any) -> Any:
        return self.act("on_lazy_pin_failed", failure)

    @hookimpl
    def on_local_fallback(self, fallback: Any) -> Any:
        return self.act("on_local_fallback", fallback)

    @hookimpl
    def on_lazy_pin_succeeded(self, pin: Any) -> Any:
        return self.act("on_lazy_pin_succeeded", pin)


def _raise(error: BaseException) -> Callable[[Demon, Any], Any]:
    def do(demon: Demon, event: Any) -> None:
        raise error

    return do


def _hang(demon: Demon, event: Any) -> None:
    time.sleep(0.3 if demon.hook == "on_job_complete" else 3600)


def _fork(demon: Demon, event: Any) -> None:
    if os.fork() == 0:
        time.sleep(0.1)
        os._exit(0)


def _fork_and_stay(demon: Demon, event: Any) -> None:
    """A child that goes on as if it were the host, for a while."""
    if os.fork() == 0:
        threading.Timer(1.0, lambda: os._exit(0)).start()


def _mutate(demon: Demon, event: Any) -> None:
    for target in (event, getattr(event, "job", None), getattr(event, "failure", None)):
        for name in getattr(target, "__dataclass_fields__", ()):
            if name in ("cid", "job_id", "node_id", "error"):
                object.__setattr__(target, name, "mutated")


def _again(demon: Demon, event: Any) -> None:
    """Call back: report the same job from within the hook, and another one."""
    if demon.depth < 3:
        demon.depth += 1
        job = event if isinstance(event, CompletedJob) else event.job
        demon.manager.on_job_complete(job)
        demon.manager.on_job_complete(CompletedJob(cid=cid_of(f"inner-{demon.depth}"), job_id=f"inner-{demon.depth}"))


def _call_the_manager(demon: Demon, event: Any) -> None:
    demon.manager.plugins()
    demon.manager.pluggy.hook.on_encoder_stop(timeout=0.1)
    demon.manager.pluggy.unregister(name="pin")


def _return(value: Any) -> Callable[[Demon, Any], Any]:
    return lambda demon, event: value


def _patch_json(demon: Demon, event: Any) -> None:
    json.dumps = lambda *_, **__: "{}"
    json.loads = lambda *_, **__: {}
    json.dump = json.load = None  # type: ignore[assignment]


def _no_open(*_: Any, **__: Any) -> Any:
    raise OSError("there is no open() any more")


def _patch_open(demon: Demon, event: Any) -> None:
    builtins.open = _no_open


def _no_files(demon: Demon, event: Any) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


def _full(demon: Demon, event: Any) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def _odd_answer(demon: Demon, event: Any) -> Any:
    class Odd:
        def __getattr__(self, name: str) -> Any:
            raise RuntimeError(name)

        __class__ = property(lambda self: _raise(ValueError("no class"))(demon, event))

    return Odd()


KINDS: dict[str, Callable[[Demon, Any], Any]] = {
    "raises": _raise(ValueError("of hell")), "interrupts": _raise(KeyboardInterrupt()), "exits": _raise(SystemExit(3)),
    "raises a generator's end": _raise(StopIteration()), "raises GeneratorExit": _raise(GeneratorExit()),
    "raises MemoryError": _raise(MemoryError()), "raises odd text": _raise(RuntimeError("\x1b[31m{} %s\n\ud800")),
    "hangs": _hang, "ends the process": lambda demon, event: os._exit(7), "forks": _fork,
    "forks and goes on": _fork_and_stay, "changes folder": lambda demon, event: os.chdir("/"),
    "masks all modes": lambda demon, event: os.umask(0o777), "mutates": _mutate,
    "returns a number": _return(42), "returns a text": _return("yes"), "returns true": _return(True),
    "returns a class": _return(CompletedJob), "returns a list": _return([None]), "returns the unclassed": _odd_answer,
    "reports jobs": _again, "unregisters us": _call_the_manager, "patches json": _patch_json,
    "patches open": _patch_open, "leaves no files": _no_files, "fills the disk": _full,
    "closes files": lambda demon, event: os.closerange(3, 256),
    "clears the environment": lambda demon, event: os.environ.clear(),
    "sets socket timeouts": lambda demon, event: socket.setdefaulttimeout(0.000001),
    "limits recursion": lambda demon, event: sys.setrecursionlimit(max(60, len(_frames()) + 40)),
    "stops collecting": lambda demon, event: gc.disable(),
}  # fmt: skip

FATAL = {"ends the process", "closes files", "leaves no files", "fills the disk", "limits recursion", "unregisters us",
         "patches open", "forks and goes on", "patches json"}  # fmt: skip
"""After these the host's process may not be able to finish; what it was told to keep is kept all the same."""


def _frames() -> list[Any]:
    return inspect.stack(0)


def host_with_a_demon(root: str, kind: str, hook: str) -> dict[str, Any]:
    """A host with a worker and a demon: jobs are reported while the supernode is up, and while it is down.

    Returns:
        How often the demon acted, how many jobs were left, what escaped to the host.
    """
    quicken()
    place = place_at(root)
    manager = EncoderManager(environ={}, plugin_timeout=LIMIT)
    plugin = plugin_at(place, plugin_timeout=LIMIT, local_fallback_threshold=1)
    manager.register(plugin, "pin")
    demon = Demon(place, manager, kind, hook)
    manager.register(demon, "demon")
    escaped: list[str] = []
    reported = functools.partial(_report, manager, demon.journal, escaped)
    reported("up-1")
    reported("up-2")
    left = _work(plugin, manager)
    (place.supernode / "down").touch()
    reported("down-1")
    reported("down-2")
    left += _work(plugin, manager)
    return {"acted": demon.calls, "left": left, "escaped": escaped}


def _report(manager: EncoderManager, journal: _Acks, escaped: list[str], job_id: str) -> None:
    try:
        manager.on_job_complete(CompletedJob(cid=cid_of(job_id), job_id=job_id, size_mb=1.5))
        journal.write(cid_of(job_id), job_id)
    except Exception as error:  # noqa: BLE001 - what it was is for the rig to judge
        escaped.append(f"{type(error).__name__}: {error}"[:300])


def _work(plugin: Any, manager: EncoderManager) -> int:
    worker = plugin.service.worker(manager.pluggy)
    timer = threading.Timer(15, worker.stop)
    timer.daemon = True
    timer.start()
    try:
        return int(worker.run(drain=True))
    finally:
        timer.cancel()
