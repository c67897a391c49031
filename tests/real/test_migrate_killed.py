"""kill -9 in the middle of a migration, again and again, watched from outside: no CID is ever pinned nowhere."""

from __future__ import annotations

import json
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from examples.nodes import KuboDaemon
from tests.real.migrating import Encoder

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.faults]

CIDS = 500
MORE = 100
"""How many come when all are migrated before the last kill."""

KILLS = int(os.environ.get("MIGRATION_KILLS", "25"))


def test_killed_at_any_instant_everything_stays_pinned_somewhere(
    make_kubo: Callable[..., KuboDaemon], tmp_path: Path
) -> None:
    encoder = Encoder(tmp_path / "data", make_kubo(), make_kubo())
    cids = [encoder.video(number) for number in range(CIDS)]
    chance = random.Random(4)
    with watched(encoder, cids) as seen:
        killed(encoder, cids, chance)
        done = encoder.run("migrate", "--to", encoder.to, "--clean")
    assert done.returncode == 0, done.stdout + done.stderr
    assert seen.looks > 10
    assert set(cids) <= encoder.target.pins()
    assert not set(cids) & encoder.local.pins()
    lines = [line["hash"] for line in encoder.migrated()]
    assert sorted(lines) == sorted(cids), "each line moved once"
    assert encoder.archive.path.read_bytes() == b""
    assert {line["migration_proof"] for line in encoder.migrated()} == {"whole"}
    json.loads((encoder.data / "migration.holder.json").read_text())


def killed(encoder: Encoder, cids: list[str], chance: random.Random) -> None:
    """Kill migrations until `KILLS` were killed at work; one that was too quick for that shortens the wait."""
    kills, longest = 0, 2.0
    while kills < KILLS:
        running = encoder.start(
            "migrate", "--to", encoder.to, "--clean", "--concurrency", "3",
            "--transfer", chance.choice(["pull", "push"]),
        )  # fmt: skip
        time.sleep(chance.uniform(longest / 4, longest))
        alive = running.poll() is None
        running.kill()
        running.communicate()
        kills += alive
        if not alive:
            longest *= 0.9
        if not encoder.waiting():
            cids += [encoder.video(number) for number in range(len(cids), len(cids) + MORE)]


class Seen:
    def __init__(self) -> None:
        self.looks = 0
        self.lost: set[str] = set()
        self.failed: BaseException | None = None


@contextmanager
def watched(encoder: Encoder, cids: list[str]) -> Iterator[Seen]:
    """Asks both nodes all the time. First ours: what is no longer there has to be on the target already."""
    seen, over = Seen(), threading.Event()

    def watch() -> None:
        try:
            while not over.is_set():
                pinned_before = set(cids)
                here = encoder.local.pins()
                seen.lost |= pinned_before - here - encoder.target.pins()
                seen.looks += 1
        except BaseException as error:  # noqa: BLE001 - raised again in the test's own thread
            seen.failed = error

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()
    if seen.failed:
        raise seen.failed
    assert seen.lost == set(), "pinned nowhere"
