"""The documentation is true: its examples run, its lists are complete, its links lead somewhere."""

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

from pose_data.errors import FINDINGS, PROBLEMS

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
OTHER_PAGES = [ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md"]
_FENCE = re.compile(r"^```(\S*)[ ]?([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_LIMIT_S = 120


@dataclass(frozen=True)
class Block:
    """A fenced block: ``info`` is what follows the language, ``line`` where it begins."""

    language: str
    info: str
    text: str
    line: int

    @property
    def exit_code(self) -> int:
        found = re.search(r"\bexit=(\d+)", self.info)
        return int(found[1]) if found else 0


def _blocks(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for found in _FENCE.finditer(text):
        yield Block(found[1], found[2], found[3], text.count("\n", 0, found.start()) + 1)


def _runnable(page: Path) -> list[Block]:
    wanted = [block for block in _blocks(page) if block.language in ("console", "python")]
    for block in wanted:
        reason = block.info.removeprefix("no-run:").strip() if block.info.startswith("no-run") else "runs"
        assert reason, f"{page.name}:{block.line}: say why it is not run"
    return [block for block in wanted if not block.info.startswith("no-run")]


def _commands(block: Block) -> list[str]:
    """Return the commands after ``$``; other lines are what they print."""
    return [line[2:] for line in block.text.splitlines() if line.startswith("$ ")]


def _run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    hidden = ("COCO_ROOT", "POSEDATA_SHARED")
    environment = {name: value for name, value in os.environ.items() if name not in hidden} | {"PATH": path}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=_LIMIT_S, check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip


def _run_block(block: Block, folder: Path, where: str) -> None:
    if block.language == "python":
        (folder / "example.py").write_text(block.text, encoding="utf-8")
        done = _run([sys.executable, "-W", "error", "example.py"], folder)
        assert done.returncode == block.exit_code, f"{where}\n{done.stderr}"
        return
    commands = _commands(block)
    assert commands, f"{where}: no line begins with '$ '"
    for position, command in enumerate(commands):
        expected = block.exit_code if position == len(commands) - 1 else 0
        done = _run(["bash", "-euo", "pipefail", "-c", command], folder)
        assert done.returncode == expected, f"{where}\n$ {command}\n{done.stdout}\n{done.stderr}"


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if _runnable(page)], ids=lambda page: page.stem)
def test_examples_of_a_page_run_in_order(page: Path, tmp_path: Path) -> None:
    for block in _runnable(page):
        _run_block(block, tmp_path, f"{page.relative_to(ROOT)}:{block.line}")


def test_the_output_shown_for_the_sample_is_what_is_printed(tmp_path: Path) -> None:
    block = next(block for block in _runnable(ROOT / "README.md") if "posedata sample" in block.text)
    (command,) = _commands(block)
    done = _run(["bash", "-c", command], tmp_path)
    shown = [line for line in block.text.splitlines() if not line.startswith("$ ")]
    assert shown
    assert set(shown) <= set((done.stdout + done.stderr).splitlines())


def _script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["commands", "codes"])
def test_generated_page_is_up_to_date(name: str) -> None:
    found = (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
    assert found == _script(f"make_{name}").render(), f"run: python docs/make_{name}.py"


def test_every_command_and_option_of_the_program_is_documented() -> None:
    text = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^## (pose\S+ \S+)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))
    flags = _script("make_commands").flags_of_program()
    assert set(sections) == set(flags)
    missing = {f"{name} {flag}" for name, names in flags.items() for flag in names if f"`{flag}`" not in sections[name]}
    assert missing == set()


def test_every_code_is_documented() -> None:
    text = (ROOT / "docs" / "codes.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^\| `?([\w-]+)`? \|", text, re.MULTILINE))
    codes = _script("make_codes").exit_codes()
    assert {*PROBLEMS, *FINDINGS, *map(str, codes)} <= listed


def _anchors(page: Path) -> set[str]:
    headings = _HEADING.findall(page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [*PAGES, *OTHER_PAGES], ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for link in _LINK.findall(page.read_text(encoding="utf-8")):
        name, _, anchor = link.partition("#")
        target = (page.parent / name) if name else page
        if "://" not in link and not (target.exists() and (not anchor or anchor in _anchors(target))):
            broken.append(link)
    assert broken == []


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    linked = {(ROOT / "docs" / link.partition("#")[0]).resolve() for link in _LINK.findall(index) if "://" not in link}
    assert {page.resolve() for page in PAGES} - {ROOT / "docs" / "index.md"} <= linked
