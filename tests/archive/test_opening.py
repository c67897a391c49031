"""Opening what should be a plain file of ours: what is refused is closed again, and named."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from encoder_pin_plugin.archive.files import identity, names, open_to_append, open_to_read
from encoder_pin_plugin.errors import ArchiveError, StorageError

pytestmark = pytest.mark.usefixtures("open_files")
BOTH = pytest.mark.parametrize("opened", [open_to_append, open_to_read])


def test_what_is_opened_to_append_can_be_read_back_and_is_private(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    descriptor = open_to_append(tmp_path / "a")
    os.write(descriptor, b"2")
    assert os.pread(descriptor, 9, 0) == b"12"
    os.close(descriptor)
    os.close(open_to_append(tmp_path / "b"))
    assert stat.S_IMODE((tmp_path / "b").stat().st_mode) == 0o600


def test_what_is_not_there_is_not_opened_to_read(tmp_path: Path) -> None:
    assert open_to_read(tmp_path / "a") is None
    assert open_to_read(tmp_path / "no" / "a") is None
    with pytest.raises(StorageError, match=f"^cannot open {tmp_path}/no/a: "):
        open_to_append(tmp_path / "no" / "a")


@BOTH
@pytest.mark.timeout(20)
def test_a_pipe_and_a_device_are_refused_and_not_waited_for(tmp_path: Path, opened: Callable[[Path], int]) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/null")):
        with pytest.raises(ArchiveError, match=f"^{path} is no regular file: move away"):
            opened(path)


@BOTH
def test_a_link_of_ours_is_not_followed_and_the_refusal_names_it(tmp_path: Path, opened: Callable[[Path], int]) -> None:
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    with pytest.raises(StorageError, match=f"^cannot open {tmp_path}/link: .*symbolic link"):
        opened(tmp_path / "link")


def test_a_link_that_a_person_names_is_followed(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    descriptor = open_to_read(tmp_path / "link", follow=True)
    assert descriptor is not None
    assert os.pread(descriptor, 9, 0) == b"1"
    assert not os.get_inheritable(descriptor)
    assert identity(descriptor) == ((tmp_path / "a").stat().st_dev, (tmp_path / "a").stat().st_ino)
    os.close(descriptor)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(StorageError, match=f"^cannot open {tmp_path}/loop: "):
        open_to_read(tmp_path / "loop", follow=True)


def test_a_file_of_another_user_is_not_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(b"1")
    owner = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: owner + 4321)
    with pytest.raises(
        ArchiveError,
        match=f"^{tmp_path}/a belongs to user {owner}, and we are user {owner + 4321}: give it to the .* \\(chown\\)$",
    ):
        open_to_append(tmp_path / "a")
    descriptor = open_to_read(tmp_path / "a")
    assert descriptor is not None
    os.close(descriptor)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    os.close(open_to_append(tmp_path / "a"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_root_gives_what_it_makes_to_the_owner_of_the_folder_and_takes_nothing(tmp_path: Path) -> None:
    os.chown(tmp_path, 1234, 5678)
    (tmp_path / "empty").touch()
    (tmp_path / "roots").write_bytes(b"1")
    (tmp_path / "theirs").write_bytes(b"1")
    os.chown(tmp_path / "theirs", 4321, 4321)
    for name, owner in (("new", 1234), ("empty", 1234), ("roots", 0), ("theirs", 4321)):
        os.close(open_to_append(tmp_path / name))
        assert (tmp_path / name).stat().st_uid == owner


def test_a_name_is_told_from_another_file_of_that_name(tmp_path: Path) -> None:
    descriptor = open_to_append(tmp_path / "a")
    assert names(tmp_path / "a", descriptor)
    (tmp_path / "a").rename(tmp_path / "b")
    assert not names(tmp_path / "a", descriptor)
    assert names(tmp_path / "b", descriptor)
    (tmp_path / "a").touch()
    assert not names(tmp_path / "a", descriptor)
    os.close(descriptor)
