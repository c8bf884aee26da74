"""The error tree, the exit codes, and the stable codes of problems and findings.

Drawn once, here::

    PoseError                     exit 1   our bug
    ├── UsageError                exit 2   unknown option or name, output exists
    ├── InputError                exit 3   the annotation file or too many records are unusable
    ├── StoreError                exit 4   the store is unfinished or not a posedata store
    │   └── DamageError           exit 4   bytes of a finished store are not what was recorded
    ├── BusyError                 exit 5   somebody else is writing the store
    ├── StorageError              exit 6   the disk, the file system or the cluster failed
    ├── ResumeMismatchError       exit 7   options, source or versions differ from the unfinished run
    ├── GateError                 exit 8   a limit the user asked for was not met
    ├── ModelError                exit 9   a network, checkpoint or training failed
    └── InterruptedRun            exit 130 (SIGINT) or 143 (SIGTERM); finished work is kept

A *problem* is something wrong with an input record, a *finding* something wrong with a store.
Both have stable codes, listed in :data:`PROBLEMS` and :data:`FINDINGS`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

__all__ = [
    "FINDINGS",
    "PROBLEMS",
    "BusyError",
    "DamageError",
    "Fate",
    "GateError",
    "InputError",
    "InterruptedRun",
    "ModelError",
    "PoseError",
    "ProblemKind",
    "ResumeMismatchError",
    "StorageError",
    "StoreError",
    "UsageError",
]


class PoseError(Exception):
    """What every error raised on purpose by this project is.

    The text reads "what happened — where — what was done about it"; ``hint`` says what the
    user can do and is printed on its own line.
    """

    exit_code = 1

    def __init__(self, code: str, message: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(code, message, where, hint)
        self.code = code
        self.message = message
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        text = f"{self.message} [{self.code}]" if not self.where else f"{self.message} — {self.where} [{self.code}]"
        return f"{text}\n\nhint: {self.hint}" if self.hint else text

    def fields(self) -> dict[str, str]:
        """Return the error as plain text fields, for a process that reads another's."""
        kind = type(self).__name__
        return {"kind": kind, "code": self.code, "message": self.message, "where": self.where, "hint": self.hint}

    @staticmethod
    def from_fields(fields: Mapping[str, str]) -> "PoseError":
        """Return the error that :meth:`fields` described."""
        kinds = {kind.__name__: kind for kind in _all_kinds(PoseError)}
        return _rebuild(kinds[fields["kind"]], fields["code"], fields["message"], fields["where"], fields["hint"])

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only arguments do not survive the default pickling, and errors cross processes.
        return (_rebuild, (type(self), self.code, self.message, self.where, self.hint))


def _rebuild(kind: type[PoseError], code: str, message: str, where: str, hint: str) -> PoseError:
    return kind(code, message, where=where, hint=hint)


def _all_kinds(kind: type[PoseError]) -> list[type[PoseError]]:
    return [kind, *(below for child in kind.__subclasses__() for below in _all_kinds(child))]


class UsageError(PoseError):
    """The call itself is wrong: an unknown option or name, or an output that already exists."""

    exit_code = 2


class InputError(PoseError):
    """The input as a whole cannot be used: a fatal annotation file, or too many bad records."""

    exit_code = 3


class StoreError(PoseError):
    """The store is unfinished, of another version, or not ours."""

    exit_code = 4


class DamageError(StoreError):
    """Bytes of a store differ from what was recorded when they were written."""


class BusyError(PoseError):
    """Another process holds the store."""

    exit_code = 5


class StorageError(PoseError):
    """The disk is full, the place is read-only, or the cluster failed; finished work is kept."""

    exit_code = 6


class ResumeMismatchError(PoseError):
    """The unfinished work was started with other options, sources or versions."""

    exit_code = 7


class GateError(PoseError):
    """A limit that the user set on a result was not met."""

    exit_code = 8


class ModelError(PoseError):
    """A network or checkpoint does not fit, or a training failed."""

    exit_code = 9


class InterruptedRun(PoseError):
    """The run was stopped by a signal; finished work is kept."""

    exit_code = 130


Fate = Literal["reject", "filter", "note"]


@dataclass(frozen=True, slots=True)
class ProblemKind:
    """What a problem code stands for.

    ``fate``: *reject* (bad record, counts against ``--max-bad``), *filter* (a good record that the
    recipe does not want), *note* (kept, counted).
    """

    fate: Fate
    meaning: str


_REJECT: dict[str, str] = {
    "not-an-object": "the record is not a JSON object",
    "num-not-finite": "a number is NaN, infinite, text, null or a boolean",
    "image-unknown": "image_id names no picture of this file",
    "image-size-missing": "the recipe needs the picture's size and the annotation file does not say it",
    "category-unknown": "category_id names no category of this file",
    "kpt-missing": "the record has no list of keypoints",
    "kpt-length": "the keypoint list is not 3 numbers for each keypoint of the skeleton",
    "kpt-visibility": "a visibility flag is not 0, 1 or 2",
    "box-missing": "the record has no box",
    "box-invalid": "the box has no positive width and height",
    "box-outside": "the box lies entirely outside the picture",
    "mask-missing": "the recipe needs a person mask and the record has no usable segmentation",
    "img-missing": "the picture's file does not exist",
    "img-unreadable": "the picture's file cannot be read",
    "img-not-an-image": "the file's bytes are not a picture of a supported type",
    "img-truncated": "the picture's data ends early or is corrupt",
    "img-too-large": "the picture's header promises more pixels than the limit",
    "img-mode": "the picture's colour mode is not supported",
    "img-animated": "the file holds more than one frame",
    "img-size-mismatch": "the pixels' size differs from the size in the annotation file",
    "img-crash": "decoding this picture crashed the decoder or did not end",
}
_FILTER: dict[str, str] = {
    "filter-category": "not of the category that the skeleton belongs to",
    "filter-crowd": "marked iscrowd",
    "filter-keypoints": "fewer labelled keypoints than the recipe asks for",
    "filter-area": "the box is smaller than the recipe asks for",
    "filter-polygons": "not exactly one segmentation polygon",
}
_NOTE: dict[str, str] = {
    "id-duplicate": "another record has the same annotation id",
    "id-zero": "the annotation id is 0 or missing",
    "num-keypoints-wrong": "num_keypoints differs from the number of flags above 0",
    "kpt-labelled-at-origin": "a keypoint has a flag above 0 but lies at (0, 0)",
    "kpt-unlabelled-with-position": "a keypoint has flag 0 but coordinates",
    "kpt-outside-image": "a labelled keypoint lies outside the picture; its map is empty where outside the crop",
    "box-partly-outside": "the box reaches over the picture's border; the crop is padded",
    "box-from-keypoints": "the box was made from the keypoints, as asked for",
    "area-missing": "area is missing or 0; evaluation needs it",
    "file-twice": "two image records name the same file",
    "split-leak": "the same picture file is in another split, too",
    "img-wrong-extension": "the file's bytes are of another type than its name says",
    "img-converted": "the picture was converted to 8-bit RGB",
    "img-exif-applied": "the picture was turned by its EXIF orientation",
    "img-exif-ignored": "the picture has an EXIF orientation that was not applied",
}

PROBLEMS: Mapping[str, ProblemKind] = MappingProxyType(
    {code: ProblemKind("reject", text) for code, text in _REJECT.items()}
    | {code: ProblemKind("filter", text) for code, text in _FILTER.items()}
    | {code: ProblemKind("note", text) for code, text in _NOTE.items()}
)

FINDINGS: Mapping[str, str] = MappingProxyType(
    {
        "unfinished": "the split has no manifest: its preparation did not end",
        "missing-file": "a file of the store is missing",
        "size": "a file's size differs from the recorded one",
        "digest": "a file's bytes differ from the recorded digest",
        "record": "a record of the store's own is not what was written",
        "foreign-file": "a file that the store does not know",
        "counts": "numbers that must agree do not: rows, samples, rejects",
        "law": "the conservation law n_in = n_kept + n_rejected does not hold",
        "metadata": "an array's metadata differs from the recipe",
        "chunk": "a chunk does not decode, or its checksum is wrong",
        "crop-differs": "a crop differs from the one made again from its picture",
        "map-differs": "a map differs from the one made again from its keypoints",
        "map-decode": "decoding a map does not give its keypoint back within the bound",
        "transform": "crop to image does not return the annotation within the bound",
        "keypoints-differ": "stored keypoints differ from the annotation's",
        "picture-changed": "a source picture is not the one the crop was made from",
        "source-missing": "source pictures are not at hand; crops were not made again",
    }
)
