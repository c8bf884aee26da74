"""Persons found by an object detector in an ONNX file that the user names."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from pose_data.detector_layouts import Found, Layout, box_nms, recognised
from pose_data.errors import ModelError, UsageError
from pose_data.imaging import warp_crop
from pose_data.media import Frame
from pose_models.onnx_estimator import open_session

__all__ = ["Detector"]

_Float = npt.NDArray[np.float64]
_FREE_SIDE_PX = 640
"""The input's side where the file leaves it open."""
_FILL = 114
"""The grey around a picture of other proportions, as YOLO's authors have it."""
_DTYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(uint8)": np.uint8}
_NAMED_CLASSES = {1: 0, 80: 0, 81: 1, 91: 1}
"""Number of classes → the person among them: alone, COCO's 80, with background, COCO's ids."""


class Detector:
    """A detector of persons; ``layout`` says of which family it is.

    Its outputs are looked at once, on a black picture: what shapes and names they have decides how pictures are
    prepared and boxes read.
    """

    def __init__(
        self, path: Path, *, least_score: float = 0.3, person_class: int | None = None, device: str = "cpu",
        threads: int | None = None,
    ) -> None:  # fmt: skip
        """Open the file. Raises UsageError ``detector-layout`` for outputs that are not known, ModelError."""
        self._session = open_session(path, device=device, threads=threads, shares_cores=True)
        self._least, self._where = least_score, str(path)
        inputs = self._session.get_inputs()
        self._input = inputs[0]
        self._sizes_input = inputs[1].name if len(inputs) > 1 else ""
        if self._input.type not in _DTYPES or len(self._input.shape) != 4 or len(inputs) > 2:
            taken = ", ".join(f"{one.name} {one.type} {one.shape}" for one in inputs)
            raise UsageError("detector-layout", f"a detector takes one picture, this takes {taken}", where=self._where)
        self._last = self._input.shape[3] == 3
        sides = self._input.shape[1:3] if self._last else self._input.shape[2:4]
        self._height_px, self._width_px = (side if isinstance(side, int) else _FREE_SIDE_PX for side in sides)
        blank = np.zeros((self._height_px, self._width_px, 3), np.float32)
        outputs = self._outputs(blank)
        self.layout: Layout = recognised(outputs, self._width_px, self._height_px)
        self._person = self._person_class(self._read(outputs), person_class)

    def boxes_of(self, frame: Frame, image_id: int) -> tuple[_Float, _Float]:
        """Return the persons' boxes (D, 4) ``x, y, width, height`` in the frame's pixels, and scores, best first."""
        pixels = frame.to_warp
        assert pixels is not None
        height, width = pixels.shape[:2]
        scale, offset = self._placed(width, height)
        found = self._read(self._outputs(self._prepared(pixels, scale, offset)))
        boxes, score = self._persons(found)
        # Edges, not pixel centres: nothing but the scale and the margin lies between input and picture.
        corners = (boxes - np.tile(offset, 2)) / np.tile(scale, 2)
        corners = np.clip(corners, 0.0, np.array([width, height] * 2, float))
        size = corners[:, 2:] - corners[:, :2]
        usable = (size >= 1.0).all(axis=1) & np.isfinite(corners).all(axis=1)
        return np.concatenate([corners[:, :2], size], axis=1)[usable], score[usable]

    def _placed(self, width: int, height: int) -> tuple[_Float, _Float]:
        """Return scale and offset of the edges, along x and y, from the picture to the input."""
        target = np.array([self._width_px, self._height_px], float)
        scale = target / np.array([width, height], float)
        if self.layout.fit == "stretch":
            return scale, np.zeros(2)
        scale = np.full(2, scale.min())
        spare = target - scale * np.array([width, height])
        return scale, spare / 2 if self.layout.fit == "centre" else np.zeros(2)

    def _prepared(self, pixels: npt.NDArray[np.uint8], scale: _Float, offset: _Float) -> npt.NDArray[np.float32]:
        layout = self.layout
        # From pixel centre to pixel centre the corner's half pixel counts.
        moved = offset + 0.5 * scale - 0.5
        transform = np.array([[scale[0], 0.0, moved[0]], [0.0, scale[1], moved[1]]])
        fitted = np.empty((self._height_px, self._width_px, 3), np.uint8)
        warp_crop(pixels, transform, fitted, border=_FILL)
        values = (fitted[:, :, ::-1] if layout.bgr else fitted).astype(np.float32) / np.float32(layout.scale)
        centred = values - np.array(layout.mean, np.float32)
        return np.asarray(centred / np.array(layout.std, np.float32), np.float32)

    def _outputs(self, picture: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[np.generic]]:
        fed = picture if self._last else picture.transpose(2, 0, 1)
        feeds = {self._input.name: np.ascontiguousarray(fed[None]).astype(_DTYPES[self._input.type])}
        if self._sizes_input:
            feeds[self._sizes_input] = np.array([[self._width_px, self._height_px]], np.int64)
        names = [one.name for one in self._session.get_outputs()]
        try:
            return dict(zip(names, self._session.run(names, feeds), strict=True))
        except Exception as error:
            text = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ModelError("detector-failed", f"the detector does not run: {text}", where=self._where) from error

    def _read(self, outputs: dict[str, npt.NDArray[np.generic]]) -> Found:
        return self.layout.read(outputs, self._width_px, self._height_px)

    def _person_class(self, found: Found, wanted: int | None) -> int:
        if found.label is not None:
            return self.layout.first_class if wanted is None else wanted
        count = found.score.shape[1]
        number = _NAMED_CLASSES.get(count) if wanted is None else wanted
        if number is None or not 0 <= number < count:
            raise UsageError(
                "detector-classes", f"the detector has {count} classes, and which is the person is not known",
                where=self._where, hint="--person-class N, counted from 0",
            )  # fmt: skip
        return number

    def _persons(self, found: Found) -> tuple[_Float, _Float]:
        if found.label is None:
            score, chosen = found.score[:, self._person], np.ones(len(found.boxes), bool)
        else:
            score, chosen = found.score, found.label == self._person
        rows = np.flatnonzero(chosen & (score >= self._least))
        boxes, score = found.boxes[rows], score[rows]
        order = box_nms(boxes, score) if self.layout.overlapping else np.argsort(-score, kind="stable")
        return boxes[order], score[order]
