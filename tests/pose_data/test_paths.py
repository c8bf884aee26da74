"""File names from annotation files never lead out of the picture folder."""

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pose_data.errors import InputError
from pose_data.paths import resolve_inside, shown, unsafe_name

UNSAFE = [
    "../up.jpg",
    "a/../../up.jpg",
    "a/../b.jpg",
    "..",
    "a/..",
    "..\\up.jpg",
    "a\\..\\..\\up.jpg",
    "/etc/passwd",
    "//server/share/a.jpg",
    "\\\\server\\share\\a.jpg",
    "\\a.jpg",
    "C:\\a.jpg",
    "c:a.jpg",
    "a\0.jpg",
    "\0",
    "",
    " ",
    ".",
    "./",
    "zip::a.jpg",
    "a.jpg::http://x",
    "pipe:rm -rf x",
    "PIPE:cat a",
    "http://host/a.jpg",
    "HTTPS://host/a.jpg",
    "file:///etc/passwd",
    "file:/etc/passwd",
    "s3://bucket/a.jpg",
    "svn+ssh://host/a",
    "data:image/png;base64,AAAA",
]
SAFE = [
    "000000000785.jpg",
    "train2017/000000000785.jpg",
    "a/b/c/d.png",
    "..a.jpg",
    "a...jpg",
    ".hidden.jpg",
    "a b.jpg",
    "ünï/çödé.jpg",
    "2020-01-01T10:20:30.jpg",
    "frame@10:20.jpg",
    "Goalkeeper_Training_Day_@_7/00001.png",
    "~/a.jpg",
]


@pytest.mark.parametrize("name", UNSAFE)
def test_an_unsafe_name_is_refused_with_a_reason(name: str, tmp_path: Path) -> None:
    assert unsafe_name(name)
    with pytest.raises(InputError) as caught:
        resolve_inside(tmp_path, name, allow_outside=False)
    assert caught.value.code == "path-outside-root"
    assert "\0" not in str(caught.value)
    assert "--allow-outside" in caught.value.hint


@pytest.mark.parametrize("name", SAFE)
def test_a_harmless_name_is_joined(name: str, tmp_path: Path) -> None:
    assert unsafe_name(name) is None
    assert resolve_inside(tmp_path, name, allow_outside=False) == tmp_path.resolve() / name


def test_allow_outside_lets_paths_out_but_not_nul(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    assert resolve_inside(root, "../a.jpg", allow_outside=True) == tmp_path.resolve() / "a.jpg"
    assert resolve_inside(root, "/a.jpg", allow_outside=True) == Path("/a.jpg")
    with pytest.raises(InputError):
        resolve_inside(root, "a\0.jpg", allow_outside=True)


def test_symbolic_links_out_of_the_folder_are_refused(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    (root / "in").mkdir(parents=True)
    outside.mkdir()
    (outside / "a.jpg").write_bytes(b"secret")
    (root / "in" / "a.jpg").write_bytes(b"picture")
    (root / "file.jpg").symlink_to(outside / "a.jpg")
    (root / "folder").symlink_to(outside)
    (root / "relative.jpg").symlink_to("../outside/a.jpg")
    (root / "two_steps").symlink_to("folder")
    (root / "dangling.jpg").symlink_to(tmp_path / "nowhere" / "a.jpg")
    (root / "loop.jpg").symlink_to("loop.jpg")
    (root / "inside.jpg").symlink_to("in/a.jpg")
    for name in ("file.jpg", "folder/a.jpg", "folder/new.jpg", "relative.jpg", "two_steps/a.jpg", "dangling.jpg"):
        with pytest.raises(InputError) as caught:
            resolve_inside(root, name, allow_outside=False)
        assert caught.value.code == "path-outside-root"
    assert resolve_inside(root, "folder/a.jpg", allow_outside=True) == outside.resolve() / "a.jpg"
    assert resolve_inside(root, "inside.jpg", allow_outside=False).read_bytes() == b"picture"
    # A loop has no target at all: what comes back lies inside, and reading it fails.
    loop = resolve_inside(root, "loop.jpg", allow_outside=False)
    assert loop.parent == root.resolve()


def test_a_sibling_folder_with_the_same_beginning_is_outside(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root2").mkdir()
    (tmp_path / "root" / "link").symlink_to(tmp_path / "root2")
    with pytest.raises(InputError):
        resolve_inside(tmp_path / "root", "link/a.jpg", allow_outside=False)


def test_a_root_that_is_a_link_itself_is_fine(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "root").symlink_to(tmp_path / "real")
    expected = tmp_path.resolve() / "real" / "a.jpg"
    assert resolve_inside(tmp_path / "root", "a.jpg", allow_outside=False) == expected


PIECES = st.sampled_from(["..", ".", "/", "\\", "a", "b.jpg", "::", ":", "C:", "\0", " ", "link", "~", "\n", "%2e"])
NAMES = st.one_of(st.text(max_size=30), st.lists(PIECES, max_size=8).map("".join))


@settings(deadline=None, max_examples=500)
@given(NAMES)
def test_whatever_is_accepted_lies_inside(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    root = tmp_path_factory.getbasetemp() / "hypothesis_root"
    root.mkdir(exist_ok=True)
    if not (root / "link").is_symlink():
        (root / "link").symlink_to(root.parent)
    outcome: Path | InputError
    try:
        outcome = resolve_inside(root, name, allow_outside=False)
    except InputError as error:
        outcome = error
    if isinstance(outcome, InputError):
        assert outcome.code == "path-outside-root"
        assert outcome.message.isprintable()
    else:
        assert unsafe_name(name) is None
        assert os.path.commonpath([outcome, root.resolve()]) == str(root.resolve())


@settings(deadline=None, max_examples=200)
@given(st.text(max_size=300))
def test_shown_text_is_short_and_printable(text: str) -> None:
    assert shown(text).isprintable()
    assert len(shown(text)) <= 163


def test_shown_keeps_plain_text_and_escapes_the_rest() -> None:
    assert shown("a.jpg") == "'a.jpg'"
    assert shown("\x1b[31mred\u202e") == "'\\x1b[31mred\\u202e'"
    assert shown("[bold]x[/bold]") == "'[bold]x[/bold]'"
