"""A TCP proxy on loopback that holds every byte for a while: a server that is far away, on the same machine."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.synchronize import Event
from urllib.parse import urlsplit

from examples.nodes.ports import free_port

DELAY = 0.02
"""Seconds each way."""

_PIECE = 1 << 16


@contextmanager
def far_away(url: str) -> Iterator[str]:
    """The URL at which the server at `url` seems to be 20 ms away; in a process of its own."""
    port, context = free_port(), multiprocessing.get_context("spawn")
    ready = context.Event()
    process = context.Process(target=_serve, args=(port, urlsplit(url).port, ready), daemon=True)
    process.start()
    try:
        if not ready.wait(30):
            raise RuntimeError("the proxy does not start")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.join()


def _serve(port: int, target: int, ready: Event) -> None:
    async def main() -> None:
        async with await asyncio.start_server(lambda *ends: _relay(target, *ends), "127.0.0.1", port) as server:
            ready.set()
            await server.serve_forever()

    asyncio.run(main())


async def _relay(target: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    there = await asyncio.open_connection("127.0.0.1", target)
    with suppress(ConnectionError):
        await asyncio.gather(_hold(reader, there[1]), _hold(there[0], writer))


async def _hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on what comes, each piece when its time has come; many may be on their way."""
    under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(maxsize=1024)
    delivering = asyncio.create_task(_deliver(under_way, writer))
    piece = b"."
    while piece:
        with suppress(ConnectionError):
            piece = await reader.read(_PIECE)
        await under_way.put((asyncio.get_running_loop().time() + DELAY, piece))
    await delivering


async def _deliver(under_way: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while (due := await under_way.get())[1]:
            await asyncio.sleep(due[0] - asyncio.get_running_loop().time())
            writer.write(due[1])
            await writer.drain()
    writer.close()
