"""What a migration would do, and how long that would take at the rate of the last one."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

from encoder_pin_plugin.operate.output import count, duration, megabytes, say, say_json

if TYPE_CHECKING:
    from pathlib import Path

    from encoder_pin_plugin.archive.carrying import Carrier
    from encoder_pin_plugin.archive.tally import Tally
    from encoder_pin_plugin.archive.waiting import Item
    from encoder_pin_plugin.operate.migrate_parts import Wanted

RATE_NAME = "migration-rate.json"


def dry_run(carrier: Carrier, items: list[Item], wanted: Wanted, data_dir: Path, *, left: int) -> int:
    """Say what would be pinned, how much that is, and how long it would take, and that `left` more wait; the exit
    code."""
    missing, unknown = _missing(carrier, items)
    mb = sum(item.size_mb or 0.0 for item in missing)
    there = len(items) - len(missing) - unknown
    rate = remembered_rate(data_dir, wanted.to)
    seconds = len(missing) / rate if rate else None
    if wanted.as_json:
        say_json({
            "target": wanted.to, "cids": len(items), "to_pin": len(missing), "to_pin_mb": round(mb, 3),
            "already_there": there, "unknown": unknown, "transfer": carrier.transfer.value, "seconds": seconds,
            "left_by_limit": left,
        })  # fmt: skip
        return 1 if unknown else 0
    how = "fetched by the target" if carrier.transfer.value == "pull" else "pushed from here"
    say(f"{count(len(items), 'CID waits', 'CIDs wait')}; {there:,} are on {wanted.to}")
    say(f"{count(len(missing), 'CID')} ({megabytes(mb)}) would be {how}; nothing was pinned, nothing deleted")
    if left:
        say(f"{count(left, 'CID')} more would be left out by --limit {wanted.limit}")
    if unknown:
        say(f"of {count(unknown, 'CID')} the target could not tell", colour="yellow")
    if seconds is None or rate is None:
        say("how long it takes is not known yet: migrate with --limit 20 to measure it")
    else:
        say(f"about {duration(seconds)}, at the {rate:.1f} a second of the last migration there")
    return 1 if unknown else 0


def _missing(carrier: Carrier, items: list[Item]) -> tuple[list[Item], int]:
    """What the target does not have, and of how many it cannot tell."""
    from encoder_pin_plugin.archive.migrate import listing
    from encoder_pin_plugin.nodes.base import Answer

    listed = listing(carrier.target, items)
    if listed is not None:
        return [item for item in items if item.cid not in listed], 0
    told = carrier.target.pinned([item.cid for item in items])
    unknown = sum(answer.answer is Answer.UNKNOWN for answer in told.values())
    return [item for item in items if told[item.cid].answer is Answer.NO], unknown


def remember_rate(data_dir: Path, to: str, tally: Tally) -> None:
    """Note how quick a migration was, for a later dry run. Raises StorageError."""
    from encoder_pin_plugin.durable import replace_file, storage_errors

    if tally.pinned:
        content = {"target": to, "cids_per_second": tally.pinned / max(tally.seconds, 1e-3)}
        with storage_errors("write", data_dir / RATE_NAME):
            replace_file(data_dir / RATE_NAME, json.dumps(content).encode("ascii"))


def remembered_rate(data_dir: Path, to: str) -> float | None:
    """CIDs a second of the last migration to this target, None where there was none."""
    from encoder_pin_plugin.durable import read_note

    found = read_note(data_dir / RATE_NAME)
    rate = found.get("cids_per_second")
    return rate if found.get("target") == to and isinstance(rate, float) and 0 < rate < math.inf else None
