"""Decoding a COCO annotation file for evaluation: quickly where every record is as it should be, else carefully."""

import gc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import msgspec

from pose_data.errors import InputError
from pose_data.evaluation.json_pieces import load_loosely
from pose_data.evaluation.record_faults import flattened, whole_number
from pose_data.paths import shown

__all__ = ["Annotation", "AnnotationFile", "ImageRecord", "decode_annotations"]


_Whole = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
"""What int64 holds, for such an array is made of them; the decoder itself refuses others."""


class Annotation(msgspec.Struct, gc=False):
    """One annotation as decoded; None where a field is missing."""

    image_id: _Whole
    id: _Whole | None = None
    category_id: _Whole | None = None
    keypoints: list[float] | None = None
    bbox: list[float] | None = None
    area: float | None = None
    iscrowd: _Whole | None = None
    num_keypoints: _Whole | None = None
    foot_kpts: list[float] | None = None
    face_kpts: list[float] | None = None
    lefthand_kpts: list[float] | None = None
    righthand_kpts: list[float] | None = None


class ImageRecord(msgspec.Struct, gc=False):
    """One image record; None where a field is missing."""

    id: _Whole
    width: _Whole | None = None
    height: _Whole | None = None
    file_name: str | None = None


class AnnotationFile(msgspec.Struct):
    """The three lists of a COCO file; categories as they are."""

    images: list[ImageRecord]
    annotations: list[Annotation]
    categories: list[Any] = []


def decode_annotations(data: bytes, path: Path) -> AnnotationFile:
    """Decode a COCO annotation file. Raises InputError: what is wrong, and in which record."""
    try:
        if not data.isascii():
            data.decode("utf-8")  # msgspec does not look into texts that it skips
        with _collector_resting():
            return _decoder().decode(memoryview(data)[3 if data[:3] == b"\xef\xbb\xbf" else 0 :])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # Validation errors are among them; the careful way reads more, or says what is wrong.
        return _decoded_carefully(load_loosely(data, path), path)


@contextmanager
def _collector_resting() -> Iterator[None]:
    """Let the garbage collector rest: it would look through all the new lists, again and again, for nothing."""
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if on:
            gc.enable()


def _decoder() -> "msgspec.json.Decoder[AnnotationFile]":
    return msgspec.json.Decoder(AnnotationFile)


def _decoded_carefully(value: Any, path: Path) -> AnnotationFile:
    if isinstance(value, list):
        raise _wrong_kind("a list, as results are", "give the annotation file here, and results as results", path)
    if not isinstance(value, dict):
        raise _wrong_kind("a single value", "give a COCO keypoint file", path)
    missing = [key for key in ("images", "annotations") if not isinstance(value.get(key), list)]
    if missing:
        keys = ", ".join(shown(str(key), 30) for key in list(value)[:5]) or "none"
        raise _wrong_kind(
            f'an object without a list "{missing[0]}" (its keys: {keys})', "give a COCO keypoint file", path
        )
    categories = value.get("categories")
    return AnnotationFile(
        images=[_image(number, one, path) for number, one in enumerate(value["images"])],
        annotations=[_annotation(number, one, path) for number, one in enumerate(value["annotations"])],
        categories=categories if isinstance(categories, list) else [],
    )


def _wrong_kind(found: str, hint: str, path: Path) -> InputError:
    return InputError(
        "json-wrong-kind", f"{path.name} is no COCO keypoint file: found {found}", where=str(path), hint=hint
    )


def _image(number: int, value: Any, path: Path) -> ImageRecord:
    identity = whole_number(value.get("id")) if isinstance(value, dict) else None
    if identity is None:
        found = value.get("id") if isinstance(value, dict) else None
        great = f" below 2**63: {shown(str(found), 30)[1:-1]}" if isinstance(found, int) else ""
        raise InputError(
            "image-id-value", f"{path.name}: image {number} has no whole number as its id{great}",
            where=f"{path}, image {number}",
            hint="image ids are whole numbers below 2**63, in images, annotations and results",
        )  # fmt: skip
    name = value.get("file_name")
    return ImageRecord(
        identity, whole_number(value.get("width")), whole_number(value.get("height")),
        name if isinstance(name, str) else None,
    )  # fmt: skip


def _number(value: Any) -> float | None:
    flat = flattened([value])
    return flat[0] if flat else None


_FIELDS: Mapping[str, tuple[Callable[[Any], Any], str]] = {
    "image_id": (whole_number, "a whole number"),
    "id": (whole_number, "a whole number"),
    "category_id": (whole_number, "a whole number"),
    "keypoints": (flattened, "a list of numbers"),
    "bbox": (flattened, "a list of numbers"),
    "area": (_number, "a number"),
    "iscrowd": (lambda value: int(value) if isinstance(value, bool) else whole_number(value), "0 or 1"),
    "num_keypoints": (whole_number, "a whole number"),
    "foot_kpts": (flattened, "a list of numbers"),
    "face_kpts": (flattened, "a list of numbers"),
    "lefthand_kpts": (flattened, "a list of numbers"),
    "righthand_kpts": (flattened, "a list of numbers"),
}


def _annotation(number: int, value: Any, path: Path) -> Annotation:
    if not isinstance(value, dict) or "image_id" not in value:
        what = "has no image_id" if isinstance(value, dict) else "is not an object"
        raise InputError(
            "annotation-invalid", f"{path.name}: annotation {number} {what}", where=f"{path}, annotation {number}",
            hint="write it again with the program that made it",
        )  # fmt: skip
    fields: dict[str, Any] = {}
    for name, (convert, expected) in _FIELDS.items():
        if value.get(name) is None:
            continue
        fields[name] = convert(value[name])
        if fields[name] is None:
            found = shown(repr(value[name]), 60)[1:-1]
            if convert is whole_number and isinstance(value[name], int):
                expected += " below 2**63"
            raise InputError(
                "annotation-invalid",
                f"{path.name}: {name} of annotation {number} (image {shown(str(value['image_id']), 30)[1:-1]}) is not "
                f"{expected}: {found}",
                where=f"{path}, annotation {number}", hint=f"{name} is {expected}",
            )  # fmt: skip
    if "image_id" not in fields:
        raise InputError("annotation-invalid", f"{path.name}: annotation {number} has no image_id", where=str(path))
    return Annotation(**fields)
