"""What a Kubo daemon and a Cluster peer have in common: a folder, ports that stay, a life to meddle with."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from examples.nodes.errors import NodeError, PortTakenError
from examples.nodes.process import NodeProcess, wait_until_ready

_PATIENCE = 90.0  # a node is up within a second; on a machine that is busy building, within many
_TRIES = 5


class LocalNode(ABC):
    """One node on loopback. It may be stopped, killed and started again; its addresses stay the same."""

    kind: str

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.log_path = self.folder / "node.log"
        self._process: NodeProcess | None = None
        self._ports_proved = False
        self._take_ports()

    def start(self) -> Self:
        """Start it and return once it answers. Ports change only while it has never run on them."""
        if self.running:
            return self
        self.folder.mkdir(parents=True, exist_ok=True)
        for remaining in reversed(range(1 if self._ports_proved else _TRIES)):
            try:
                self._start_once()
                break
            except PortTakenError:
                if not remaining:
                    raise
                self._take_ports()
        self._ports_proved = True
        return self

    def stop(self) -> None:
        """End it cleanly; nothing happens if it does not run."""
        self._end(NodeProcess.stop)

    def kill(self) -> None:
        """End it as a power cut would."""
        self._end(NodeProcess.kill)

    def restart(self) -> Self:
        self.stop()
        return self.start()

    def freeze(self) -> None:
        """From now on connections are accepted and nothing answers, until `thaw`."""
        self._running_process().freeze()

    def thaw(self) -> None:
        self._running_process().thaw()

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.running

    @property
    def frozen(self) -> bool:
        return self._process is not None and self._process.frozen

    @property
    def pid(self) -> int:
        return self._running_process().pid

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @abstractmethod
    def _take_ports(self) -> None:
        """Choose ports: at first, and again when one turns out to be taken."""

    @abstractmethod
    def _prepare(self) -> None:
        """Make what it needs on the disk, with the chosen ports in its configuration."""

    @abstractmethod
    def _spawn(self) -> NodeProcess:
        """Start its process."""

    @abstractmethod
    def _is_ready(self) -> bool:
        """Whether it, and no other on its port, answers."""

    def _start_once(self) -> None:
        self._prepare()
        self._process = self._spawn()
        try:
            what = f"{self.kind} in {self.folder}"
            wait_until_ready(self._process, self._is_ready, what=what, patience=_PATIENCE)
        except BaseException:
            self.kill()
            raise

    def _running_process(self) -> NodeProcess:
        if self._process is None or not self._process.running:
            raise NodeError(f"{self.kind} in {self.folder} is not running; its log is {self.log_path}")
        return self._process

    def _end(self, how: Callable[[NodeProcess], None]) -> None:
        if self._process is not None:
            how(self._process)
            self._process = None
