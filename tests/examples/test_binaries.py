"""Which node binary is taken, and that a build leaves a whole one or none. Scripts stand in for `ipfs` and `go`."""

import os
import sys
import threading
from pathlib import Path

import pytest

from examples.nodes.binaries import KUBO_VERSION, OLD_KUBO_VERSION, cache_folder, cluster_service_binary, kubo_binary
from examples.nodes.errors import NodeError


@pytest.fixture
def said() -> list[str]:
    """What a person is told meanwhile."""
    return []


@pytest.fixture(autouse=True)
def bin_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on PATH, with nothing but a Go that fails, so that no test really builds; an empty cache."""
    folder = tmp_path / "bin"
    fake_go(folder / "go", build="sys.exit('no build was expected')")
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("ENCODER_PIN_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("KUBO_BINARY", raising=False)
    return folder


def write_script(path: Path, body: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!{sys.executable}\nimport os, sys, time\n{body}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def fake_ipfs(path: Path, version: str = KUBO_VERSION) -> Path:
    return write_script(path, f"print('ipfs version {version}')")


def fake_go(path: Path, *, version: str = "1.26.8", build: str = "") -> Path:
    """A `go` that notes how it was called and then "builds" a fake ipfs, unless told to do something else."""
    notes = path.with_name("go-was-called")
    return write_script(
        path,
        f"""
if sys.argv[1] == "version":
    sys.exit(print("go version go{version} linux/amd64"))
with open({str(notes)!r}, "a") as notes:
    print(os.getcwd(), os.environ["GOFLAGS"], os.environ["GOTOOLCHAIN"], os.environ["CGO_ENABLED"], file=notes)
out = sys.argv[sys.argv.index("-o") + 1]
{build}
with open(out, "w") as binary:
    print("#!{sys.executable}\\nprint('ipfs version {KUBO_VERSION}')", file=binary)
os.chmod(out, 0o755)
""",
    )


def cached_ipfs(tmp_path: Path, version: str = KUBO_VERSION) -> Path:
    return tmp_path / "cache" / "bin" / f"kubo-{version}" / "ipfs"


def builds(bin_folder: Path) -> list[str]:
    notes = bin_folder / "go-was-called"
    return notes.read_text(encoding="utf-8").splitlines() if notes.exists() else []


def test_the_chosen_binary_is_taken_as_it_is(tmp_path: Path, bin_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """KUBO_BINARY comes before everything, whatever its version: somebody tries another Kubo."""
    chosen = fake_ipfs(tmp_path / "my-ipfs", "0.99.0")
    fake_ipfs(bin_folder / "ipfs")
    monkeypatch.setenv("KUBO_BINARY", str(chosen))
    assert kubo_binary() == chosen


def test_the_chosen_binary_is_not_the_older_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test on the older line really runs the older line."""
    monkeypatch.setenv("KUBO_BINARY", str(fake_ipfs(tmp_path / "my-ipfs")))
    old = fake_ipfs(cached_ipfs(tmp_path, OLD_KUBO_VERSION), OLD_KUBO_VERSION)
    assert kubo_binary(OLD_KUBO_VERSION) == old


def test_a_chosen_binary_that_is_none_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A typo does not silently run something else."""
    monkeypatch.setenv("KUBO_BINARY", str(tmp_path / "tpyo"))
    with pytest.raises(NodeError, match=r"KUBO_BINARY is .*tpyo"):
        kubo_binary()


def test_path_comes_before_the_cache(tmp_path: Path, bin_folder: Path) -> None:
    """What a person has installed is used if it is the right version."""
    fake_ipfs(cached_ipfs(tmp_path))
    installed = fake_ipfs(bin_folder / "ipfs")
    assert kubo_binary() == installed


@pytest.mark.parametrize("other", ["0.42.0", "10.43.0", "0.43.0-rc1"])
def test_another_version_on_path_is_skipped_with_a_word(
    tmp_path: Path, bin_folder: Path, said: list[str], other: str
) -> None:
    """The facts that tests rely on were seen on one version."""
    skipped = fake_ipfs(bin_folder / "ipfs", other)
    cached = fake_ipfs(cached_ipfs(tmp_path))
    assert kubo_binary(say=said.append) == cached
    assert said == [f"{skipped} is not version {KUBO_VERSION}: not used"]


def test_nothing_is_said_or_built_when_the_cache_has_it(tmp_path: Path, bin_folder: Path, said: list[str]) -> None:
    """The usual case is quiet."""
    cached = fake_ipfs(cached_ipfs(tmp_path))
    assert kubo_binary(say=said.append) == cached
    assert (said, builds(bin_folder)) == ([], [])


def test_a_build_is_pinned_and_put_in_place(tmp_path: Path, bin_folder: Path, said: list[str]) -> None:
    """Checksums are enforced, no other Go is downloaded, no C compiler needed; the person is told."""
    fake_go(bin_folder / "go")
    assert kubo_binary(say=said.append) == cached_ipfs(tmp_path)
    (call,) = builds(bin_folder)
    assert f"examples/nodes/kubo-{KUBO_VERSION} -mod=readonly" in call
    assert call.endswith(" local 0")
    assert f"building ipfs (kubo-{KUBO_VERSION})" in said[0]
    assert "built" in said[-1]
    kubo_binary(say=said.append)
    assert len(builds(bin_folder)) == 1


@pytest.mark.parametrize("damaged", ["", "#!/bin/sh\nexit 1\n", "\x7fELF half of it"])
def test_a_damaged_binary_is_built_anew(tmp_path: Path, bin_folder: Path, said: list[str], damaged: str) -> None:
    """An empty, broken or foreign file in the cache is no reason for a person to go looking for it."""
    cached = write_script(cached_ipfs(tmp_path), "")
    cached.write_text(damaged, encoding="utf-8")
    fake_go(bin_folder / "go")
    assert kubo_binary(say=said.append) == cached
    assert "building it anew" in said[0]
    assert len(builds(bin_folder)) == 1


def test_a_failed_build_shows_its_log_and_leaves_nothing(tmp_path: Path, bin_folder: Path, said: list[str]) -> None:
    """Half a binary never gets the name of a whole one, and the next call builds again."""
    fake_go(bin_folder / "go", build="open(out, 'w').write('half'); sys.exit('proxy says no')")
    with pytest.raises(NodeError, match=r"failed with exit code 1(.|\n)*proxy says no(.|\n)*try again"):
        kubo_binary(say=said.append)
    assert not cached_ipfs(tmp_path).exists()
    fake_go(bin_folder / "go")
    assert kubo_binary(say=said.append) == cached_ipfs(tmp_path)


def test_two_that_need_it_at_once_build_it_once(tmp_path: Path, bin_folder: Path, said: list[str]) -> None:
    """A demo and a test run that start together on a fresh machine."""
    fake_go(bin_folder / "go", build="time.sleep(0.5)")
    threads = [threading.Thread(target=kubo_binary, kwargs={"say": said.append}) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert cached_ipfs(tmp_path).exists()
    assert len(builds(bin_folder)) == 1


@pytest.mark.parametrize("on_path", ["1.21.13", "1.26.4", None])
def test_without_a_new_enough_go_the_packaged_one_builds(tmp_path: Path, bin_folder: Path, on_path: str | None) -> None:
    """Python and the package registries are enough; the packaged Go is installed here already."""
    said: list[str] = []
    (bin_folder / "go").unlink()
    if on_path:
        fake_go(bin_folder / "go", version=on_path)
    packaged = fake_go(tmp_path / "cache/go/toolchain/lib/python3.11/site-packages/go/bin/go")
    assert kubo_binary(say=said.append) == cached_ipfs(tmp_path)
    assert len(builds(packaged.parent)) == 1
    assert builds(bin_folder) == []


def test_a_version_without_a_pinned_build_is_refused(said: list[str]) -> None:
    """We build what has checksums here, and nothing else."""
    with pytest.raises(NodeError, match=r"no pinned build for ipfs in .*kubo-0\.1\.2"):
        kubo_binary("0.1.2", say=said.append)


def test_cluster_is_looked_for_like_kubo(tmp_path: Path, bin_folder: Path) -> None:
    """Without a variable of its own."""
    service = write_script(bin_folder / "ipfs-cluster-service", "print('ipfs-cluster-service version 1.1.6')")
    assert cluster_service_binary() == service


def test_where_the_cache_folder_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ours if set, else where every program's cache is."""
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("ENCODER_PIN_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "encoder-pin-plugin"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", os.fspath(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "encoder-pin-plugin"
