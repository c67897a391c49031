"""Where the text of a setting comes from: the caller, the environment, `.env.local`, `.env`, in this order.

Beside them stand thousands of names that are none of ours, the host's own included; those are left alone. A
name that is one slip away from one of ours is not: somebody believes to have set something.
"""

from __future__ import annotations

import io
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from encoder_pin_plugin.durable import read_regular

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

ENV_FILES = (".env.local", ".env")
_LARGEST = 65_536
_BLANKS = re.compile(r"[^\S\n]{100,}")  # dotenv's parser takes the square of their number in time
_SHORT = 12
_NAME = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_-]*)")


@dataclass(frozen=True)
class Found:
    """The text of a setting, and where it stood."""

    text: str
    origin: str


@dataclass(frozen=True)
class Origin:
    """One place that settings stand in.

    Args:
        title: what a person calls it.
        texts: names and texts in it.
        unread: names at the start of lines that cannot be read, and those lines' numbers.
    """

    title: str
    texts: Mapping[str, str]
    unread: Mapping[str, int] = field(default_factory=dict)


def all_origins(
    environ: Mapping[str, str] | None, folder: Path, options: Mapping[str, str]
) -> tuple[list[Origin], list[str]]:
    """Every place in its order of precedence, and a sentence for each file that cannot be used."""
    origins = [Origin("option", options), Origin("environment", _environ(environ))]
    faults = []
    for name in ENV_FILES:
        file = folder / name
        try:
            texts, unread = _parsed(_read(file).decode("utf-8-sig"))
            origins.append(Origin(str(file), texts, unread))
        except OSError as error:
            faults.append(f"{file} cannot be read ({error.strerror or error}): mend it or move it away")
        except UnicodeDecodeError as error:
            faults.append(f"{file} is not UTF-8 text (byte {error.start + 1}): save it as UTF-8")
    return origins, faults


def find(name: str, origins: Iterable[Origin]) -> Found | None:
    """The first text for `name`; None where it stands nowhere, or where the first one is empty."""
    for origin in origins:
        if name in origin.texts:
            text = origin.texts[name].strip()
            return Found(text, origin.title) if text else None
    return None


def find_leniently(name: str, environ: Mapping[str, str] | None, folder: Path) -> str | None:
    """The text for `name` as `find` gives it, whatever else is wrong: what cannot be read is passed over."""
    texts = _environ(environ)
    for file in ENV_FILES:
        if name in texts:
            break
        try:
            texts, _ = _parsed(_read(folder / file).decode("utf-8-sig", "surrogateescape"))
        except OSError:
            continue
    return texts.get(name, "").strip() or None


def near_misses(ours: Iterable[str], origins: Iterable[Origin]) -> Iterator[str]:
    """A sentence for every name that is probably meant to be one of `ours`, and for every line about one of
    them that cannot be read."""
    known = frozenset(ours)
    for origin in origins:
        for name in origin.texts:
            if name not in known and (meant := _meant(name, known)) is not None:
                yield f"{ascii(name)[1:-1]} ({origin.title}) is no setting: did you mean {meant}?"
        for name, line in origin.unread.items():
            if meant := _meant(name, known):
                yield f"{name} ({origin.title}, line {line}) cannot be read: write {meant}=value"


def _meant(name: str, known: frozenset[str]) -> str | None:
    """The setting that `name` is one slip away from. Short ones (DATA_DIR) are too common in the world to
    guess at: there only the case may differ."""
    upper = name.upper().replace("-", "_")
    if upper in known:
        return upper
    if len(upper) < _SHORT - 1:
        return None
    return next((other for other in sorted(known) if len(other) >= _SHORT and _one_slip(upper, other)), None)


def _one_slip(one: str, other: str) -> bool:
    """Whether one character was added, dropped or replaced, or two neighbours swapped."""
    if abs(len(one) - len(other)) > 1:
        return False
    pairs = enumerate(zip(one, other, strict=False))
    start = next((place for place, (a, b) in pairs if a != b), min(len(one), len(other)))
    left, right = one[start:], other[start:]
    swapped = left[:2] == right[1::-1] and left[2:] == right[2:]
    return swapped or left[1:] == right or left == right[1:] or left[1:] == right[1:]


def _environ(environ: Mapping[str, str] | None) -> Mapping[str, str]:
    return os.environ if environ is None else environ


def _read(file: Path) -> bytes:
    """The bytes of an `.env` file; none where there is no such file. A link to one is followed: deployments
    use them."""
    try:
        return read_regular(Path(os.path.realpath(file)), _LARGEST)
    except (FileNotFoundError, NotADirectoryError):
        return b""


def _parsed(text: str) -> tuple[dict[str, str], dict[str, int]]:
    """The names and texts of an `.env` file, and the lines of it that cannot be read.

    Not through `dotenv_values`: about a line that it cannot read it writes into the host's standard
    logging, and we would not know."""
    if not text:
        return {}, {}
    from dotenv.parser import parse_stream

    lines = list(parse_stream(io.StringIO(_BLANKS.sub(" " * 100, text))))
    unread = ((_NAME.match(line.original.string), line.original.line) for line in lines if line.error)
    texts = {line.key: line.value or "" for line in lines if line.key and not line.error}
    return texts, {name[1]: number for name, number in unread if name}
