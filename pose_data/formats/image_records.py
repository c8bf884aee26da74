"""The ``images`` list of a COCO file: names, sizes and identity of the pictures."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
import numpy.typing as npt

from pose_data.errors import InputError
from pose_data.formats.json_records import MAX_RECORD_BYTES, UnreadableRecord, decode_loosely, described
from pose_data.paths import shown, unsafe_name

__all__ = ["ImageIndex", "read_images"]

_NAMED = 10
_Identity = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_Side = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]


class _ImageRecord(msgspec.Struct, kw_only=True, gc=False):
    id: _Identity
    file_name: str
    width: _Side | None = None
    height: _Side | None = None


@dataclass(frozen=True, slots=True)
class _Reading:
    """One picture record as far as it could be read; sides are 0 where unknown."""

    id: int | None
    file_name: str | None
    width_px: int = 0
    height_px: int = 0
    problem: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageIndex:
    """The usable pictures of a file, column by column.

    ``widths_px`` and ``heights_px`` (n,) int32, 0 where the record names none. ``bad_sizes`` (by
    position) and ``broken`` (by picture id) say in words what is wrong with a record. ``twice`` (n,)
    bool: another record names the same file. ``notes`` are (code, detail) about whole records.
    """

    positions: Mapping[int, int]
    file_names: Sequence[str]
    widths_px: npt.NDArray[np.int32]
    heights_px: npt.NDArray[np.int32]
    bad_sizes: Mapping[int, str]
    broken: Mapping[int, str]
    twice: npt.NDArray[np.bool_]
    notes: tuple[tuple[str, str], ...]


def read_images(raws: Sequence[msgspec.Raw], path: Path, *, allow_outside: bool) -> ImageIndex:
    """Read the picture records of the file at ``path``.

    Raises InputError ``image-id-duplicate`` or, unless ``allow_outside``, ``path-outside-root``.
    """
    decoder = msgspec.json.Decoder(_ImageRecord)
    sizes = np.zeros((len(raws), 2), np.int32)
    all_ids: list[int] = []
    ids: list[int] = []
    file_names: list[str] = []
    bad_sizes: dict[int, str] = {}
    broken: dict[int, str] = {}
    notes: list[tuple[str, str]] = []
    for index, raw in enumerate(raws):
        found = _read_image(raw, decoder)
        if found.problem is not None:
            notes.append((found.problem[0], f"images[{index}]: {found.problem[1]}"))
        if found.id is None:
            continue
        all_ids.append(found.id)
        if found.file_name is None:
            broken[found.id] = found.problem[1] if found.problem else ""
            continue
        if found.problem is not None:
            bad_sizes[len(ids)] = found.problem[1]
        sizes[len(ids)] = found.width_px, found.height_px
        ids.append(found.id)
        file_names.append(found.file_name)
    _refuse_duplicate_ids(all_ids, path)
    if not allow_outside:
        _refuse_unsafe_names(ids, file_names, path)
    repeated = {name for name, count in Counter(file_names).items() if count > 1}
    twice = np.fromiter((name in repeated for name in file_names), np.bool_, len(file_names))
    notes += [("file-twice", f"{shown(name)} is named by more than one image record") for name in sorted(repeated)]
    return ImageIndex(
        positions={identity: position for position, identity in enumerate(ids)},
        file_names=file_names,
        widths_px=sizes[: len(ids), 0],
        heights_px=sizes[: len(ids), 1],
        bad_sizes=bad_sizes,
        broken=broken,
        twice=twice,
        notes=tuple(notes),
    )


def _read_image(raw: msgspec.Raw, decoder: "msgspec.json.Decoder[_ImageRecord]") -> _Reading:
    if len(memoryview(raw)) <= MAX_RECORD_BYTES:
        try:
            record = decoder.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return _read_image_loosely(raw)
        return _Reading(record.id, record.file_name, record.width or 0, record.height or 0)
    return _read_image_loosely(raw)


def _read_image_loosely(raw: msgspec.Raw) -> _Reading:
    try:
        value = decode_loosely(raw)
    except UnreadableRecord as error:
        return _Reading(None, None, problem=("not-an-object", error.detail))
    if not isinstance(value, dict):
        return _Reading(None, None, problem=("not-an-object", f"the record is {described(value)}"))
    identity = _whole(value.get("id"), -(2**63), 2**63 - 1)
    if identity is None:
        return _Reading(None, None, problem=("num-not-finite", f"id is {described(value.get('id'))}"))
    name = value.get("file_name")
    if not isinstance(name, str):
        return _Reading(identity, None, problem=("image-unknown", f"picture {identity}: no file_name"))
    sides: list[int] = []
    for field in ("width", "height"):
        side = _whole(value.get(field), 1, 2**31 - 1)
        if side is None and value.get(field) is not None:
            detail = f"picture {identity}: {field} is {described(value[field])}"
            return _Reading(identity, name, problem=("num-not-finite", detail))
        sides.append(side or 0)
    return _Reading(identity, name, sides[0], sides[1])


def _whole(value: object, least: int, most: int) -> int | None:
    """Return ``value`` as a whole number between the bounds (1.0 is one), else None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, float) and not value.is_integer():
        return None
    return int(value) if least <= value <= most else None


def _refuse_duplicate_ids(ids: Sequence[int], path: Path) -> None:
    repeated = sorted(identity for identity, count in Counter(ids).items() if count > 1)
    if repeated:
        more = f" and {len(repeated) - _NAMED:,} more" if len(repeated) > _NAMED else ""
        raise InputError(
            "image-id-duplicate",
            f"{len(repeated):,} picture ids are used by more than one image record: "
            f"{', '.join(map(str, repeated[:_NAMED]))}{more}",
            where=str(path),
            hint="give every picture an id of its own; merged files need their ids renumbered",
        )


def _refuse_unsafe_names(ids: Sequence[int], file_names: Sequence[str], path: Path) -> None:
    for identity, name in zip(ids, file_names, strict=True):
        reason = unsafe_name(name)
        if reason is not None:
            raise InputError(
                "path-outside-root",
                f"picture {identity} names the file {shown(name)}: {reason}",
                where=str(path),
                hint="correct the annotation file; if you trust it, give --allow-outside",
            )
