"""A class in the shape of pycocotools' ``COCOeval``, for programs that change an import and nothing else.

    from pose_data.evaluation.cocoeval import COCOeval

It takes pycocotools' ``COCO`` objects, or any with ``loadAnns``, ``getAnnIds``, ``getImgIds`` and ``getCatIds``, and
gives the same arrays, statistics and printed lines for keypoints. Other than pycocotools it refuses numbers that are
not finite, leaves the annotations as they are, and finds persons whose id is 0, too.

Source of the interface: cocodataset/cocoapi, PythonAPI/pycocotools/cocoeval.py; of ``sigmas`` and ``use_area``:
jin-s13/xtcocoapi.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from pose_data.errors import UsageError
from pose_data.evaluation.average_precision import accumulate
from pose_data.evaluation.matching import AREA_RANGES, EvaluationOptions, Matching, match
from pose_data.evaluation.oks import oks_of_rows
from pose_data.evaluation.people import Detections, GroundTruth
from pose_data.skeleton import COCO_PERSON, Skeleton

__all__ = ["COCOeval", "Params"]

_Float = npt.NDArray[np.float64]
_BOX_SHARE = 0.53  # the segment's share of the box, for data sets without segments
_LINE = " {kind:<18} {short} @[ IoU={iou:<9} | area={area:>6s} | maxDets={most:>3d} ] = {value:0.3f}"
# precision or recall, OKS threshold (all where None), area range: the ten statistics, in their order.
_STATISTICS: tuple[tuple[str, float | None, str], ...] = tuple(
    (name, threshold, area)
    for name in ("precision", "recall")
    for threshold, area in ((None, "all"), (0.5, "all"), (0.75, "all"), (None, "medium"), (None, "large"))
)
_SUMMARIZED_DETECTIONS = 20  # written into pycocotools' summary for keypoints, whatever maxDets says


class Params:
    """The parameters of an evaluation, under pycocotools' names; they may be set before ``evaluate``."""

    def __init__(self, iouType: str = "keypoints") -> None:
        if iouType != "keypoints":
            raise UsageError(
                "option-value", f"iouType is {iouType!r}: only keypoints are evaluated here",
                hint="take pycocotools for boxes and masks",
            )  # fmt: skip
        options = EvaluationOptions()
        self.iouType = iouType
        self.imgIds: list[Any] = []
        self.catIds: list[Any] = []
        self.iouThrs = options.iou_thresholds()
        self.recThrs = options.recall_thresholds()
        self.maxDets = [options.max_detections]
        self.areaRng = [[low, high] for _, low, high in AREA_RANGES]
        self.areaRngLbl = [name for name, _, _ in AREA_RANGES]
        self.useCats = 1
        self.useSegm: int | None = None
        self.kpt_oks_sigmas = np.array(COCO_PERSON.sigmas)


@dataclass(frozen=True, slots=True)
class _Evaluated:
    """One category: its arrays, and the ids that the annotations have there."""

    truth: GroundTruth
    detections: Detections
    detection_id: npt.NDArray[np.int64]
    matching: Matching


class COCOeval:
    """Evaluate keypoints: ``evaluate()``, ``accumulate()``, ``summarize()``, then ``stats`` and ``eval``.

    ``sigmas`` may stand for ``params.kpt_oks_sigmas``; with ``use_area=False`` a person's area is 0.53 of the box, as
    for CrowdPose. Annotations must have a finite ``bbox``, ``area`` and ``keypoints``. Raises UsageError, InputError.
    """

    def __init__(
        self,
        cocoGt: Any = None,
        cocoDt: Any = None,
        iouType: str = "keypoints",
        sigmas: Sequence[float] | None = None,
        use_area: bool = True,
    ) -> None:
        self.cocoGt, self.cocoDt = cocoGt, cocoDt
        self.params = Params(iouType)
        if sigmas is not None:
            self.params.kpt_oks_sigmas = np.asarray(sigmas, np.float64)
        self.use_area = use_area
        self.eval: dict[str, Any] = {}
        self.stats: _Float = np.zeros(0)
        self._categories: dict[Any, _Evaluated] = {}
        if cocoGt is not None:
            self.params.imgIds = sorted(cocoGt.getImgIds())
            self.params.catIds = sorted(cocoGt.getCatIds())

    def evaluate(self) -> None:
        """Match every category's detections with its persons."""
        params = self.params
        if not params.useCats:
            raise UsageError("option-value", "useCats is 0: keypoints are evaluated by category", hint="set it to 1")
        params.imgIds = np.unique(params.imgIds).tolist()
        params.catIds = np.unique(params.catIds).tolist()
        params.maxDets = sorted(params.maxDets)
        self.eval = {}
        self._categories = {category: self._evaluated(category) for category in params.catIds}

    def _evaluated(self, category: Any) -> _Evaluated:
        params = self.params
        sigmas = tuple(np.asarray(params.kpt_oks_sigmas, np.float64).tolist())
        names = COCO_PERSON.names if len(sigmas) == len(COCO_PERSON.names) else tuple(map(str, range(len(sigmas))))
        skeleton = Skeleton(name="params.kpt_oks_sigmas", names=names, sigmas=sigmas)
        truth = self._truth(category, skeleton)
        detections, ids = self._detections(category, len(sigmas))
        matching = match(
            truth, detections, EvaluationOptions(max_detections=params.maxDets[-1]),
            thresholds=np.asarray(params.iouThrs, np.float64), ranges=np.asarray(params.areaRng, np.float64),
        )  # fmt: skip
        return _Evaluated(truth, detections, ids, matching)

    def _annotations(self, source: Any, category: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = source.loadAnns(source.getAnnIds(imgIds=self.params.imgIds, catIds=[category]))
        return found

    def _truth(self, category: Any, skeleton: Skeleton) -> GroundTruth:
        persons = self._annotations(self.cocoGt, category)
        count, joints = len(persons), skeleton.keypoint_count
        boxes = np.array([one["bbox"] for one in persons], np.float64).reshape(count, 4)
        areas = boxes[:, 3] * boxes[:, 2] * _BOX_SHARE
        if self.use_area:
            areas = np.array([one["area"] for one in persons], np.float64)
        return GroundTruth(
            image_ids=np.array(self.params.imgIds, np.int64), skeleton=skeleton, bbox_xywh=boxes, area=areas,
            image_id=np.array([one["image_id"] for one in persons], np.int64),
            annotation_id=np.array([one["id"] for one in persons], np.int64),
            keypoints=_keypoints(persons, joints), iscrowd=np.array([one.get("iscrowd", 0) for one in persons], bool),
            num_keypoints=np.array([one["num_keypoints"] for one in persons], np.int64),
        )  # fmt: skip

    def _detections(self, category: Any, joints: int) -> tuple[Detections, npt.NDArray[np.int64]]:
        found = self._annotations(self.cocoDt, category)
        detections = Detections(
            image_id=np.array([one["image_id"] for one in found], np.int64), keypoints=_keypoints(found, joints),
            score=np.array([one["score"] for one in found], np.float64),
            area=np.array([one["area"] for one in found], np.float64),
        )  # fmt: skip
        return detections, np.array([one["id"] for one in found], np.int64)

    def accumulate(self, p: Params | None = None) -> None:
        """Fill ``eval``: precision (T, R, K, A, M), recall (T, K, A, M) and scores (T, R, K, A, M).

        ``p`` may have other recall thresholds, and fewer ``maxDets`` than were evaluated.
        """
        params = self.params if p is None else p
        if not self._categories:
            raise UsageError("option-conflict", "nothing was evaluated", hint="call evaluate() first")
        shape = (
            len(params.iouThrs),
            len(params.recThrs),
            len(self._categories),
            len(params.areaRng),
            len(params.maxDets),
        )
        precision, scores = np.full(shape, -1.0), np.full(shape, -1.0)
        recall = np.full((shape[0], *shape[2:]), -1.0)
        for k, category in enumerate(self._categories.values()):
            for m, most in enumerate(params.maxDets):
                values = accumulate(
                    _best(category.matching, most), EvaluationOptions(), recalls=np.asarray(params.recThrs, np.float64)
                )
                precision[:, :, k, :, m], recall[:, k, :, m], scores[:, :, k, :, m] = values
        self.eval = {
            "params": params, "counts": list(shape), "date": datetime.now().strftime("%Y-%m-%d %H:%M:%S"),
            "precision": precision, "recall": recall, "scores": scores,
        }  # fmt: skip

    def summarize(self) -> None:
        """Print the ten statistics to stdout and put them into ``stats`` (10,)."""
        if not self.eval:
            raise UsageError("option-conflict", "nothing was accumulated", hint="call accumulate() first")
        self.stats = np.array([self._statistic(*one) for one in _STATISTICS])
        for value, (name, threshold, area) in zip(self.stats.tolist(), _STATISTICS, strict=True):
            thresholds = self.params.iouThrs
            line = _LINE.format(
                kind=f"Average {name.capitalize()}", short="(AP)" if name == "precision" else "(AR)",
                iou=f"{thresholds[0]:0.2f}:{thresholds[-1]:0.2f}" if threshold is None else f"{threshold:0.2f}",
                area=area, most=_SUMMARIZED_DETECTIONS, value=value,
            )  # fmt: skip
            sys.stdout.write(f"{line}\n")

    def _statistic(self, name: str, threshold: float | None, area: str) -> float:
        params = self.params
        values = self.eval[name]
        if threshold is not None:
            values = values[np.asarray(params.iouThrs) == threshold]
        areas = [place for place, label in enumerate(params.areaRngLbl) if label == area]
        most = [place for place, number in enumerate(params.maxDets) if number == _SUMMARIZED_DETECTIONS]
        if not areas or not most:
            return -1.0
        values = np.ascontiguousarray(values[..., areas[0], most[0]])
        there = values[values > -1]
        return float(np.mean(there)) if len(there) else -1.0

    @property
    def ious(self) -> Mapping[tuple[Any, Any], Any]:
        """Return (image id, category id) → OKS (D, G) of detections by falling score and persons in file order."""
        return _Ious(self._categories, self.params.imgIds)

    @property
    def evalImgs(self) -> list[dict[str, Any] | None]:
        """Return what was matched, by category, area range and image; None where an image has nobody.

        Made anew at every access: keep it in a variable.
        """
        return [
            _of_image(evaluated, category, place, image, area, self.params)
            for category, evaluated in self._categories.items()
            for area in range(len(self.params.areaRng))
            for place, image in enumerate(self.params.imgIds)
        ]


def _keypoints(records: Sequence[Mapping[str, Any]], joints: int) -> _Float:
    return np.array([one["keypoints"] for one in records], np.float64).reshape(len(records), joints, 3)


def _best(matching: Matching, most: int) -> Matching:
    """Return the matching without detections beyond the first ones of each image."""
    rank = np.arange(len(matching.image)) - np.searchsorted(matching.image, matching.image)
    kept = rank < most
    if kept.all():
        return matching
    return replace(
        matching, detection=matching.detection[kept], image=matching.image[kept], score=matching.score[kept],
        found=matching.found[..., kept], detection_ignored=matching.detection_ignored[..., kept],
    )  # fmt: skip


class _Ious(Mapping[tuple[Any, Any], Any]):
    """OKS of each image's pairs, computed when asked for."""

    def __init__(self, categories: Mapping[Any, _Evaluated], images: Sequence[Any]) -> None:
        self._categories, self._images = categories, images

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        return ((image, category) for image in self._images for category in self._categories)

    def __len__(self) -> int:
        return len(self._images) * len(self._categories)

    def __getitem__(self, key: tuple[Any, Any]) -> Any:
        image, category = key
        evaluated = self._categories[category]
        place = self._images.index(image)
        rows = evaluated.matching.detection[evaluated.matching.image == place]
        persons = np.flatnonzero(evaluated.matching.person_image == place)
        if not len(rows) or not len(persons):
            return []
        truth = evaluated.truth
        return oks_of_rows(
            evaluated.detections.keypoints, np.repeat(rows, len(persons)), truth.keypoints, np.tile(persons, len(rows)),
            truth.area, truth.bbox_xywh, truth.skeleton.sigmas,
        ).reshape(len(rows), len(persons))  # fmt: skip


def _of_image(
    evaluated: _Evaluated, category: Any, place: int, image: Any, area: int, params: Params
) -> dict[str, Any] | None:
    matching = evaluated.matching
    first, end = np.searchsorted(matching.image, [place, place + 1])
    persons = np.flatnonzero(matching.person_image == place)
    if first == end and not len(persons):
        return None
    persons = persons[np.argsort(matching.person_ignored[area][persons], kind="stable")]
    found = matching.found[area][:, first:end]
    rows = matching.detection[first:end]
    person_of = np.append(evaluated.truth.annotation_id, 0)
    detection_of = np.zeros((len(found), len(evaluated.truth.area) + 1))
    for column, row in enumerate(rows.tolist()):  # a crowd's last one stays
        detection_of[np.arange(len(found)), found[:, column]] = evaluated.detection_id[row]
    return {
        "image_id": image, "category_id": category, "aRng": params.areaRng[area], "maxDet": params.maxDets[-1],
        "dtIds": evaluated.detection_id[rows].tolist(), "gtIds": evaluated.truth.annotation_id[persons].tolist(),
        "dtMatches": person_of[found].astype(np.float64), "gtMatches": detection_of[:, persons],
        "dtScores": matching.score[first:end].tolist(),
        "gtIgnore": matching.person_ignored[area][persons].astype(np.int64),
        "dtIgnore": matching.detection_ignored[area][:, first:end],
    }  # fmt: skip
