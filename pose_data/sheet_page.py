"""The contact sheet as one web page, its pictures inside it."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from html import escape

import numpy as np
import numpy.typing as npt

from pose_data.errors import PROBLEMS
from pose_data.imaging import encode_jpeg
from pose_data.paths import shown
from pose_data.sheet_picture import describe_recipe
from pose_data.sheet_tiles import ProblemTile, SampleTile, SplitTiles

__all__ = ["render_page"]

_JPEG_QUALITY = 88
_STYLE = """
:root { color-scheme: light dark; --paper: #f6f7f9; --card: #fff; --ink: #16181d; --faint: #5f6673; --rule: #dde0e6;
  --bad: #c92a2a; --aside: #8a6100; }
@media (prefers-color-scheme: dark) { :root { --paper: #181a1f; --card: #24272e; --ink: #eef0f4; --faint: #9aa0ac;
  --rule: #3e424c; --bad: #ff6b6b; --aside: #ffd666; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 2200px; padding: 1.5rem 2rem 3rem; background: var(--paper); color: var(--ink);
  font: 14px/1.45 system-ui, sans-serif; }
h1 { font-size: 1.7rem; margin: 0 0 .2rem; } h2 { font-size: 1.3rem; margin: 2rem 0 .1rem; padding-top: 1rem;
  border-top: 1px solid var(--rule); } h3 { font-size: 1.05rem; margin: 1.6rem 0 .1rem; }
p { margin: .1rem 0 .7rem; color: var(--faint); }
.key span { margin-right: 1.4em; white-space: nowrap; } .key i { display: inline-block; width: .8em; height: .8em;
  border-radius: 50%; margin-right: .45em; vertical-align: -1px; border: 1px solid #101216; }
.codes { margin: .2rem 0 .8rem; border-collapse: collapse; } .codes td { padding: .1rem 1.1rem .1rem 0; }
.codes td:nth-child(2) { text-align: right; font-variant-numeric: tabular-nums; }
.codes td:last-child { color: var(--faint); }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(320px, 1fr)); gap: 12px; }
figure { margin: 0; padding: 8px; background: var(--card); border-radius: 6px; min-width: 0; }
.pictures { display: flex; gap: 2px; justify-content: center; align-items: center; min-height: 100px; }
.pictures img { max-width: 50%; height: auto; } .one img { max-width: 100%; }
figcaption { margin-top: 6px; overflow-wrap: anywhere; color: var(--faint); font-size: 12.5px; }
figcaption b { color: var(--ink); font-size: 14px; }
.reject b { color: var(--bad); } .filter b, .note { color: var(--aside); }
"""
_KEY = (
    ("#ff9f1c", "left of the body"),
    ("#33b5ff", "right"),
    ("#e8e8e8", "neither"),
    ("radial-gradient(#101216 45%, #e8e8e8 50%)", "labelled, hidden"),
)


def render_page(store: str, splits: Sequence[SplitTiles]) -> bytes:
    """Return the page as UTF-8 bytes."""
    title = escape(shown(store)[1:-1])
    key = "".join(f'<span><i style="background:{colour}"></i>{escape(label)}</span>' for colour, label in _KEY)
    body = "".join(part for split in splits for part in _split(split))
    page = (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}: contact sheet</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head>\n'
        f'<body><h1>{title}</h1><p class="key">{key}</p>\n{body}</body></html>\n'
    )
    return page.encode("utf-8", "backslashreplace")


def _split(split: SplitTiles) -> Iterator[str]:
    total = split.kept + split.rejected
    counts = f"{split.kept:,} persons kept, {split.rejected:,} of {total:,} records left out"
    yield f"<h2>{escape(split.split)}</h2><p>{counts}; {escape(describe_recipe(split.facts))}</p>\n"
    yield _grid(_sample(tile) for tile in split.samples)
    if split.noted:
        yield f"<h3>Kept, with a note</h3>{_codes(split.notes)}"
        yield _grid(_sample(tile) for tile in split.noted)
    if split.problems:
        yield f"<h3>Left out</h3>{_codes(split.counts)}"
        yield _grid(_problem(tile) for tile in split.problems)


def _codes(counts: Mapping[str, int]) -> str:
    rows = "".join(
        f"<tr><td>{escape(code)}</td><td>{count:,}</td>"
        f"<td>{escape(PROBLEMS[code].meaning if code in PROBLEMS else '')}</td></tr>"
        for code, count in counts.items()
    )
    return f'<table class="codes">{rows}</table>\n'


def _grid(figures: Iterator[str]) -> str:
    return f'<div class="grid">{"".join(figures)}</div>\n'


def _sample(tile: SampleTile) -> str:
    lines = [escape(line) for line in tile.lines[:2]]
    note = f'<br><span class="note">{escape(tile.lines[2])}</span>' if len(tile.lines) > 2 else ""
    pictures = _image(tile.crop, f"{tile.title}: crop with skeleton") + _image(tile.maps, f"{tile.title}: maps")
    return (
        f'<figure><div class="pictures">{pictures}</div>'
        f"<figcaption><b>{escape(tile.title)}</b><br>{' · '.join(lines)}{note}</figcaption></figure>\n"
    )


def _problem(tile: ProblemTile) -> str:
    picture = "<p>no picture to show</p>" if tile.picture is None else _image(tile.picture, tile.title)
    return (
        f'<figure class="{escape(tile.fate)}"><div class="pictures one">{picture}</div><figcaption>'
        f"<b>{escape(tile.code)}</b><br>{escape(tile.title)}<br>{escape(tile.detail)}</figcaption></figure>\n"
    )


def _image(pixels: npt.NDArray[np.uint8], text: str) -> str:
    data = base64.b64encode(encode_jpeg(np.ascontiguousarray(pixels), _JPEG_QUALITY)).decode("ascii")
    height, width = pixels.shape[:2]
    size = f'width="{width}" height="{height}"'
    return f'<img src="data:image/jpeg;base64,{data}" {size} alt="{escape(text)}" loading="lazy">'
