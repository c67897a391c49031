"""What a check or a repair of an archive found, in words, and what to do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from encoder_pin_plugin.operate.output import count, one_line, say

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from encoder_pin_plugin.archive.checking import Checked, Pair
    from encoder_pin_plugin.archive.jsonl import Repaired
    from encoder_pin_plugin.archive.record import ArchiveRecord
    from encoder_pin_plugin.archive.stranded import Stranded


def show_checked(found: Checked) -> None:
    """What is found in a file: what a repair would put right, what a person has to, and what is only worth a note."""
    what = f"{found.path}: {count(found.lines, 'line')}, "
    if found.good:
        odd = f"; {count(found.odd, 'line')} with something unusual in it, read all the same" if found.odd else ""
        say(f"{what}in order{odd}")
    else:
        say(f"{what}{found.invalid} bad, {found.doubles} doubled")
        _show_faults(found)
    if found.variants:
        _show_variants(found)


def _show_faults(found: Checked) -> None:
    for number, fault in found.faults:
        say(f"  line {number}: {one_line(fault)}")
    if found.invalid > len(found.faults):
        say(f"  … and {found.invalid - len(found.faults):,} more bad lines")
    if found.doubles:
        say(f"  doubled: {_pairs(found.double_lines, found.doubles, 'the same as')}")
    if found.torn:
        say(f"  {count(found.torn, 'byte')} after the last newline: torn; the next append, or a repair, heals it")
    for warning in found.warnings:
        say(f"  {warning}")


def _show_variants(found: Checked) -> None:
    from encoder_pin_plugin.archive.files import MIGRATED_NAME

    pairs = _pairs(found.variant_lines, found.variants, "after")
    if found.path.name == MIGRATED_NAME:
        meaning = "the last line of each counts"
    else:
        meaning = "a migration takes them as one, totals count each line"
    number = count(found.variants, "line")
    say(f"  note: {number} of a CID and job that stood before ({pairs}): {meaning}; nothing to do")


def _pairs(pairs: tuple[Pair, ...], number: int, how: str) -> str:
    more = f" … and {number - len(pairs):,} more" if number > len(pairs) else ""
    return ", ".join(f"line {later} {how} line {first}" for later, first in pairs) + more


def show_plan(found: Checked) -> None:
    """What a repair would do to a file."""
    show_checked(found)
    if not found.repairable:
        say("a repair would change nothing in it")
        return
    parts = {
        f"set aside {count(found.invalid, 'bad line')}": found.invalid,
        f"drop {count(found.doubles, 'doubled line')}": found.doubles,
        f"heal its torn end of {count(found.torn, 'byte')}": found.torn,
    }
    say(f"a repair would {', '.join(words for words, number in parts.items() if number)}")


def show_repaired(path: Path, done: Repaired) -> None:
    """What a repair did to a file."""
    aside = f", set {count(done.quarantined, 'bad line')} aside in {done.quarantine_file}" if done.quarantined else ""
    doubles = f", dropped {count(done.doubles, 'doubled line')}" if done.doubles else ""
    say(f"{path}: kept {count(done.kept, 'line')}{aside}{doubles}")
    if done.healed is not None:
        say(f"torn end of {count(done.healed.size, 'byte')}: {done.healed.what}")


def name_stranded(found: Iterable[Stranded], restored: Iterable[ArchiveRecord], what: str) -> bool:
    """Name the CIDs of bad lines that no other line has; whether there are any.

    Args:
        found: as `stranded` finds them.
        restored: lines that were written again since, or would be.
        what: became of those bad lines, as in "was set aside".
    """
    from encoder_pin_plugin.archive.stranded import NAMED

    again = {record.hash for record in restored}
    left = [(cid, job_id) for cid, job_id in found if cid not in again]
    if not left:
        return False
    stand, them = ("CID stands", "it") if len(left) == 1 else ("CIDs stand", "them")
    say(f"{len(left):,} {stand} in what {what} and in no other line, so nothing would migrate {them}:", bold=True)
    for cid, job_id in left[:NAMED]:
        say(f"  {cid} of {f'job {one_line(job_id, 80)}' if job_id else 'a job that cannot be made out'}")
    if len(left) > NAMED:
        say(f"  … and {len(left) - NAMED:,} more")
    return True


def say_how_to_take_over(aside: Iterable[Path]) -> None:
    """How to have the CIDs pinned that stand in nothing but the files `aside`."""
    import shlex

    from encoder_pin_plugin.archive.files import ARCHIVE_NAME

    files = " ".join(shlex.quote(str(path)) for path in aside)
    say("encoder-pin archive repair --from-ledger writes again what the ledger knows; the rest is submitted anew with")
    say(f"  mkdir set-aside && cat {files} > set-aside/{ARCHIVE_NAME}")
    say("  encoder-pin import set-aside --apply")


def what_to_do(found: list[Checked], *, elsewhere: bool) -> str:
    """How to put right what a repair can, empty where it can do nothing.

    Args:
        elsewhere: whether the file is none of this data folder's.
    """
    if not any(it.repairable for it in found):
        return ""
    if elsewhere:
        return (
            "a migration takes the good lines all the same; to mend it, run encoder-pin archive repair on the encoder"
            " that it came from, and collect it again"
        )
    return "encoder-pin archive repair sets bad lines aside and drops doubled ones; nothing is destroyed"
