"""Run an example from a COCO folder to a report.

``python examples/run.py hourglass --coco coco --out build/hourglass``

An example is a TOML file beside this script: ``networks`` are trained one after the other on one store; ``[prepare]``
holds options of ``posedata prepare coco``, ``[train]`` fields of ``posetrain config``. With ``--small`` the values of
``[small]`` count: a few minutes on a processor, to see that everything works, not to learn. Every command is printed
before it runs, and the same call goes on where an earlier one was stopped.
"""

import argparse
import json
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

__all__ = ["EXAMPLES", "Example", "main", "read_example"]

_FOLDER = Path(__file__).resolve().parent
EXAMPLES = tuple(sorted(path.stem for path in _FOLDER.glob("*.toml")))
_NUMBERS = ("AP", "AP50", "AP75", "APM", "APL", "AR")


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """What an example's file says, or what it says for ``--small``."""

    about: str
    networks: tuple[str, ...]
    prepare: Mapping[str, Any] = field(default_factory=dict)
    train: Mapping[str, Any] = field(default_factory=dict)


def read_example(name: str, *, small: bool = False) -> Example:
    """Return an example by name; raises ValueError for a key that no example has."""
    content = tomllib.loads((_FOLDER / f"{name}.toml").read_text(encoding="utf-8"))
    changes = content.pop("small", {})
    unknown = {*content, *changes} - {"about", "networks", "prepare", "train"}
    if unknown:
        raise ValueError(f"{name}.toml: {', '.join(sorted(unknown))}")
    if small:
        content["networks"] = changes.get("networks", content["networks"])
        for part in ("prepare", "train"):
            content[part] = {**content.get(part, {}), **changes.get(part, {})}
    return Example(**{**content, "networks": tuple(content["networks"])})


def main(arguments: Sequence[str] | None = None) -> int:
    """Prepare, train, evaluate and report; return 0, or the exit code of the command that failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("example", choices=EXAMPLES)
    parser.add_argument("--coco", required=True, metavar="FOLDER", help="the data set, as posedata prepare takes it")
    parser.add_argument("--out", required=True, type=Path, metavar="FOLDER", help="where store, runs and reports go")
    parser.add_argument("--small", action="store_true", help="what the file's [small] says: does it work?")
    parser.add_argument("--pretrained", metavar="FILE", help="ImageNet weights of the backbone (torchvision, timm)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    given = parser.parse_args(arguments)
    example = read_example(given.example, small=given.small)
    if given.pretrained:
        example = replace(example, train={**example.train, "pretrained": given.pretrained})
    print(example.about, flush=True)
    try:
        table = _run(example, given.coco, given.out, given.device)
    except subprocess.CalledProcessError as error:
        return error.returncode
    (given.out / "summary.md").write_text(table, encoding="utf-8")
    print(f"\n{table}\n{given.out}: store, runs, reports, summary.md")
    return 0


def _run(example: Example, coco: str, out: Path, device: str) -> str:
    """Run every step; return the table of all networks' numbers, in Markdown."""
    store = out / "crops.zarr"
    if not (store / ".posedata").is_dir() or not _finished(store):
        _call("posedata", "prepare", "coco", "--root", coco, "--out", store, *_options(example.prepare))
    lines = [f"| network | {' | '.join(_NUMBERS)} |", f"|{' --- |' * (len(_NUMBERS) + 1)}"]
    for network in example.networks:
        run, results = out / "runs" / network, out / "results" / f"{network}.json"
        settings = [part for name, value in example.train.items() for part in ("--set", f"{name}={_text(value)}")]
        _call("posetrain", "run", network, "--data", store, "--out", run, "--device", device, "--resume", *settings)
        told = _call(
            "posetrain",
            "evaluate",
            run,
            "--data",
            store,
            "--results",
            results,
            "--device",
            device,
            "--json",
            "--quiet",
            shown=False,
        )
        _call("posedata", "evaluate", results, "--data", store, "--report", out / "reports" / network)
        numbers = json.loads(told.splitlines()[-1])["numbers"]
        lines.append(f"| `{network}` | {' | '.join(f'{100 * numbers[name]:.1f}' for name in _NUMBERS)} |")
    return "\n".join(lines) + "\n"


def _finished(store: Path) -> bool:
    done = subprocess.run([sys.executable, "-m", "cli.posedata", "info", store], capture_output=True, check=False)
    return done.returncode == 0


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _options(values: Mapping[str, Any]) -> list[str]:
    """Return a table as options of a command line; true stands alone, and false is left out."""
    options: list[str] = []
    for name, value in values.items():
        if value is not False:
            options += [f"--{name}", *([] if value is True else [str(value)])]
    return options


def _call(program: str, *arguments: object, shown: bool = True) -> str:
    """Run one of the programs, telling the command first; return what it printed to stdout."""
    words = [str(argument) for argument in arguments]
    print(f"\n$ {shlex.join([program, *words])}", flush=True)
    command = [sys.executable, "-m", f"cli.{program}", *words]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if shown:
        print(done.stdout, end="", flush=True)
    done.check_returncode()
    return done.stdout


if __name__ == "__main__":
    raise SystemExit(main())
