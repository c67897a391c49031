"""The index finds every key, however many there are and whatever happens to the file; it never believes itself."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encoder_pin_plugin.archive import index as index_module
from encoder_pin_plugin.archive.index import KeyIndex, common
from tests.archive.lines import record

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def short_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_module, "_RUN", 16)


@pytest.mark.usefixtures("short_runs")
def test_every_key_is_found_over_many_runs(tmp_path: Path) -> None:
    path, index = tmp_path / "file", KeyIndex()
    with path.open("w+b", buffering=0) as file:
        for start in range(0, 400, 40):
            file.write(b"".join(record(number).line() for number in range(start, start + 37)))
            assert index.find(file.fileno(), record(start + 36).key) == record(start + 36)
            for number in range(start + 37, start + 40):
                assert index.find(file.fileno(), record(number).key) is None
                file.write(record(number).line())
                assert index.find(file.fileno(), record(number).key) == record(number)
        keys = [record(number).key for number in range(400)]
        assert list(index.find_all(file.fileno(), keys)) == keys
        assert len(index.find_all(file.fileno(), [record(number).key for number in range(400, 800)])) == 0


def test_keys_whose_hashes_are_the_same_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_module, "_TAG_MASK", 3)
    path = tmp_path / "file"
    path.write_bytes(b"".join(record(number).line() for number in range(100)))
    with path.open("rb") as file:
        index = KeyIndex()
        assert all(index.find(file.fileno(), record(number).key) == record(number) for number in range(100))
        assert index.find(file.fileno(), record(100).key) is None
        assert list(index.doubles(file.fileno())) == []


def test_doubles_name_their_first_line(tmp_path: Path) -> None:
    path, length = tmp_path / "file", len(record(0).line())
    path.write_bytes(record(1).line() + record(2).line() + record(1).line() + record(1).line())
    with path.open("rb") as file:
        assert sorted(KeyIndex().doubles(file.fileno())) == [(0, 2 * length), (0, 3 * length)]


def test_what_two_files_share_is_found(tmp_path: Path) -> None:
    for name, numbers in (("a", range(10, 60)), ("b", range(50, 99))):
        (tmp_path / name).write_bytes(b"".join(record(number).line() for number in numbers))
    with (tmp_path / "a").open("rb") as a, (tmp_path / "b").open("rb") as b:
        offsets = list(common(KeyIndex().entries(a.fileno()), KeyIndex().entries(b.fileno())))
    length = len(record(10).line())
    assert {number * length for number in range(40, 50)} <= set(offsets)
    assert len(offsets) < 15


def test_an_offset_may_be_beyond_four_gigabytes(tmp_path: Path) -> None:
    path, index = tmp_path / "file", KeyIndex()
    with path.open("w+b", buffering=0) as file:
        file.truncate(5 << 30)
        file.seek(0, os.SEEK_END)
        file.write(b"\n" + record(1).line())
        index._file, index._end = index_module.identity(file.fileno()), 5 << 30
        assert index.find(file.fileno(), record(1).key) == record(1)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("append"), st.integers(0, 30)),
            st.tuples(st.just("cut"), st.integers(0, 3000)),
            st.tuples(st.just("rewrite"), st.integers(0, 30)),
            st.tuples(st.just("foreign"), st.binary(max_size=40)),
        ),
        max_size=30,
    )
)
def test_it_says_what_a_fresh_look_says(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, object]]
) -> None:
    path, index = tmp_path_factory.mktemp("index") / "file", KeyIndex()
    path.touch()
    for what, value in steps:
        match what, value:
            case "append", int(number):
                with path.open("ab") as file:
                    file.write(record(number).line())
            case "cut", int(size):
                os.truncate(path, min(size, path.stat().st_size))
            case "rewrite", int(number):
                path.write_bytes(record(number).line() * 3)
            case "foreign", bytes(noise):
                with path.open("ab") as file:
                    file.write(noise)
        with path.open("rb") as file:
            keys = [record(number).key for number in range(31)]
            assert index.find_all(file.fileno(), keys) == KeyIndex().find_all(file.fileno(), keys)
