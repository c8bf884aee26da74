"""The wheel, as somebody else installs it: our packages under their general names, and nothing besides."""

import os
import re
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

import pose_data

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGES = ("cli", "pipelines", "pose_data", "pose_models")


def run(command: list[str], folder: Path, **environment: str) -> str:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PIP_"))}
    done = subprocess.run(
        command, cwd=folder, env={**inherited, **environment}, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    run([*pip, "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", str(out), str(REPOSITORY)], out)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Return the clean environment's folder, and the path of the libraries that it borrows from this one."""
    folder = tmp_path_factory.mktemp("clean") / "venv"
    run([sys.executable, "-m", "venv", "--without-pip", str(folder)], folder.parent)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "--python", str(folder)]
    run([*pip, "install", "--no-deps", "--no-index", str(wheel)], folder.parent)
    return folder, sysconfig.get_paths()["purelib"]


@pytest.mark.slow
def test_the_wheel_holds_our_packages_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.partition("/")[0] for name in names}
    assert tops == {*PACKAGES, f"posedata-{pose_data.__version__}.dist-info"}
    assert {name for package in PACKAGES for name in names if name == f"{package}/__init__.py"} == {
        f"{package}/__init__.py" for package in PACKAGES
    }
    assert [name for name in names if re.search(r"__pycache__|\.(pyc|jpg|npz|zarr|so)$", name)] == []
    sources = {
        path.relative_to(REPOSITORY).as_posix() for package in PACKAGES for path in (REPOSITORY / package).rglob("*.py")
    }
    assert sources <= set(names)


@pytest.mark.slow
def test_the_installed_cli_and_pipelines_are_ours(installed: tuple[Path, str], tmp_path: Path) -> None:
    folder, libraries = installed
    source = f"import {', '.join(PACKAGES)}; [print(one.__path__[0]) for one in ({', '.join(PACKAGES)})]"
    # Appended, not put first: the environment's own packages come before what they borrow.
    code = f"import sys; sys.path.append({libraries!r}); {source}"
    places = run([str(folder / "bin" / "python"), "-c", code], tmp_path).split()
    assert len(places) == len(PACKAGES)
    for place in places:
        assert Path(place).is_relative_to(folder), place


@pytest.mark.slow
def test_the_installed_program_runs(installed: tuple[Path, str], tmp_path: Path) -> None:
    folder, libraries = installed
    for path in (folder / "lib").glob("python*/site-packages"):
        (path / "borrowed.pth").write_text(libraries + "\n", encoding="utf-8")
    shown = run([str(folder / "bin" / "posedata"), "--help"], tmp_path, COLUMNS="100")
    assert "prepare" in shown
    assert "verify" in shown
    assert pose_data.__version__ in run([str(folder / "bin" / "posedata"), "--version"], tmp_path)
    assert list(tmp_path.iterdir()) == []
