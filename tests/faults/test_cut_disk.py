"""A disk that loses its power forgets what was not synced, and nothing else, whoever else has it mounted."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from pathlib import Path

import pytest

from tests.faults import cut_disk as module
from tests.faults.cut_disk import KINDS, CutDisk, cut_disk
from tests.faults.rig import Missing

pytestmark = pytest.mark.faults


def test_what_another_mount_namespace_holds_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not shutil.which("unshare"):
        pytest.skip("needs unshare")
    try:
        with cut_disk(KINDS["ext4"], tmp_path) as disk:
            _cut_while_held(disk, monkeypatch)
    except Missing as missing:
        pytest.skip(str(missing))


def _cut_while_held(disk: CutDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = disk.path / "synced"
    synced.write_text("a")
    os.sync()
    (disk.path / "not synced").write_text("b")
    with subprocess.Popen(["unshare", "--mount", "sh", "-c", "echo; exec sleep 600"], stdout=subprocess.PIPE) as holder:
        assert holder.stdout
        holder.stdout.readline()
        disk.cut()
        with monkeypatch.context() as impatient, pytest.raises(TimeoutError, match="another mount namespace holds"):
            impatient.setattr(module, "LET_GO", 0.0)
            disk.restore()
        threading.Timer(0.2, holder.kill).start()
        disk._wait_until_let_go()
    disk._mount()
    assert synced.read_text() == "a"
    assert not (disk.path / "not synced").exists()
