"""Write ``docs/codes.md`` from the codes in the program itself: ``python docs/make_codes.py``."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pose_data
from pose_data import errors
from pose_data.errors import FINDINGS, PROBLEMS, PoseError
from pose_data.findings import Finding

__all__ = ["error_codes", "exit_codes", "main", "render"]

_HEAD = """\
# Codes

<!-- Written by docs/make_codes.py from the program itself; change the program, then run it again. -->

Codes are stable: scripts may rely on them. Texts are not.
"""
_EXITS = """\
## Exit codes

Every error is printed to stderr as *what happened — where [code]*, then a hint; with `--json` also as a JSON line with
`"event": "error"` and the fields `kind`, `code`, `message`, `where`, `hint`, `exit_code`.
"""
_PROBLEMS = """\
## Problems: something wrong with an input record

A problem stands in the sample table, in the columns `code` and `notes`; `posedata problems STORE` lists them.

- **reject**: a bad record. It is left out and counts against `--max-bad`.
- **filter**: a good record that the recipe does not want. It is left out and counts against nothing.
- **note**: the record is kept; this is worth knowing.
"""
_FINDINGS = """\
## Findings: something wrong with a store

From `posedata verify`. A finding that says *damaged* makes the exit code 4; the others are notes about a store that is
whole.
"""
_ERRORS = """\
## Error codes by kind

What stands in square brackets at the end of an error message.
"""
_MEANINGS = {
    0: "fine",
    1: "a fault of posedata; please report it",
    2: "usage: an unknown option or name, or the output exists",
    3: "bad input: a fatal annotation file, or more bad records than `--max-bad` allows",
    4: "the store is damaged, unfinished, or not a store",
    5: "busy: another process is writing the store",
    6: "the disk, the file system or the cluster failed; finished work is kept",
    7: "options, sources or versions differ from those of the work that is there",
    8: "a limit that you set on a result was not met",
    9: "a network, checkpoint or training failed",
    130: "stopped by Ctrl-C (SIGINT); finished work is kept",
    141: "whoever read the output has gone, as `head` does",
    143: "stopped by SIGTERM; finished work is kept",
}
_SIGPIPE_EXIT, _SIGTERM_EXIT = 141, 143
_PACKAGES = ("pose_data", "pose_models", "pipelines", "cli")


def _kinds(kind: type[PoseError] = PoseError) -> Iterator[type[PoseError]]:
    yield kind
    for below in kind.__subclasses__():
        if below.__module__ == errors.__name__:
            yield from _kinds(below)


def exit_codes() -> dict[int, str]:
    """Return every exit code and what it means. Raises KeyError for one that this script has no words for."""
    codes = sorted({0, _SIGPIPE_EXIT, _SIGTERM_EXIT, *(kind.exit_code for kind in _kinds())})
    raised = {getattr(errors, kind).exit_code for kind in error_codes()}
    later = {kind.exit_code for kind in _kinds() if kind is not PoseError} - raised
    return {code: _MEANINGS[code] + (" (nothing does this yet)" if code in later else "") for code in codes}


def error_codes() -> dict[str, list[str]]:
    """Return, for each kind of error, the codes with which the program raises it; read from the source."""
    names = {kind.__name__: set[str]() for kind in _kinds()}
    root = Path(pose_data.__file__).parents[1]
    for package in _PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            for kind, code in _raised(ast.parse(path.read_text(encoding="utf-8"))):
                if kind in names:
                    names[kind].add(code)
    return {kind: sorted(codes) for kind, codes in names.items() if codes}


def _raised(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
            first = node.args[0]
            choices = [first.body, first.orelse] if isinstance(first, ast.IfExp) else [first]
            for choice in choices:
                if isinstance(choice, ast.Constant) and isinstance(choice.value, str):
                    yield node.func.id, choice.value


def render() -> str:
    """Return the text of ``docs/codes.md``."""
    kinds: dict[int, list[str]] = {}
    for kind in _kinds():
        kinds.setdefault(kind.exit_code, []).append(f"`{kind.__name__}`")
    exits = [[str(code), ", ".join(kinds.get(code, [])), text] for code, text in exit_codes().items()]
    problems = [[f"`{code}`", kind.fate, kind.meaning] for code, kind in PROBLEMS.items()]
    findings = [
        [f"`{code}`", "damaged" if Finding(code=code).damaged else "note", text] for code, text in FINDINGS.items()
    ]
    raised = [[f"`{kind}`", ", ".join(f"`{code}`" for code in codes)] for kind, codes in error_codes().items()]
    return "\n".join([
        _HEAD,
        _EXITS, *_table(["exit code", "raised as", "meaning"], exits),
        _PROBLEMS, *_table(["code", "fate", "meaning"], problems),
        _FINDINGS, *_table(["code", "", "meaning"], findings),
        _ERRORS, *_table(["kind", "codes"], raised),
    ]).rstrip() + "\n"  # fmt: skip


def _table(headers: list[str], rows: list[list[str]]) -> list[str]:
    lines = [headers, ["---"] * len(headers), *rows]
    return [*("| " + " | ".join(line) + " |" for line in lines), ""]


def main() -> None:
    """Write the page beside this script."""
    Path(__file__).with_name("codes.md").write_text(render(), encoding="utf-8")


if __name__ == "__main__":
    main()
