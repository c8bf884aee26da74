"""The contact sheet: what is on it, and that hostile text stays text."""

import base64
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from pose_data.drawing import CENTRE, LEFT, RIGHT, draw_box, draw_skeleton, draw_text, fit_text, glow, keypoint_colours
from pose_data.errors import StoreError, UsageError
from pose_data.imaging import decode_picture
from pose_data.sheet import write_sheet
from pose_data.sheet_tiles import TILE_HEIGHT_PX, collect_tiles
from pose_data.skeleton import COCO_PERSON, Skeleton
from pose_data.source import Source, find_source
from pose_data.store import split_folders
from pose_data.verify import split_facts

HOSTILE = "<img src=x onerror=alert(1)>&\"'[red]\x1b[31m=1+1"
PAIR = Skeleton(name="pair", names=("left", "right", "middle"), pairs=((0, 1),), limbs=((0, 1), (0, 2)))


class Page(HTMLParser):
    """The tags and the text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_picture_shows_samples_and_problems(finished_store: Path, tmp_path: Path) -> None:
    write_sheet(finished_store, tmp_path / "sheet.png", columns=4, rows=2)
    pixels = decode_picture(
        (tmp_path / "sheet.png").read_bytes(), file_name="s.png", expected_wh=None, exif="ignore"
    ).pixels
    height, width = pixels.shape[:2]
    assert width >= 1100
    # Two splits, each with a row of samples and one or two of problems.
    assert height > 4 * TILE_HEIGHT_PX
    colours = {tuple(colour) for colour in pixels.reshape(-1, 3).tolist()}
    assert {LEFT, RIGHT} <= colours


def test_the_same_seed_gives_the_same_bytes(finished_store: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_sheet(finished_store, tmp_path / f"{name}.png", columns=3, rows=2, seed=seed)
    first, again, other = ((tmp_path / f"{name}.png").read_bytes() for name in "abc")
    assert first == again != other


def test_a_page_is_one_file_with_its_pictures_inside(finished_store: Path, tmp_path: Path) -> None:
    write_sheet(finished_store, tmp_path / "sheet.html", columns=2, rows=2, splits=["val2017"])
    page = Page((tmp_path / "sheet.html").read_text(encoding="utf-8"))
    pictures = [values["src"] or "" for tag, values in page.tags if tag == "img"]
    assert len(pictures) >= 2 * 4
    for source in pictures:
        assert source.startswith("data:image/jpeg;base64,")
        assert base64.b64decode(source.partition(",")[2], validate=True)[:2] == b"\xff\xd8"
    assert not [tag for tag, values in page.tags if tag in ("script", "link", "iframe") or "href" in values]
    assert "val2017" in page.text
    assert "train2017" not in page.text
    assert "img-truncated" in page.text
    assert "filter-crowd" in page.text
    assert "no picture to show" in page.text  # the missing picture


def test_hostile_names_are_text_on_every_sheet(factory: ModuleType, tmp_path: Path) -> None:
    factory.CocoMaker(tmp_path / "coco", pictures=2, hostile=HOSTILE).write("val2017")
    store = tmp_path / "<b>store.zarr"
    factory.prepare_split(store, tmp_path / "coco", "val2017", factory.small_recipe())
    write_sheet(store, tmp_path / "sheet.html", columns=2, rows=1)
    raw = (tmp_path / "sheet.html").read_text(encoding="utf-8")
    page = Page(raw)
    assert "<b>store.zarr" in page.text
    assert "onerror=alert(1)" in page.text
    assert "\x1b" not in raw
    assert not [values for _, values in page.tags if any(name.startswith("on") for name in values)]
    assert not re.search(r"<img src=x", raw)
    write_sheet(store, tmp_path / "sheet.png", columns=2, rows=1)
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "options",
    [
        {"geometry": "box", "encoding": "simcc", "sigma": 3.0, "split_ratio": 4.0},
        {"context_px": 4, "encoding": "udp", "geometry": "udp", "map_dtype": "float16"},
        {"background": "white", "image_codec": "jpeg", "joints": ("nose", "left_wrist", "right_wrist")},
    ],
)
def test_every_kind_of_store_can_be_drawn(factory: ModuleType, tmp_path: Path, options: dict[str, object]) -> None:
    factory.CocoMaker(tmp_path / "coco", pictures=2).write("val2017")
    factory.prepare_split(tmp_path / "s.zarr", tmp_path / "coco", "val2017", factory.small_recipe(**options))
    folder = split_folders(tmp_path / "s.zarr")["val2017"]
    tiles = collect_tiles(
        folder, split_facts(folder), find_source(tmp_path / "s.zarr", "val2017"), samples=3, noted=2, problems=8, seed=0
    )
    assert len(tiles.samples) == 3
    for tile in tiles.samples:
        assert tile.crop.shape[0] == tile.maps.shape[0] == TILE_HEIGHT_PX
        assert tile.crop.any()
        assert np.ptp(tile.maps.astype(int), axis=2).max() > 60  # coloured spots on grey
    assert {problem.code for problem in tiles.problems} >= {"filter-crowd", "img-missing", "img-truncated"}
    assert tiles.kept + tiles.rejected == split_facts(folder).annotation_count


def test_broken_records_come_before_filtered_ones_each_code_in_turn(finished_store: Path) -> None:
    folder = split_folders(finished_store)["val2017"]
    source = find_source(finished_store, "val2017")
    tiles = collect_tiles(folder, split_facts(folder), source, samples=0, noted=0, problems=4, seed=0)
    fates = [problem.fate for problem in tiles.problems]
    assert fates == sorted(fates, reverse=True)  # reject, then filter
    assert len({problem.code for problem in tiles.problems}) == 4
    shown = {problem.code: problem.picture is not None for problem in tiles.problems}
    assert shown["filter-crowd"]
    assert not shown["img-missing"]
    blind = collect_tiles(folder, split_facts(folder), Source(), samples=0, noted=0, problems=4, seed=0)
    assert all(problem.picture is None for problem in blind.problems)


def test_damaged_rows_are_passed_over(finished_store: Path, tmp_path: Path) -> None:
    store = Path(shutil.copytree(finished_store, tmp_path / "crops.zarr"))
    (store / "val2017/images/c.0.0.0.0").write_bytes(b"")
    write_sheet(store, tmp_path / "sheet.png", columns=4, rows=4)
    assert (tmp_path / "sheet.png").stat().st_size > 10_000


def test_other_endings_splits_and_stores_are_refused(finished_store: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"a \.png or an \.html, not \.pdf"):
        write_sheet(finished_store, tmp_path / "sheet.pdf")
    with pytest.raises(UsageError, match="no split test2017"):
        write_sheet(finished_store, tmp_path / "sheet.png", splits=["test2017"])
    (tmp_path / "empty/.posedata").mkdir(parents=True)
    with pytest.raises(StoreError, match=r"\[unfinished\]"):
        write_sheet(tmp_path / "empty", tmp_path / "sheet.png")
    assert not (tmp_path / "sheet.png").exists()


# ------------------------------------------------------------------------------------ drawing


def test_left_and_right_have_their_own_colours() -> None:
    assert keypoint_colours(PAIR) == (LEFT, RIGHT, CENTRE)
    colours = keypoint_colours(COCO_PERSON)
    assert colours[0] == CENTRE
    assert {colours[left] for left, _ in COCO_PERSON.pairs} == {LEFT}
    assert {colours[right] for _, right in COCO_PERSON.pairs} == {RIGHT}


def test_visible_points_are_filled_hidden_ones_rings_and_unlabelled_ones_absent() -> None:
    pixels = np.full((60, 100, 3), 128, np.uint8)
    draw_skeleton(pixels, np.array([[20.0, 30, 2], [60, 30, 1], [85, 30, 0]]), PAIR, unit=2.0)
    assert tuple(pixels[30, 20]) == LEFT
    assert pixels[30, 60].max() < 40  # hollow
    assert np.abs(pixels[30, 66].astype(int) - RIGHT).max() < 20  # its rim
    assert (pixels[:, 76:] == 128).all()
    assert tuple(pixels[30, 40]) == CENTRE  # the limb from left to right


def test_points_far_outside_are_drawn_without_harm() -> None:
    pixels = np.zeros((32, 32, 3), np.uint8)
    draw_skeleton(pixels, np.array([[1e12, -1e12, 2], [16, 16, 2], [-1e300, 5, 1]]), PAIR)
    assert tuple(pixels[16, 16]) == RIGHT
    draw_box(pixels, [-1e9, 4.0, 1e10, 8.0], (255, 0, 0))
    assert tuple(pixels[4, 16]) == (255, 0, 0)


def test_maps_glow_where_they_are_and_in_their_colour() -> None:
    pixels = np.full((40, 60, 3), 200, np.uint8)
    maps = np.zeros((2, 10, 15), np.float32)
    maps[0, 2, 3] = maps[1, 7, 11] = 1.0
    lit = glow(pixels, maps, (LEFT, RIGHT), np.array([[4.0, 0, 0], [0, 4.0, 0]]))
    assert tuple(lit[8, 12]) == LEFT
    assert tuple(lit[28, 44]) == RIGHT
    assert np.ptp(lit[20, 30].astype(int)) == 0  # grey elsewhere
    assert (pixels == 200).all()


def test_text_is_cut_to_its_room_and_escaped() -> None:
    pixels = np.zeros((40, 400, 3), np.uint8)
    assert draw_text(pixels, (5, 25), "abc é \x1b", size_px=20, colour=(255, 255, 255)) > 60
    assert pixels.any()
    cut = fit_text("a long line of text " * 10, 120, size_px=14)
    assert cut.endswith("...")
    assert draw_text(pixels, (0, 10), cut, size_px=14) <= 120
    assert fit_text("short", 120, size_px=14) == "short"
    assert fit_text("x", 1, size_px=14) == ""
    assert fit_text("\x1b[31m\n", 500, size_px=14) == "\\x1b[31m\\n"
