"""`python -m examples.nodes`: get the node binaries, or run a node or two by hand and play with them."""

import signal
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

import click

from examples.nodes.binaries import (
    KUBO_VERSION,
    OLD_KUBO_VERSION,
    cache_folder,
    cluster_ctl_binary,
    cluster_service_binary,
    kubo_binary,
    tell,
)
from examples.nodes.errors import NodeError
from examples.nodes.kubo import KuboDaemon

_GETTERS: dict[str, tuple[Callable[[], Path], ...]] = {
    "kubo": (kubo_binary,),
    "old-kubo": (lambda: kubo_binary(OLD_KUBO_VERSION),),
    "cluster": (cluster_service_binary, cluster_ctl_binary),
}


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Real IPFS nodes for the demo and the tests, on loopback."""


@main.command()
@click.argument("names", nargs=-1, type=click.Choice(list(_GETTERS)))
def get(names: tuple[str, ...]) -> None:
    """Find or build the binaries of NAMES, by default of all.

    The demo needs kubo alone: python -m examples.nodes get kubo
    """
    for name in names or _GETTERS:
        for getter in _GETTERS[name]:
            click.echo(f"{name}: {getter()}")
    sources = cache_folder() / "go"
    if sources.exists():
        tell(f"Sources and intermediate results of the builds are in {sources}; nothing needs them any more.")


@main.command()
@click.option("--folder", type=click.Path(path_type=Path, file_okay=False), required=True, help="Where they live.")
@click.option("--nodes", type=click.IntRange(1, 2), default=2, show_default=True, help="How many, connected.")
@click.option("--version", default=KUBO_VERSION, show_default=True, help=f"Of Kubo; {OLD_KUBO_VERSION} is the other.")
def run(folder: Path, nodes: int, version: str) -> None:
    """Run one or two Kubo nodes in the foreground until Ctrl-C. What they hold stays in the folder.

    python -m examples.nodes run --folder /tmp/nodes
    """
    with ExitStack() as running:
        names = ("local", "supernode")[:nodes]
        daemons = [running.enter_context(KuboDaemon(folder / name, version=version)) for name in names]
        for name, daemon in zip(names, daemons, strict=True):
            click.echo(f"{name}: {daemon.api_multiaddr}   {daemon.api_url}   gateway {daemon.gateway_url}")
            click.echo(f"  IPFS_PATH={daemon.repo} {daemon.binary}")
        if nodes > 1:
            daemons[0].connect(daemons[1])
        click.echo("Ctrl-C ends them.")
        _wait_for_the_end()


def _wait_for_the_end() -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # `kill` ends the nodes in order, as Ctrl-C does
    with suppress(KeyboardInterrupt):
        threading.Event().wait()


def _main() -> None:
    try:
        main(prog_name="python -m examples.nodes")
    except NodeError as error:
        raise SystemExit(f"error: {error}") from error


if __name__ == "__main__":
    _main()
