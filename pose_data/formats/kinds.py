"""What kind of JSON file this is, and which of its categories carries the skeleton."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import msgspec

from pose_data.errors import InputError
from pose_data.formats.json_records import JsonFile, UnreadableRecord, decode_loosely
from pose_data.paths import shown
from pose_data.skeleton import Skeleton

__all__ = ["Categories", "choose_category", "wrong_kind"]

_SAMPLED_RECORDS = 2000
_SHOWN_NAMES = 40
_OFFICIAL = "give a COCO keypoint file, such as annotations/person_keypoints_val2017.json"
# Keys of the file itself -> what it looks like, what to do. The first row whose keys are all there fits.
_FILE_KINDS: tuple[tuple[frozenset[str], str, str], ...] = (
    (frozenset({"shapes", "imagePath"}), "a labelme file (one picture)", "convert the folder to COCO keypoints first"),
    (frozenset({"_via_img_metadata"}), "a VGG Image Annotator project", "export it as COCO first"),
    (frozenset({"people", "version"}), "an OpenPose output", "it holds predictions of one picture; " + _OFFICIAL),
    (frozenset({"type", "features"}), "a GeoJSON file", _OFFICIAL),
    (frozenset({"images", "categories"}), "COCO image information without annotations (a test set)", _OFFICIAL),
    (frozenset({"annotations", "categories"}), "a COCO file without its list of images", _OFFICIAL),
    (frozenset({"images", "annotations"}), "a COCO file without categories (captions?)", _OFFICIAL),
)
# Keys of the first record of a list at the top.
_LIST_KINDS: tuple[tuple[frozenset[str], str, str], ...] = (
    (
        frozenset({"image_id", "keypoints", "score"}),
        "a list of keypoint results (predictions)",
        "an evaluation reads it; as input " + _OFFICIAL,
    ),
    (frozenset({"image_id", "bbox", "score"}), "a list of detection results (boxes)", _OFFICIAL),
    (frozenset({"image_id", "caption"}), "a list of caption results", _OFFICIAL),
    (frozenset({"joints", "joints_vis"}), "an MPII file of the SimpleBaseline kind", "convert it to COCO keypoints"),
    (frozenset({"keypoint_annotations"}), "an AI Challenger file", "convert it to COCO keypoints"),
)
# Keys of an annotation record in a file whose lists are right.
_RECORD_KINDS: tuple[tuple[frozenset[str], str], ...] = (
    (frozenset({"segments_info"}), "a COCO panoptic file"),
    (frozenset({"caption"}), "a COCO captions file"),
    (frozenset({"bbox"}), "a COCO instances file: boxes without keypoints"),
    (frozenset({"segmentation"}), "a COCO segmentation file without keypoints"),
)
# Number of keypoints -> the data sets that have it (their own papers or annotation files).
_SKELETONS = {
    13: "PoseTrack-like",
    14: "CrowdPose or AI Challenger",
    15: "JHMDB or PoseTrack 2017",
    16: "MPII",
    17: "COCO, OCHuman or PoseTrack 2018",
    18: "OpenPose's COCO",
    20: "AnimalPose",
    21: "hands, or Human-Art",
    23: "COCO with feet",
    25: "OpenPose's BODY_25",
    26: "Halpe",
    40: "MPII-TRB",
    68: "faces (300W)",
    133: "COCO-WholeBody",
    136: "Halpe full body",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Categories:
    """The categories of a file by id, and the one that carries the skeleton."""

    names: dict[int, str]
    chosen: int


class _Category(msgspec.Struct, kw_only=True):
    id: int
    name: str = ""
    keypoints: msgspec.Raw = msgspec.Raw(b"[]")

    def keypoint_names(self) -> list[str]:
        """Return the names; empty where there is no list of texts."""
        try:
            return msgspec.json.decode(self.keypoints, type=list[str])
        except (msgspec.DecodeError, UnicodeDecodeError):
            return []


def wrong_kind(file: JsonFile) -> InputError:
    """Return the error for valid JSON that does not have the three lists of a COCO file.

    Raises InputError ``json-invalid`` where the file turns out to be broken further on.
    """
    return _wrong_kind(file.path, *_look(file))


def _wrong_kind(path: Path, looks_like: str, hint: str) -> InputError:
    return InputError(
        "json-wrong-kind", f"this is not a COCO keypoint file: it looks like {looks_like}", where=str(path), hint=hint
    )


def _look(file: JsonFile) -> tuple[str, str]:
    top = file.decode(msgspec.json.Decoder(msgspec.Raw))
    start = bytes(memoryview(top)[:1])
    if start == b"[":
        return _look_at_list(msgspec.json.decode(top, type=list[msgspec.Raw]))
    if start != b"{":
        return "a single value", _OFFICIAL
    try:
        fields = msgspec.json.decode(top, type=dict[str, msgspec.Raw])
    except UnicodeDecodeError:
        return "an object whose keys are not UTF-8", _OFFICIAL
    for name in ("images", "annotations", "categories"):
        if name in fields and bytes(memoryview(fields[name])[:1]) != b"[":
            return f"an object whose {name!r} is not a list", _OFFICIAL
    for keys, looks_like, hint in _FILE_KINDS:
        if keys <= set(fields):
            return looks_like, hint
    if not fields:
        return "an empty object", _OFFICIAL
    keys_shown = ", ".join(shown(key, 30) for key in list(fields)[:8])
    return f"an object with the keys {keys_shown}; images, annotations and categories are needed", _OFFICIAL


def _look_at_list(records: list[msgspec.Raw]) -> tuple[str, str]:
    keys = _keys(records[0]) if records else frozenset()
    for wanted, looks_like, hint in _LIST_KINDS:
        if wanted <= keys:
            return looks_like, hint
    if not records:
        return "an empty list (of results?)", _OFFICIAL
    return "a list; images, annotations and categories are needed", _OFFICIAL


def _keys(raw: msgspec.Raw) -> frozenset[str]:
    try:
        value = decode_loosely(raw)
    except UnreadableRecord:
        return frozenset()
    return frozenset(map(str, value)) if isinstance(value, dict) else frozenset()


def choose_category(
    raws: Sequence[msgspec.Raw], annotations: Sequence[msgspec.Raw], skeleton: Skeleton, path: Path
) -> Categories:
    """Return the categories and the one whose records have the skeleton's keypoints.

    The lengths of keypoint lists are taken from up to 2,000 records, evenly spaced. Raises InputError
    ``json-wrong-kind`` (no keypoints anywhere, no category), ``keypoints-other-skeleton`` (most
    records have another number of keypoints) or ``skeleton-mismatch`` (other names or order).
    """
    categories = _read_categories(raws)
    if not categories:
        raise _wrong_kind(path, "a COCO file with an empty list of categories", _OFFICIAL)
    lengths = _sampled_lengths(annotations, path)
    chosen = _best_category(categories, skeleton)
    names = {category.id: category.name for category in categories}
    counts = lengths.get(chosen.id, Counter()) if chosen is not None else sum(lengths.values(), Counter[int]())
    _refuse_other_lengths(counts, skeleton, path)
    if chosen is None:
        raise _no_category(categories, skeleton, path)
    names_in_file = chosen.keypoint_names()
    if names_in_file and not _names_agree(names_in_file, counts, skeleton):
        raise _names_differ(chosen, names_in_file, skeleton, path)
    return Categories(names=names, chosen=chosen.id)


def _read_categories(raws: Sequence[msgspec.Raw]) -> list[_Category]:
    found: dict[int, _Category] = {}
    for raw in raws:
        try:
            category = msgspec.json.decode(raw, type=_Category)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
        found.setdefault(category.id, category)
    return list(found.values())


class _Shape(msgspec.Struct):
    """As much of an annotation as tells which skeleton it has; the rest is skipped over, unread."""

    keypoints: object = None
    category_id: object = None


def _sampled_lengths(annotations: Sequence[msgspec.Raw], path: Path) -> dict[int, Counter[int]]:
    """Return, for each category id, how often each length of a non-empty keypoint list occurs."""
    lengths: dict[int, Counter[int]] = {}
    first_keys: frozenset[str] | None = None
    for raw in annotations[:: max(1, len(annotations) // _SAMPLED_RECORDS)]:
        try:
            if first_keys is None and isinstance(record := decode_loosely(raw), dict):
                first_keys = frozenset(record)
            shape = msgspec.json.decode(raw, type=_Shape)
        except (UnreadableRecord, msgspec.DecodeError, UnicodeDecodeError):
            continue
        keypoints, category = shape.keypoints, shape.category_id
        if isinstance(keypoints, list) and keypoints and isinstance(category, int):
            lengths.setdefault(category, Counter())[len(keypoints)] += 1
    if first_keys is not None and not lengths and not any(b'"keypoints"' in bytes(raw) for raw in annotations):
        kinds = (looks_like for keys, looks_like in _RECORD_KINDS if keys <= first_keys)
        raise _wrong_kind(path, next(kinds, "a file whose annotations have no keypoints"), _OFFICIAL)
    return lengths


def _plain(name: str) -> str:
    return name.strip().lower().replace(" ", "_").replace("-", "_")


def _best_category(categories: Sequence[_Category], skeleton: Skeleton) -> _Category | None:
    wanted = skeleton.name.rpartition("-")[2]
    expected = [_plain(name) for name in skeleton.names]

    def rank(category: _Category) -> tuple[bool, bool, bool]:
        names = [_plain(name) for name in category.keypoint_names()]
        return names == expected, _plain(category.name) == wanted, bool(names)

    best = max(categories, key=rank)
    return best if any(rank(best)) or len(categories) == 1 else None


def _refuse_other_lengths(counts: Counter[int], skeleton: Skeleton, path: Path) -> None:
    expected = 3 * skeleton.keypoint_count
    length, count = max(counts.items(), key=lambda item: item[1], default=(expected, 0))
    if length == expected or 2 * count <= counts.total():
        return
    if length % 3:
        found = f"{length} numbers, which is not 3 (x, y, visibility) for each keypoint"
        hint = "write x, y and a visibility of 0, 1 or 2 for each keypoint"
    else:
        found = f"{length // 3} keypoints"
        fits = _SKELETONS.get(length // 3, "none that we know")
        hint = f"a skeleton of {length // 3} keypoints: {fits}; this reader was asked for {skeleton.name}"
    raise InputError(
        "keypoints-other-skeleton",
        f"most records ({count:,} of {counts.total():,} looked at) have {found}; "
        f"{skeleton.name} has {skeleton.keypoint_count}",
        where=str(path),
        hint=hint,
    )


def _names_agree(names: Sequence[str], counts: Counter[int], skeleton: Skeleton) -> bool:
    expected = [_plain(name) for name in skeleton.names]
    found = [_plain(name) for name in names]
    # Human-Art names 21 keypoints and keeps the last four in a list of their own: the first 17 are COCO's.
    records_fit = counts[3 * skeleton.keypoint_count] > 0
    return found == expected or (records_fit and found[: len(expected)] == expected)


def _names_differ(category: _Category, names: Sequence[str], skeleton: Skeleton, path: Path) -> InputError:
    lines = [f"{'':>5}  {'the file':<32}  {skeleton.name}"]
    for index, (found, expected) in enumerate(zip_longest(names, skeleton.names)):
        if index == _SHOWN_NAMES:
            lines.append(f"{'':>5}  …")
            break
        same = found is not None and expected is not None and _plain(found) == _plain(expected)
        text = "(nothing)" if found is None else shown(found, 30)
        lines.append(f"{'' if same else '≠':>2}{index:>3}  {text:<32}  {expected or '(nothing)'}")
    return InputError(
        "skeleton-mismatch",
        f"category {category.id} ({shown(category.name, 40)}) has other keypoints, or another order:\n"
        + "\n".join(lines)
        + "\n",
        where=str(path),
        hint=f"reorder the keypoints to those of {skeleton.name}",
    )


def _no_category(categories: Sequence[_Category], skeleton: Skeleton, path: Path) -> InputError:
    listed = ", ".join(f"{category.id} {shown(category.name, 30)}" for category in categories[:10])
    return InputError(
        "skeleton-mismatch",
        f"none of the {len(categories)} categories has keypoints or is named "
        f"{skeleton.name.rpartition('-')[2]!r}: {listed}",
        where=str(path),
        hint="give the category of the persons the list 'keypoints' with the names of its keypoints",
    )
