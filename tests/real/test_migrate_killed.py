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
from tests.real.test_migrate import Encoder

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.faults]

CIDS = 500
KILLS = int(os.environ.get("MIGRATION_KILLS", "25"))


def test_killed_at_any_instant_everything_stays_pinned_somewhere(
    make_kubo: Callable[..., KuboDaemon], tmp_path: Path
) -> None:
    encoder = Encoder(tmp_path / "data", make_kubo(), make_kubo())
    cids = {encoder.video(number) for number in range(CIDS)}
    chance = random.Random(4)
    kills = 0
    with watched(encoder, cids) as seen:
        while kills < KILLS and encoder.waiting():
            running = encoder.start(
                "migrate", "--to", encoder.to, "--clean", "--concurrency", "3",
                "--transfer", chance.choice(["pull", "push"]),
            )  # fmt: skip
            time.sleep(chance.uniform(0.5, 2.0))
            kills += running.poll() is None
            running.kill()
            running.communicate()
        done = encoder.run("migrate", "--to", encoder.to, "--clean")
    assert done.returncode == 0, done.stdout + done.stderr
    assert kills >= min(KILLS, 5)
    assert seen.looks > 10
    assert cids <= encoder.target.pins()
    assert not cids & encoder.local.pins()
    lines = [line["hash"] for line in encoder.migrated()]
    assert sorted(lines) == sorted(cids), "each line moved once"
    assert encoder.archive.path.read_bytes() == b""
    assert {line["migration_proof"] for line in encoder.migrated()} == {"whole"}
    json.loads((encoder.data / "migration.holder.json").read_text())


class Seen:
    def __init__(self) -> None:
        self.looks = 0
        self.lost: set[str] = set()
        self.failed: BaseException | None = None


@contextmanager
def watched(encoder: Encoder, cids: set[str]) -> Iterator[Seen]:
    """Asks both nodes all the time. First ours: what is no longer there has to be on the target already."""
    seen, over = Seen(), threading.Event()

    def watch() -> None:
        try:
            while not over.is_set():
                here = encoder.local.pins()
                seen.lost |= cids - here - encoder.target.pins()
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
