"""A run's network, judged on a store: with the annotated boxes, or with a detector's and the original pictures."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from pose_data.errors import InputError, UsageError
from pose_data.evaluation import Detections, Result
from pose_data.evaluation import evaluate as evaluate_detections
from pose_data.evaluation.nms import rescored, suppressed
from pose_data.evaluation.store_truth import ground_truth_from_split
from pose_data.events import Event, Listener, silent
from pose_data.grouping import find_grouping
from pose_data.imaging import PictureProblem, decode_picture, read_picture
from pose_data.report import report_on_split
from pose_data.store import Split, choose_split, open_store
from pose_models.box_crops import Boxes, crops_of_boxes, read_boxes
from pose_models.checkpoint import Checkpoint, load_checkpoint
from pose_models.conventions import Conventions
from pose_models.decode import to_image
from pose_models.detector import Detector
from pose_models.devices import Place, taking_part
from pose_models.inference import keypoints_of_crops, predict_split
from pose_models.networks.catalogue import find_network
from pose_models.person_boxes import PersonFinder, WholePicture, boxes_of_pictures
from pose_models.results_file import write_results
from pose_models.scene_frames import MOST_PICTURES, persons_in_pixels
from pose_models.scene_inference import FoundPersons, maps_and_fields, persons_of_pictures, predict_scenes
from pose_models.training_state import load_weights

__all__ = ["EvaluationReport", "check_fit", "evaluate", "load_network"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationReport:
    """How a run's network did on a split."""

    run: Path
    network: str
    step: int
    split: str
    boxes: str
    """``annotated``, the detections file's name, or ``no`` for a network of whole pictures."""
    persons: int
    detections: int
    flip_test: bool
    decode: str
    numbers: Mapping[str, float]
    results: Path | None = None
    page: Path | None = None
    """The report, where one was asked for."""
    warnings: tuple[str, ...] = ()
    result: Result | None = field(default=None, repr=False)


def load_network(
    run: str | Path, *, which: str = "best", device: torch.device | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> tuple[nn.Module, Checkpoint]:  # fmt: skip
    """Return a run's network with its weights, ready for inference, and its checkpoint.

    ``say`` is told where that checkpoint is damaged and another one is taken. Raises ModelError.
    """
    checkpoint = load_checkpoint(Path(run), which, say=say)
    network = find_network(checkpoint.network).build(checkpoint.conventions.skeleton.keypoint_count)
    load_weights(network, checkpoint.model)
    return network.to(device or torch.device("cpu")).eval(), checkpoint


def evaluate(
    run: str | Path,
    *,
    data: str | Path,
    split: str = "",
    boxes: str | Path | None = None,
    detector: str | Path | None = None,
    person_class: int | None = None,
    images: str | Path | None = None,
    results: str | Path | None = None,
    report: str | Path | None = None,
    checkpoint: str = "best",
    flip_test: bool = True,
    nms_threshold: float = 0.9,
    least_keypoint_score: float | None = None,
    grouping: str = "",
    scales: Sequence[float] = (1.0,),
    batch_size: int = 64,
    device: str = "auto",
    threads: int | None = None,
    on_event: Listener = silent,
) -> EvaluationReport:
    """Evaluate a run's network on a split of a store (empty: the one whose name begins with "val").

    Without ``boxes`` every annotated person's crop is taken from the store. With a COCO detections file, with ``whole``
    (one person a picture), or with a ``detector`` in an ONNX file (``person_class``: where its classes are not COCO's)
    the crops are cut from the pictures in the folder ``images``; results are rescored (box score times the mean
    keypoint score above ``least_keypoint_score``; None: that of the network's conventions) and go through OKS
    non-maximum suppression, as in the references. A network of whole pictures finds its persons itself, in the stored
    pictures or in those of ``images``; ``grouping`` (empty: that of its training) says how; maps and fields are the
    mean over ``scales`` of the picture. ``results`` is where COCO results JSON is written, ``report`` the folder of a
    report.

    Raises ModelError, StoreError, DamageError, InputError, UsageError, StorageError.
    """
    with taking_part(device) as place:
        damaged: list[str] = []
        network, found = load_network(run, which=checkpoint, device=place.device, say=damaged.append)
        chosen = choose_split(open_store(data), split, "val")
        conventions = found.conventions
        least = conventions.least_score if least_keypoint_score is None else least_keypoint_score
        check_fit(conventions, chosen)
        if conventions.grouping:
            if boxes is not None or detector is not None:
                raise UsageError("option-conflict", "a network of whole pictures takes no boxes", hint="leave them out")
            conventions = replace(conventions, grouping=grouping or conventions.grouping)
            find_grouping(conventions.grouping)  # before anything is read
            if images is None:
                detections = _without_boxes(
                    network, chosen, conventions, place, batch_size, flip_test, tuple(scales), threads, on_event
                )
            else:
                known = _pictures(chosen, Path(images))
                detections = _in_pictures(
                    network, known, conventions, place, batch_size, flip_test, tuple(scales), on_event
                )
        elif boxes is None and detector is None:
            detections = _with_annotated_boxes(
                network, chosen, conventions, place, batch_size, flip_test, threads, least, on_event
            )
        else:
            if images is None:
                raise UsageError("option-conflict", "boxes want the original pictures", hint="--images FOLDER")
            if boxes is not None and detector is not None:
                raise UsageError("option-conflict", "boxes come from a file or from a detector", hint="leave one out")
            pictures = _pictures(chosen, Path(images))
            used_boxes = _boxes(boxes, detector, person_class, pictures, conventions, device, on_event)
            detections = _with_detected_boxes(
                network, used_boxes, pictures, conventions, place, batch_size, flip_test, threads or 2, least,
                nms_threshold, on_event,
            )  # fmt: skip
    truth = ground_truth_from_split(chosen)
    if boxes is not None or detector is not None:
        detections = _known_pictures(detections, truth.image_ids)
    result = evaluate_detections(truth, detections)
    if results is not None:
        write_results(Path(results), detections)
    source = boxes or detector
    used = "no" if conventions.grouping else "annotated" if source is None else Path(source).name
    files = None
    if report is not None:
        on_event(Event(kind="stage", stage="report", text=str(report)))
        files = report_on_split(
            result, chosen, report, images=images, boxes=used,
            results=f"{found.network}, step {found.step:,}, of {Path(run).name}",
        )  # fmt: skip
    return EvaluationReport(
        run=Path(run), network=found.network, step=found.step, split=chosen.folder.name,
        boxes=used, persons=len(truth.area), detections=len(detections), flip_test=flip_test,
        decode=conventions.grouping or conventions.decode, numbers=result.numbers,
        results=None if results is None else Path(results), result=result,
        warnings=(*damaged, *result.warnings, *(files.warnings if files else ())), page=files.page if files else None,
    )  # fmt: skip


def check_fit(conventions: Conventions, split: Split) -> None:
    """Raise UsageError where a split's crops are not what the network was trained on."""
    mine, theirs = conventions.recipe, split.recipe
    if mine.rows != theirs.rows:
        raise UsageError(
            "store-mismatch-recipe", f"the network was trained on {mine.rows}, the store has {theirs.rows}",
            where=str(split.folder.path), hint="prepare the store by the recipe of the training's",
        )  # fmt: skip
    if conventions.grouping:
        return  # pictures of any size
    for name in ("crop_width_px", "crop_height_px", "geometry", "padding", "background"):
        if getattr(mine, name) != getattr(theirs, name):
            raise UsageError(
                "store-mismatch-recipe",
                f"the network was trained with {name} {getattr(mine, name)}, the store has {getattr(theirs, name)}",
                where=str(split.folder.path), hint="prepare the store by the recipe of the training's",
            )  # fmt: skip
    if conventions.skeleton.names != split.skeleton.names:
        raise UsageError("store-mismatch-recipe", "network and store have different keypoints")


def _with_annotated_boxes(
    network: nn.Module, split: Split, conventions: Conventions, place: Place, batch_size: int, flip_test: bool,
    threads: int | None, least: float, on_event: Listener,
) -> Detections:  # fmt: skip
    own = replace(conventions, recipe=replace(conventions.recipe, context_px=split.recipe.context_px))
    found = predict_split(
        network, split, own, place, batch_size=batch_size, flip_test=flip_test, threads=threads, on_event=on_event
    )
    return found.as_detections(np.asarray(split["image_id"][:]), least=least)


def _without_boxes(
    network: nn.Module, split: Split, conventions: Conventions, place: Place, batch_size: int, flip_test: bool,
    scales: tuple[float, ...], threads: int | None, on_event: Listener,
) -> Detections:  # fmt: skip
    found = predict_scenes(
        network, split, conventions, place, batch_size=min(batch_size, MOST_PICTURES), flip_test=flip_test,
        threads=threads, on_event=on_event, scales=scales,
    )  # fmt: skip
    detections = found.as_detections(np.asarray(split["image_id"][:]))
    table = split.table.select(["image_id", "row"]).to_pydict()
    pictures = set(table["image_id"]) - {None}
    unseen = len(pictures - {image for image, row in zip(*table.values(), strict=True) if row is not None})
    if not unseen:
        return detections
    warning = (
        f"{unseen} of {len(pictures)} pictures have no labelled person and no row: nothing is looked for there; "
        "with --images FOLDER it is"
    )
    return replace(detections, warnings=(warning,))


def _in_pictures(
    network: nn.Module, pictures: dict[int, Path], conventions: Conventions, place: Place, batch_size: int,
    flip_test: bool, scales: tuple[float, ...], on_event: Listener,
) -> Detections:  # fmt: skip
    """Return what a network of whole pictures finds in the source pictures, those without labelled persons too."""

    def find(images: npt.NDArray[np.uint8]) -> list[FoundPersons]:
        pixels = torch.from_numpy(images).to(place.device).permute(0, 3, 1, 2).to(torch.float32)
        outputs = maps_and_fields(network, pixels, conventions, flip_test=flip_test, scales=scales)
        return persons_of_pictures(*outputs, conventions)

    total, size = len(pictures), min(batch_size, MOST_PICTURES)
    unit = {"unit": "pictures"}
    on_event(Event(kind="stage", stage="evaluate", total=total, text="source pictures", data=unit))
    ids, parts, problems = list[int](), list[FoundPersons](), list[str]()
    numbers = sorted(pictures)
    for first in range(0, total, size):
        known, pixels = list[int](), list[npt.NDArray[np.uint8]]()
        for number in numbers[first : first + size]:
            path = pictures[number]
            try:
                data = read_picture(path)
                exif = conventions.recipe.exif
                pixels.append(decode_picture(data, file_name=path.name, expected_wh=None, exif=exif).to_warp)
                known.append(number)
            except PictureProblem as problem:
                problems.append(problem.code)
        parts += persons_in_pixels(pixels, conventions, find)
        ids += known
        on_event(Event(kind="progress", stage="evaluate", done=min(first + size, total), total=total, data=unit))
    warnings = (f"{len(problems)} pictures cannot be read: {', '.join(sorted(set(problems)))}",) if problems else ()
    return Detections(
        image_id=np.repeat(np.array(ids, np.int64), [len(found.score) for found in parts]),
        keypoints=np.concatenate([np.zeros((0, 17, 3)), *(found.keypoints for found in parts)]),
        score=np.concatenate([np.zeros(0), *(found.score for found in parts)]), warnings=warnings,
    )  # fmt: skip


def _boxes(
    boxes: str | Path | None, detector: str | Path | None, person_class: int | None, pictures: dict[int, Path],
    conventions: Conventions, device: str, on_event: Listener,
) -> Boxes:  # fmt: skip
    """Return the boxes of a COCO detections file, of a detector that is run on the pictures, or whole pictures."""
    if detector is None and boxes is not None and str(boxes) != "whole":
        return read_boxes(Path(boxes))
    finder: PersonFinder = WholePicture()
    if detector is not None:
        finder = Detector(Path(detector), person_class=person_class, device=device)
        on_event(Event(kind="note", stage="evaluate", text=f"finding persons in {len(pictures):,} pictures"))
    return boxes_of_pictures(finder, pictures, exif=conventions.recipe.exif)


def _with_detected_boxes(
    network: nn.Module, boxes: Boxes, pictures: dict[int, Path], conventions: Conventions, place: Place,
    batch_size: int, flip_test: bool, threads: int, least: float, nms_threshold: float, on_event: Listener,
) -> Detections:  # fmt: skip
    recipe = replace(conventions.recipe, context_px=0)
    on_event(Event(kind="stage", stage="evaluate", total=len(boxes.score), text="detected boxes"))
    numbers: list[npt.NDArray[np.int64]] = []
    keypoints: list[npt.NDArray[np.float64]] = []
    done = 0
    for crops in crops_of_boxes(boxes, recipe, pictures, batch_size=batch_size, threads=threads):
        images = torch.from_numpy(crops.images).to(place.device).permute(0, 3, 1, 2).to(torch.float32)
        points, scores = keypoints_of_crops(network, images, conventions, flip_test=flip_test)
        transforms = torch.from_numpy(crops.transforms).to(place.device)
        in_picture = to_image(points, transforms)
        joined = torch.cat([in_picture, scores.to(torch.float64)[..., None]], dim=-1)
        numbers.append(crops.numbers)
        keypoints.append(joined.cpu().numpy())
        done += len(crops.numbers)
        on_event(Event(kind="progress", stage="evaluate", done=done, total=len(boxes.score)))
    if not numbers:
        raise InputError("image-unknown", "no box is of a picture that is there", hint="another split's boxes?")
    order = np.concatenate(numbers)
    found = np.concatenate(keypoints)[np.argsort(order)]
    rows = np.sort(order)
    score = rescored(boxes.score[rows], found[..., 2], least=least)
    box = boxes.bbox_xywh[rows]
    # The references take the area of the grown box: width x height in units of 200 px, times 200².
    area = (box[:, 2] * recipe.padding) * (box[:, 3] * recipe.padding)
    kept = suppressed(boxes.image_id[rows], found, area, score, conventions.skeleton.sigmas, threshold=nms_threshold)
    return Detections(image_id=boxes.image_id[rows][kept], keypoints=found[kept], score=score[kept])


def _pictures(split: Split, folder: Path) -> dict[int, Path]:
    """Return the files of the split's pictures, by picture id."""
    table = split.table.select(["image_id", "file_name"]).to_pydict()
    pairs: dict[int, Any] = dict(zip(table["image_id"], table["file_name"], strict=True))
    return {int(number): folder / name for number, name in pairs.items() if number is not None and name}


def _known_pictures(detections: Detections, image_ids: npt.NDArray[np.int64]) -> Detections:
    known = np.isin(detections.image_id, image_ids)
    left_out = int((~known).sum())
    warnings = (f"{left_out} detections on pictures without annotations are not counted",) if left_out else ()
    return Detections(
        image_id=detections.image_id[known], keypoints=detections.keypoints[known], score=detections.score[known],
        warnings=warnings,
    )  # fmt: skip
