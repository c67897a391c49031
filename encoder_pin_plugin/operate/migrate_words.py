"""Why something was not migrated, and what to do about it: each CID where there are few, by reason where many."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from encoder_pin_plugin.operate.output import count, one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from encoder_pin_plugin.archive.tally import Tally, Trouble
    from encoder_pin_plugin.operate.migrate_parts import Wanted

MANY = 10
"""Troubles of one reason from which they are shown as a group."""

BAD_LINE = "bad line"
"""The reason of what is no CID's but a line's."""

ADVICE = {
    "refused": "start the target, or correct its address; then run this again",
    "timeout": "the target is slow or overloaded: run this again later, perhaps with a lower --concurrency",
    "stalled": "the target gets no blocks: is the encoder's own node running, and can they reach each other? Otherwise"
    " say --transfer push",
    "cut": "the connection broke: run this again",
    "node_error": "look at the target's log; run this again",
    "node_full": "the target's disk or quota is full: make room there, then run this again",
    "bad_reply": "what answers is no such node, or a proxy stands before it: correct the address after --to",
    "unproved": "the target said yes and did not do it: look at its log; nothing here was deleted",
    "not_allowed": "correct the credentials (MIGRATE_AUTH, --auth-file), or allow these calls on the target",
    "content_missing": "no node that we reach has all of it: look for a copy on the encoder that had it last",
    "held": "proved to be pinned, but not to be whole, so nothing is deleted: allow dag/stat on the target, or name it"
    " in PINNED_IS_ENOUGH",
    "busy": "another process works on it: run this again",
    BAD_LINE: "look with encoder-pin archive check; then encoder-pin archive repair sets aside what is no line",
}


def troubles_in_words(tally: Tally, files: Sequence[Path] = ()) -> list[str]:
    """Each trouble with what to do, those of one reason together where they are many. `files` as for `advice`."""
    groups: dict[str, list[Trouble]] = {}
    for trouble in tally.troubles.values():
        groups.setdefault(trouble.reason, []).append(trouble)
    return [line for reason, group in groups.items() for line in _group(reason, group, files)]


def left_in_words(left: int, wanted: Wanted) -> str:
    """How many more wait than --limit lets through, and what takes them; without --clean the same ones come first."""
    if wanted.clean:
        how = "run this again to go on"
    elif wanted.files:
        how = "run this again without it to go on"
    else:
        how = "run this again with --clean, or without --limit, to go on"
    return f"{count(left, 'CID still waits', 'CIDs still wait')}, left out by --limit {wanted.limit}: {how}"


def advice(reason: str, files: Sequence[Path] = ()) -> str:
    """What to do about a reason.

    Args:
        files: where lines collected from elsewhere stand.
    """
    if reason == BAD_LINE and files:
        file = shlex.quote(str(files[0])) if len(files) == 1 else "FILE"
        there = "encoder-pin archive repair on the encoder that it came from sets aside what is no line"
        return f"look with encoder-pin archive check {file}; {there}"
    return ADVICE.get(reason, "run this again; if it stays so, look at the logs of both nodes")


def _group(reason: str, group: list[Trouble], files: Sequence[Path]) -> Iterator[str]:
    todo, what = advice(reason, files), "line" if reason == BAD_LINE else "CID"
    yield f"{reason}: {count(len(group), what)}. {todo[0].upper()}{todo[1:]}."
    shown = group if len(group) <= MANY else group[:3]
    for trouble in shown:
        last = f" (last on {trouble.node_id})" if trouble.node_id else ""
        yield f"  {trouble.cid}{last}: {one_line(trouble.detail)}"
    if len(group) > len(shown):
        yield f"  … and {len(group) - len(shown):,} more; --json names them all"
