"""A child process that looks at one picture after the other, as it is told, and says what became of each.

An empty answer says that it is ready. Then one JSON line comes in for each picture and one goes out. A picture that
crashes the decoder ends this process and not the one that asked: that one knows which picture it was.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from pose_data.atomic import bytes_digest
from pose_data.errors import PoseError
from pose_data.imaging import PictureProblem, decode_picture, person_mask, read_picture, single_threaded
from pose_data.paths import resolve_inside

__all__: list[str] = []


def _look_at(asked: dict[str, Any], buffer: bytearray) -> dict[str, Any]:
    """Return the digest, and the code and detail of a problem or the notes and the masks that are unusable."""
    digest = 0
    try:
        path = resolve_inside(Path(asked["root"]), asked["name"], allow_outside=asked["allow_outside"])
        data = read_picture(path)
        digest = int(bytes_digest(data)[:16], 16)
        size_wh = asked["size_wh"]
        picture = decode_picture(
            data, file_name=asked["name"], expected_wh=None if size_wh is None else (size_wh[0], size_wh[1]),
            exif=asked["exif"], buffer=buffer,
        )  # fmt: skip
    except PictureProblem as problem:
        return {"digest": digest, "code": problem.code, "detail": problem.detail}
    height_px, width_px = picture.pixels.shape[:2]
    bad_masks = [
        position for position, raw in enumerate(asked["segmentations"]) if not _has_mask(raw, width_px, height_px)
    ]
    return {"digest": digest, "notes": picture.notes, "bad_masks": bad_masks}


def _has_mask(raw: str | None, width_px: int, height_px: int) -> bool:
    mask = None if raw is None else person_mask(json.loads(raw), width_px, height_px)
    return mask is not None and bool(mask.any())


def _answer(asked: dict[str, Any], buffer: bytearray) -> dict[str, Any]:
    try:
        return _look_at(asked, buffer)
    except PoseError as error:
        return {"error": error.fields()}
    except MemoryError:
        os._exit(1)  # the picture in hand is too large for this computer


def _main() -> None:
    # Ctrl-C reaches the whole terminal; the parent decides what it means, and its end closes our input.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints must not get among the answers
    print("{}", file=answers, flush=True)  # the libraries are loaded: from here on time is the picture's
    buffer = bytearray()
    with single_threaded():
        for line in sys.stdin:
            answers.write(json.dumps(_answer(json.loads(line), buffer)) + "\n")
            answers.flush()


if __name__ == "__main__":
    _main()
