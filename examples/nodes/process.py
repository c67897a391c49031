"""A node as an operating system process that can be stopped, killed, frozen and thawed, and that never
outlives us.

A test run that is killed must not leave daemons behind. Linux can do that: PR_SET_PDEATHSIG has the kernel
kill a child when its parent dies. Two traps come with it, and both are dealt with here.

- It must be set in the child, between fork and exec. Python's `preexec_fn` can deadlock in a program with
  threads, so the child is first a tiny Python program that sets it and then becomes the daemon by exec
  (same pid).
- "The parent" is the *thread* that forked. A daemon started from a worker thread, or from a pytest-timeout
  thread, would die when that thread ends. So one thread of our own starts every daemon, and lives as long
  as the process does.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from examples.nodes.errors import NodeError, PortTakenError, log_tail

# The parent may have died before prctl took effect: then nobody is left to leave us, and we go at once.
_LEASH = """
import ctypes, os, signal, sys
prctl = getattr(ctypes.CDLL(None), "prctl", None)
if prctl:
    prctl(1, signal.SIGKILL)
if os.getppid() != int(sys.argv[1]):
    sys.exit("the program that started this node is gone")
os.execv(sys.argv[2], sys.argv[2:])
"""


class NodeProcess:
    """One run of a node binary; signals go to exactly this process, while it is ours to wait for."""

    def __init__(self, command: Sequence[str], *, env: Mapping[str, str], log: Path) -> None:
        self.log_path = log
        self._log_start = log.stat().st_size if log.exists() else 0
        self._frozen = False
        self._child = _starter().submit(_spawn, list(command), dict(env), log).result()

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def running(self) -> bool:
        return self._child.poll() is None

    @property
    def frozen(self) -> bool:
        return self._frozen

    @property
    def exit_code(self) -> int | None:
        return self._child.poll()

    def stop(self, patience: float = 20) -> None:
        """Ask it to end, as a service manager would, and insist when it does not. Thaws it first."""
        self.thaw()
        for sign, seconds in ((signal.SIGTERM, patience), (signal.SIGKILL, 60.0)):
            self._signal(sign)
            if self._ended_within(seconds):
                return
        raise NodeError(f"process {self.pid} does not end even when killed; its log is {self.log_path}")

    def kill(self) -> None:
        """End it as a power cut would: no clean-up of its own."""
        self._signal(signal.SIGKILL)
        self._child.wait()

    def freeze(self) -> None:
        """Stop it in its tracks: the port stays open and accepts, but nothing answers."""
        self._signal(signal.SIGSTOP)
        # The signal takes effect thread by thread: come back when the last one has stopped, not before.
        os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        self._frozen = True

    def thaw(self) -> None:
        if self._frozen:
            self._signal(signal.SIGCONT)
            self._frozen = False

    def output(self) -> str:
        """What this run has written so far; its log also has the earlier ones."""
        return self.log_path.read_bytes()[self._log_start :].decode(errors="replace")

    def _signal(self, sign: signal.Signals) -> None:
        # Popen sends nothing to a child that was already waited for, so a reused pid is never hit.
        self._child.send_signal(sign)

    def _ended_within(self, seconds: float) -> bool:
        try:
            self._child.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True


def wait_until_ready(process: NodeProcess, probe: Callable[[], bool], *, what: str, patience: float) -> None:
    """Poll `probe` until it says yes; a node that ends or never gets ready is an error with its log."""
    deadline = time.monotonic() + patience
    while not probe():
        if not process.running:
            raise _failure(process, f"{what} ended with exit code {process.exit_code} while starting")
        if time.monotonic() > deadline:
            raise _failure(process, f"{what} is not ready after {patience:.0f} s")
        time.sleep(0.05)


def clean_environment(**own: str) -> dict[str, str]:
    """The environment of a node: ours, less what would steer it or send it through a proxy."""
    steering = (
        "IPFS_",
        "CLUSTER_",
        "GOLOG_",
        "LIBP2P_",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "NO_PROXY",
    )
    inherited = {name: value for name, value in os.environ.items() if not name.upper().startswith(steering)}
    return inherited | own


_thread: dict[int, ThreadPoolExecutor] = {}  # by the pid of the process it lives in: a forked child needs its own


def _starter() -> ThreadPoolExecutor:
    return _thread.setdefault(os.getpid(), ThreadPoolExecutor(max_workers=1, thread_name_prefix="node-starter"))


def _spawn(command: list[str], env: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    leash = [sys.executable, "-I", "-S", "-c", _LEASH, str(os.getpid()), *command]
    with log.open("ab") as output:
        return subprocess.Popen(
            leash,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for us; we then end the nodes in order
        )


def _failure(process: NodeProcess, happened: str) -> NodeError:
    output = process.output()
    kind = PortTakenError if "address already in use" in output and not process.running else NodeError
    return kind(f"{happened}; the end of its log, {process.log_path}:\n{log_tail(output)}")
