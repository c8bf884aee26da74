"""The contact sheet as one picture."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from pose_data.drawing import CENTRE, LEFT, RIGHT, Colour, draw_skeleton, draw_text, fit_text
from pose_data.errors import PROBLEMS
from pose_data.imaging import encode_png
from pose_data.paths import shown
from pose_data.sheet_tiles import TILE_HEIGHT_PX, ProblemTile, SampleTile, SplitTiles
from pose_data.skeleton import Skeleton
from pose_data.store import SplitFacts

__all__ = ["describe_recipe", "render_picture"]

Pixels = npt.NDArray[np.uint8]

_PAPER: Colour = (24, 26, 31)
_CARD: Colour = (36, 39, 46)
_INK: Colour = (238, 240, 244)
_FAINT: Colour = (154, 160, 172)
_BAD: Colour = (255, 107, 107)
_ASIDE: Colour = (255, 214, 102)
_MARGIN_PX = 32
_GAP_PX = 12
_PAD_PX = 8
_LEAST_WIDTH_PX = 1100
_CAPTION_PX = 62
_SHORT_CAPTION_PX = 46


def render_picture(store: str, splits: Sequence[SplitTiles], columns: int) -> bytes:
    """Return the PNG of a sheet with so many samples side by side."""
    cell_width = max(_sample_width(split) for split in splits)
    width = max(_LEAST_WIDTH_PX, 2 * _MARGIN_PX + columns * (cell_width + _GAP_PX) - _GAP_PX)
    bands = [_legend(width, store)]
    for split in splits:
        bands.append(_split_title(width, split))
        bands += _grid(width, cell_width, [_sample_card(tile, cell_width) for tile in split.samples])
        if split.noted:
            bands.append(_section(width, "Kept, with a note", _listed(split.notes)))
            bands += _grid(width, cell_width, [_sample_card(tile, cell_width) for tile in split.noted])
        if split.problems:
            bands.append(_section(width, f"Left out: {split.rejected:,} of {split.kept + split.rejected:,} records",
                                  _listed(split.counts)))  # fmt: skip
            card_width = max(cell_width, 320 + 2 * _PAD_PX)
            bands += _grid(width, card_width, [_problem_card(tile, card_width) for tile in split.problems])
    bands.append(_blank(width, _MARGIN_PX))
    return encode_png(np.concatenate(bands))


def describe_recipe(facts: SplitFacts) -> str:
    """Return the recipe's main choices in one line."""
    recipe = facts.recipe
    crop = f"crops {recipe.crop_width_px} x {recipe.crop_height_px}"
    crop += f" + {recipe.context_px} px context" if recipe.context_px else ""
    if recipe.rows == "scenes":
        return (
            f"recipe {recipe.name}: whole pictures, {crop.replace('crops', 'windows')}; stride {recipe.stride_px}, "
            f"sigma {recipe.sigma:g}, maps {recipe.map_overlap}, fields of {recipe.limbs} {recipe.field_overlap}; "
            f"striped: not trained on ({recipe.untrained}); {recipe.map_dtype}, {recipe.field_dtype}, "
            f"images {recipe.image_codec}"
        )
    maps = f"maps {recipe.map_width} x {recipe.map_height}, sigma {recipe.sigma:g}"
    if recipe.encoding == "simcc":
        maps = f"{recipe.split_ratio:g} bins a pixel, sigma {recipe.sigma:g}"
    background = ", white background" if recipe.background == "white" else ""
    return (
        f"recipe {recipe.name}: {recipe.geometry} geometry, {crop}{background}, {recipe.encoding} {maps}, "
        f"{recipe.map_dtype}, images {recipe.image_codec}"
    )


def _listed(counts: dict[str, int]) -> str:
    return "     ".join(f"{code} {count:,}" for code, count in counts.items())


def _blank(width: int, height: int, colour: Colour = _PAPER) -> Pixels:
    band = np.empty((height, width, 3), np.uint8)
    band[:] = colour
    return band


def _legend(width: int, store: str) -> Pixels:
    band = _blank(width, 92)
    draw_text(band, (_MARGIN_PX, 56), fit_text(shown(store)[1:-1], width // 2, size_px=32, bold=True), size_px=32,
              colour=_INK, bold=True)  # fmt: skip
    entries = [
        (LEFT, 2.0, "left of the body"),
        (RIGHT, 2.0, "right"),
        (CENTRE, 2.0, "neither"),
        (CENTRE, 1.0, "labelled, hidden"),
    ]
    dot = Skeleton(name="dot", names=("dot",))
    x = width - _MARGIN_PX
    for colour, flag, label in reversed(entries):
        label_width = draw_text(_blank(width, 10), (0, 5), label, size_px=15)
        x -= label_width
        draw_text(band, (x, 54), label, size_px=15, colour=_FAINT)
        x -= 16
        pair = Skeleton(name="dot", names=("a", "b"), pairs=((0, 1),)) if colour != CENTRE else dot
        points = np.zeros((pair.keypoint_count, 3))
        points[1 if colour == RIGHT else 0] = x, 49, flag
        draw_skeleton(band, points, pair, unit=1.6)
        x -= 22
    return band


def _split_title(width: int, split: SplitTiles) -> Pixels:
    band = _blank(width, 84)
    band[8:9, _MARGIN_PX : width - _MARGIN_PX] = (62, 66, 76)
    end = _MARGIN_PX + draw_text(band, (_MARGIN_PX, 44), split.split, size_px=26, colour=_INK, bold=True)
    counts = f"{split.kept:,} persons kept, {split.rejected:,} of {split.kept + split.rejected:,} records left out"
    draw_text(band, (end + 24, 44), counts, size_px=18, colour=_INK)
    line = fit_text(describe_recipe(split.facts), width - 2 * _MARGIN_PX, size_px=15)
    draw_text(band, (_MARGIN_PX, 68), line, size_px=15, colour=_FAINT)
    return band


def _section(width: int, title: str, line: str) -> Pixels:
    band = _blank(width, 66)
    draw_text(band, (_MARGIN_PX, 32), title, size_px=19, colour=_INK, bold=True)
    draw_text(band, (_MARGIN_PX, 54), fit_text(line, width - 2 * _MARGIN_PX, size_px=15), size_px=15, colour=_FAINT)
    return band


def _grid(width: int, cell_width: int, cards: Iterable[Pixels]) -> Iterator[Pixels]:
    per_row = max(1, (width - 2 * _MARGIN_PX + _GAP_PX) // (cell_width + _GAP_PX))
    row: list[Pixels] = []
    for card in [*cards, None]:
        if row and (card is None or len(row) == per_row):
            band = _blank(width, max(cell.shape[0] for cell in row) + _GAP_PX)
            for place, cell in enumerate(row):
                x = _MARGIN_PX + place * (cell_width + _GAP_PX)
                band[: cell.shape[0], x : x + cell_width] = cell
            yield band
            row = []
        if card is not None:
            row.append(card)


def _sample_width(split: SplitTiles) -> int:
    tiles = [*split.samples, *split.noted]
    return max((tile.crop.shape[1] + tile.maps.shape[1] + 2 for tile in tiles), default=320) + 2 * _PAD_PX


def _sample_card(tile: SampleTile, width: int) -> Pixels:
    extra = tile.lines[2] if len(tile.lines) > 2 else ""
    card = _blank(width, TILE_HEIGHT_PX + _PAD_PX + (_CAPTION_PX if extra else _SHORT_CAPTION_PX), _CARD)
    inner = tile.crop.shape[1] + tile.maps.shape[1] + 2
    x = (width - inner) // 2
    card[_PAD_PX : _PAD_PX + TILE_HEIGHT_PX, x : x + tile.crop.shape[1]] = tile.crop
    card[_PAD_PX : _PAD_PX + TILE_HEIGHT_PX, x + inner - tile.maps.shape[1] : x + inner] = tile.maps
    top = TILE_HEIGHT_PX + _PAD_PX
    _caption(card, top, tile.title, " | ".join(tile.lines[:2]), extra)
    return card


def _caption(card: Pixels, top: int, title: str, line: str, extra: str, title_colour: Colour = _INK) -> None:
    room = card.shape[1] - 2 * _PAD_PX
    draw_text(card, (_PAD_PX, top + 18), fit_text(title, room, size_px=15, bold=True), size_px=15, colour=title_colour,
              bold=True)  # fmt: skip
    draw_text(card, (_PAD_PX, top + 36), fit_text(line, room, size_px=13), size_px=13, colour=_FAINT)
    if extra:
        draw_text(card, (_PAD_PX, top + 53), fit_text(extra, room, size_px=13), size_px=13, colour=_ASIDE)


def _problem_card(tile: ProblemTile, width: int) -> Pixels:
    card = _blank(width, TILE_HEIGHT_PX + _CAPTION_PX + _PAD_PX, _CARD)
    stage = card[_PAD_PX : _PAD_PX + TILE_HEIGHT_PX, _PAD_PX : width - _PAD_PX]
    colour = _BAD if tile.fate == "reject" else _ASIDE
    if tile.picture is None:
        stage[:] = (46, 49, 57)
        text = "no picture to show"
        draw_text(stage, (stage.shape[1] // 2 - 62, TILE_HEIGHT_PX // 2), text, size_px=15, colour=_FAINT)
    else:
        height, own_width = tile.picture.shape[:2]
        y, x = (TILE_HEIGHT_PX - height) // 2, (stage.shape[1] - own_width) // 2
        stage[y : y + height, x : x + own_width] = tile.picture
    meaning = PROBLEMS[tile.code].meaning if tile.code in PROBLEMS else ""
    detail = tile.detail or meaning
    _caption(card, TILE_HEIGHT_PX + _PAD_PX, tile.code, tile.title, "", colour)
    draw_text(card, (_PAD_PX, TILE_HEIGHT_PX + _PAD_PX + 53), fit_text(detail, width - 2 * _PAD_PX, size_px=13),
              size_px=13, colour=_INK)  # fmt: skip
    return card
