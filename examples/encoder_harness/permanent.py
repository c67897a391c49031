"""The demo's last act: the archive moves to permanent infrastructure, and only what is proved there is deleted here."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from examples.encoder_harness.ipfs import blocks
from examples.nodes import KuboDaemon, kubo_binary

if TYPE_CHECKING:
    from examples.encoder_harness.story import Stage


def permanent_server(stage: Stage) -> None:
    """Later: the permanent server is there, and the archive moves to it."""
    tell, place, cid = stage.tell, stage.place, stage.saved.job.cid
    server = stage.curtain.enter_context(KuboDaemon(stage.folder / "nodes" / "permanent", kubo_binary(say=tell.say)))
    to = f"kubo+{server.api_url}"
    tell.say(f"a third Kubo, which has nothing of ours, answers at {server.api_url}")
    tell.check("it does not have the video", cid not in server.pins() and blocks(server, cid) == 0)
    tell.run(f"encoder-pin migrate --to {to} --dry-run", folder=stage.folder)
    tell.run(f"encoder-pin migrate --to {to} --clean", folder=stage.folder)
    tell.check("the permanent server pins it", cid in server.pins())
    there, here = blocks(server, cid), blocks(place.local, cid)
    tell.check(f"and has all {here} blocks of it, as counted by both", there == here > 0, otherwise=f"{there} blocks")
    tell.check("the local pin is released: its disk space can be reclaimed", cid not in place.local.pins())
    count = tell.run("wc -l data/local-fallback-pins.jsonl", folder=stage.folder)
    tell.check("nothing waits in the archive", count.split()[0] == "0", otherwise=count)
    line = tell.run("cat data/migrated-pins.jsonl", folder=stage.folder)
    found = json.loads(line)
    tell.check("the line is among the migrated, with all that was known", found["job_id"] == stage.saved.job.job_id)
    audit = (found["hash"], found["migrated_to"], found["migration_proof"])
    tell.check("and says where the video is now, and how that was proved", audit == (cid, to, "whole"), otherwise=audit)
