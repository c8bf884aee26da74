"""Fault 26: other people's text is shown, never obeyed, by every output."""

import csv
import io
import json
import os
import pty
import select
import subprocess
import sys
import time

import pytest

from cli.text import printable

MARKUP = "[bold red]owned[blink][link=http:x]y.jpg"
ANSI = "\x1b[31mred\x1b[0m\x07\x9b2J.jpg"
TITLE = "\x1b]0;owned\x07.jpg"
FORMULA = "=cmd|' C calc'!A0.jpg"
AT = "@SUM(1).jpg"
HTML = "<img src=x onerror=alert(1)>.jpg"
LINES = "one\ntwo\r.jpg"
TURNED = "a\u202egpj.exe.jpg"
NAMES = [MARKUP, ANSI, TITLE, FORMULA, AT, HTML, LINES, TURNED]
DANGEROUS = ("\x1b", "\x07", "\x9b", "\u202e", "\r", "two\r")


@pytest.fixture
def hostile(new_coco):
    """Every name twice: once on a good picture, once on one that is rejected with its name in the detail."""
    for name in NAMES:
        new_coco.add_picture("val", name)
        new_coco.add_picture("val", "bad" + name, data=b"<html>", persons=1)
        # Rejected, too, and with a name that begins as it does.
        new_coco.add_picture("val", name + ".txt", data=b"", persons=1)
    return new_coco.write()


def assert_harmless(done):
    for text in (done.out, done.err):
        assert not [mark for mark in DANGEROUS if mark in text]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_check_and_prepare_show_names_as_they_are(posedata, new_coco, tmp_path, name):
    new_coco.add_picture("val")
    new_coco.add_picture("val", name, data=b"<html>", persons=1)
    root = new_coco.write()
    checked = posedata("check", "coco", "--root", root, "--max-bad", "1")
    prepared = posedata("prepare", "coco", "--root", root, "--out", tmp_path / "c.zarr", "--max-bad", "1")
    for done in (checked, prepared):
        assert done.code == 0, done.err
        assert_harmless(done)
        assert printable(name) in done.out


def test_stores_of_them_are_listed_harmlessly(posedata, hostile, tmp_path):
    out = tmp_path / "c.zarr"
    assert posedata("prepare", "coco", "--root", hostile, "--out", out, "--max-bad", "1", "-q").code == 0
    for command in ("problems", "info", "verify"):
        done = posedata(command, out)
        assert done.code == 0, done.err
        assert_harmless(done)
    listed = posedata("problems", out).out
    for name in (MARKUP, HTML, FORMULA):
        assert name in listed
    assert r"\x1b[31mred\x1b[0m\x07\x9b2J.jpg" in listed
    assert r"one\ntwo\r.jpg" in listed


def test_csv_holds_no_formula(posedata, hostile, tmp_path):
    out = tmp_path / "c.zarr"
    posedata("prepare", "coco", "--root", hostile, "--out", out, "--max-bad", "1", "-q")
    done = posedata("problems", out, "--csv")
    assert_harmless(done)
    names = [row["file_name"] for row in csv.DictReader(io.StringIO(done.out))]
    assert f"'{FORMULA}.txt" in names
    assert f"'{AT}.txt" in names
    assert not [name for name in names if name.startswith(("=", "+", "-", "@"))]


def test_json_keeps_names_exactly_and_is_ascii(posedata, hostile, tmp_path):
    out = tmp_path / "c.zarr"
    posedata("prepare", "coco", "--root", hostile, "--out", out, "--max-bad", "1", "-q")
    for done in (
        posedata("problems", out, "--json"), posedata("check", "coco", "--root", hostile, "--max-bad", "1", "--json")
    ):  # fmt: skip
        assert done.out.isascii()
        assert "\x1b" not in done.out
        assert done.report
    names = {line.get("file_name") for line in posedata("problems", out, "--json").lines}
    assert {name + ".txt" for name in NAMES} <= names


def test_fatal_messages_are_harmless(posedata, new_coco):
    new_coco.add_picture("val")
    new_coco.splits["val"]["images"][0]["file_name"] = f"../{ANSI}"
    done = posedata("check", "coco", "--root", new_coco.write())
    assert (done.code, "[path-outside-root]" in done.err) == (3, True)
    assert_harmless(done)


def test_category_names_are_harmless(posedata, new_coco):
    new_coco.add_picture("val")
    new_coco.category = f"{ANSI}[bold]"
    path = new_coco.write() / "annotations" / "person_keypoints_val.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    document["categories"][0]["keypoints"] = [f"{TITLE}{number}" for number in range(17)]
    path.write_text(json.dumps(document), encoding="utf-8")
    done = posedata("prepare", "coco", "--root", new_coco.root, "--out", new_coco.root / "c.zarr", "--json")
    assert (done.code, "[skeleton-mismatch]" in done.err) == (3, True)
    assert_harmless(done)


@pytest.mark.parametrize("text", [MARKUP, ANSI, TITLE])
def test_text_of_the_command_line_is_harmless(posedata, text):
    for arguments in (["info", text], ["check", text], [text], ["info", "x", "--" + text], ["doctor", "-q", text]):
        done = posedata(*arguments)
        assert done.code in (2, 4)
        assert_harmless(done)


def test_a_terminal_gets_its_bars_and_no_foreign_escapes(new_coco, tmp_path):
    for name in (MARKUP, ANSI, TITLE):
        new_coco.add_picture("val", name, data=b"<html>", persons=1)
    new_coco.add_picture("val")
    shown = on_a_terminal("prepare", "coco", "--root", new_coco.write(), "--out", tmp_path / "c.zarr", "--max-bad", "1")
    assert "\x1b[" in shown  # the bars' own
    assert "val shards" in shown
    for mark in ("\x1b[31mred", "\x1b]0;owned", "\x9b", "\x07", "\u202e"):
        assert mark not in shown
    assert "[bold red]owned" in "".join(shown.split("\r\n"))
    assert "next: posedata verify" in shown


def test_no_color_is_honoured_on_a_terminal(finished_store):
    shown = on_a_terminal("info", finished_store, NO_COLOR="1")
    assert "\x1b[3" not in shown
    assert "filter-crowd" in shown


def on_a_terminal(*arguments, **settings):
    """Run the program with a pseudo terminal as stdout and stderr; return what it was sent."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "160", **settings}
    environment.pop("PYTEST_CURRENT_TEST", None)
    child = subprocess.Popen(
        [sys.executable, "-m", "cli.posedata", *map(str, arguments)],
        stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs, env=environment,
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    give_up_s = time.monotonic() + 60
    while time.monotonic() < give_up_s:
        if not select.select([ours], [], [], 0.5)[0]:
            continue
        try:
            part = os.read(ours, 65536)
        except OSError:  # the other end was closed
            break
        if not part:
            break
        shown += part
    os.close(ours)
    assert child.wait(10) == 0, shown
    return shown.decode("utf-8", "replace")
