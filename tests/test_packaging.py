"""What a site installs: the wheel, built from this checkout and put into a fresh environment outside of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel. Built without a network where the builder is installed, as `make` does."""
    folder = tmp_path_factory.mktemp("wheel")
    offline = ["--no-build-isolation", "--no-index"] if find_spec("hatchling") else []
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", *offline, "--wheel-dir", str(folder), str(ROOT))
    return next(folder.glob("encoder_pin_plugin-*.whl"))


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with the wheel; its dependencies are borrowed from ours."""
    folder = tmp_path_factory.mktemp("site")
    venv.create(folder / "venv", with_pip=False, symlinks=True)
    python = folder / "venv" / "bin" / "python"
    target = Path(run(str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    run(
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(python),
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        str(wheel),
    )
    borrow_packages(target)
    return python


def borrow_packages(target: Path) -> None:
    """Let an environment see our packages, but neither this checkout nor its editable install."""
    ours = Path(sysconfig.get_path("purelib"))
    for package in ours.iterdir():
        if (
            "encoder_pin_plugin" not in package.name
            and package.suffix != ".pth"
            and not (target / package.name).exists()
        ):
            (target / package.name).symlink_to(package)


def run(*command: str, cwd: Path | None = None) -> str:
    environment = {name: text for name, text in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_wheel_holds_both_packages_typed_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {"encoder_pin_plugin/py.typed", "encoder_hookspecs/py.typed"} <= set(names)
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"encoder_pin_plugin", "encoder_hookspecs"}
    sources = {path.relative_to(ROOT).as_posix() for path in (ROOT / "encoder_pin_plugin").rglob("*.py")}
    contract = {path.relative_to(ROOT / "hookspecs").as_posix() for path in (ROOT / "hookspecs").rglob("*.py")}
    assert {name for name in names if name.endswith(".py")} == sources | contract


def test_a_fresh_environment_has_both_packages_and_finds_the_plugin(python: Path, tmp_path: Path) -> None:
    code = (
        "import json, pluggy, encoder_hookspecs, encoder_pin_plugin\n"
        "manager = pluggy.PluginManager(encoder_hookspecs.PROJECT)\n"
        "manager.add_hookspecs(encoder_hookspecs.EncoderSpecs)\n"
        "loaded = manager.load_setuptools_entrypoints(encoder_hookspecs.ENTRY_POINT_GROUP)\n"
        "manager.check_pending()\n"
        "print(json.dumps([encoder_hookspecs.__file__, encoder_pin_plugin.__file__, loaded,"
        " [name for name, _ in manager.list_name_plugin()]]))"
    )
    contract, plugin, loaded, names = json.loads(run(str(python), "-c", code, cwd=tmp_path))
    for file in (contract, plugin):
        assert Path(file).is_relative_to(python.parent.parent)
    assert (loaded, names) == (1, ["pin"])
    assert list(tmp_path.iterdir()) == []


def test_the_console_script_and_the_module_both_work(python: Path, tmp_path: Path) -> None:
    script = python.parent / "encoder-pin"
    for command in ([str(script)], [str(python), "-m", "encoder_pin_plugin"]):
        shown = run(*command, "--help", cwd=tmp_path)
        assert "status" in shown
        assert "migrate" in shown or "submit" in shown


def test_every_requirement_of_the_wheel_is_locked_for_this_python(wheel: Path) -> None:
    metadata = zipfile.ZipFile(wheel).read(f"{wheel.name.split('-py3')[0]}.dist-info/METADATA").decode()
    required = [line.split(": ", 1)[1] for line in metadata.splitlines() if line.startswith("Requires-Dist: ")]
    locked = (ROOT / ".ci" / "requirements.txt").read_text()
    for requirement in required:
        name = requirement.replace("=", "<").replace(">", "<").partition("<")[0].strip()
        assert f"\n{name}==" in locked, f"{name} is not locked: run `make lock`"


def test_the_lock_names_no_place_and_hashes_everything() -> None:
    for name in ("requirements.txt", "requirements-build.txt"):
        text = (ROOT / ".ci" / name).read_text()
        assert "://" not in text
        entries = text.replace("\\\n", "").splitlines()
        assert all("--hash=sha256:" in entry for entry in entries if entry.strip() and not entry.startswith("#"))


@pytest.fixture(scope="module")
def site_python(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same environment with the example of a site's plugin installed beside ours, as a site would."""
    source = tmp_path_factory.mktemp("source") / "site_plugin"
    shutil.copytree(ROOT / "examples" / "site_plugin", source)
    offline = ["--no-build-isolation"] if find_spec("hatchling") else []
    run(
        sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", *offline, str(source)
    )  # fmt: skip
    return python


def test_the_example_site_plugin_is_loaded_beside_ours(site_python: Path, tmp_path: Path) -> None:
    """Its entry point is found, and its retry policy is asked before the default."""
    shown = json.loads(run(str(site_python), "-m", "encoder_pin_plugin", "plugins", "--json", cwd=tmp_path))
    loaded = {plugin["name"]: plugin for plugin in shown["plugins"]}
    assert {name for name, plugin in loaded.items() if plugin["status"] == "active"} >= {"pin", "site"}
    assert "on_lazy_pin_attempt_failed" in loaded["site"]["hooks"]


def test_the_example_site_plugin_passes_its_own_tests(site_python: Path) -> None:
    """With nothing of this checkout on the path."""
    tests = ROOT / "examples" / "site_plugin" / "tests"
    options = ("-q", "-p", "no:cacheprovider", "--import-mode=importlib", "--rootdir", str(tests))
    assert "6 passed" in run(str(site_python), "-m", "pytest", *options, str(tests), cwd=tests)
