"""Persons of whole pictures from a bottom-up network: maps and fields, mirrored ones, grouping, back to the picture."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from pose_data.errors import UsageError
from pose_data.evaluation.people import Detections
from pose_data.events import Event, Listener, silent
from pose_data.geometry import apply_affines
from pose_data.grouping import find_grouping, group_persons
from pose_data.limbs import LimbTable, drop_neck, find_limb_table
from pose_data.reader import ReadableSplit, usual_order
from pose_data.scene_rows import scene_rules
from pose_data.store import Split
from pose_data.targets.paf import field_offset_cells
from pose_models.augment import normalised
from pose_models.conventions import Conventions
from pose_models.devices import Place, autocast, gathered
from pose_models.stream import SampleStream

__all__ = [
    "FoundPersons",
    "ScenePredictions",
    "in_picture",
    "maps_and_fields",
    "persons_of_pictures",
    "predict_scenes",
    "traceable_maps_and_fields",
]

_Float = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundPersons:
    """The D persons of one picture: ``keypoints`` (D, 17, 3) x, y and score, all 0 where not found; ``score`` (D,)."""

    keypoints: _Float
    score: _Float


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenePredictions:
    """The persons of a split's pictures, by row: in the stored image's pixels, and in the source picture's."""

    rows: npt.NDArray[np.int64]
    in_stored: Sequence[FoundPersons]
    in_picture: Sequence[FoundPersons]

    def as_detections(self, image_id: npt.NDArray[np.int64]) -> Detections:
        """Return them as results; ``image_id`` (N,) of every row."""
        counts = [len(found.score) for found in self.in_picture]
        return Detections(
            image_id=np.repeat(image_id[self.rows], counts),
            keypoints=np.concatenate([np.zeros((0, 17, 3)), *(found.keypoints for found in self.in_picture)]),
            score=np.concatenate([np.zeros(0), *(found.score for found in self.in_picture)]),
        )


@torch.inference_mode()
def maps_and_fields(
    network: nn.Module, images: Tensor, conventions: Conventions, *, flip_test: bool, amp: str = "off",
    scales: Sequence[float] = (1.0,),
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Return the last stage's maps (N, J + 1, h, w) and fields (N, 2 L, h, w) of pictures (N, 3, H, W), 0 … 255 RGB.

    With ``flip_test`` the mean with the mirrored picture's: sides swapped, x of the fields turned round. A field's cell
    lies ``field_offset_cells`` beside the map's, so mirrored fields are also moved by twice that. With several
    ``scales`` the mean over the picture enlarged by each of them, brought to the cells of the picture as it is. Raises
    UsageError for a scale that is not between 0.1 and 4.
    """
    recipe = conventions.recipe
    if not scales or not all(0.1 <= scale <= 4.0 for scale in scales):
        raise UsageError("option-value", f"the scales are {list(scales)}", hint="numbers between 0.1 and 4")
    shape = (images.shape[2] // recipe.stride_px, images.shape[3] // recipe.stride_px)
    offset = field_offset_cells(scene_rules(recipe))
    found = []
    for scale in scales:
        enlarged = _enlarged(images, scale, recipe.stride_px)
        maps, fields = traceable_maps_and_fields(network, enlarged, conventions, flip_test=flip_test, amp=amp)
        found.append((_brought_to(maps, shape, 0.0), _brought_to(fields, shape, offset)))
    maps, fields = (torch.stack(parts).mean(dim=0) for parts in zip(*found, strict=True))
    return maps, fields


def _enlarged(images: Tensor, scale: float, stride_px: int) -> Tensor:
    """Return pictures as near to a scale as whole cells allow, areas aligned."""
    size = [max(1, round(side * scale / stride_px)) * stride_px for side in images.shape[2:]]
    if size == list(images.shape[2:]):
        return images
    return functional.interpolate(images, size, mode="bilinear", align_corners=False, antialias=True)


def _brought_to(values: Tensor, shape: tuple[int, int], offset: float) -> Tensor:
    """Return maps or fields (N, C, h, w) at another size; a place p of the picture is in cell p + offset of both."""
    if values.shape[2:] == shape:
        return values
    axes = []
    for after, before in zip(shape, values.shape[2:], strict=True):
        cell = torch.arange(after, dtype=torch.float32, device=values.device)
        old = (cell - offset + 0.5) * (before / after) - 0.5 + offset
        # grid_sample counts from -1 at the first cell's outer edge to 1 at the last one's.
        axes.append((2.0 * old + 1.0) / before - 1.0)
    rows, columns = torch.meshgrid(*axes, indexing="ij")
    grid = torch.stack([columns, rows], dim=-1).expand(len(values), *shape, 2)
    return functional.grid_sample(values, grid, mode="bilinear", padding_mode="border", align_corners=False)


def traceable_maps_and_fields(
    network: nn.Module, images: Tensor, conventions: Conventions, *, flip_test: bool, amp: str = "off"
) -> tuple[Tensor, Tensor]:
    """Return what :func:`maps_and_fields` does at one scale, without its inference mode, which cannot be traced."""
    table = find_limb_table(conventions.recipe.limbs)
    fed = normalised(images, conventions.pixels)

    def output_of(pixels: Tensor) -> tuple[Tensor, Tensor]:
        with autocast(pixels.device, amp):
            maps, fields = network(pixels)[-1]
        return maps.to(torch.float32), fields.to(torch.float32)

    maps, fields = output_of(fed)
    if flip_test:
        shift = 2.0 * field_offset_cells(scene_rules(conventions.recipe))
        other = output_of(fed.flip(-1))
        maps = (maps + _unflipped_maps(other[0], table)) / 2.0
        fields = (fields + _unflipped_fields(other[1], table, shift)) / 2.0
    return maps, fields


def _unflipped_maps(maps: Tensor, table: LimbTable) -> Tensor:
    order = [*table.skeleton.flip_order(), table.skeleton.keypoint_count]
    return maps.flip(-1)[:, order[: maps.shape[1]]]


def _unflipped_fields(fields: Tensor, table: LimbTable, shift: float) -> Tensor:
    """Return the mirrored picture's fields as the picture's own; ``shift`` in cells, 0 to 1."""
    order = table.skeleton.flip_order()
    limbs, channels, signs = list(table.limbs), list[int](), list[float]()
    for start, end in table.limbs:
        mirrored = (order[start], order[end])
        # A limb across the body may be its own mirror image the other way round.
        turned = mirrored not in limbs
        number = limbs.index(mirrored[::-1] if turned else mirrored)
        channels += [2 * number, 2 * number + 1]
        signs += [1.0, -1.0] if turned else [-1.0, 1.0]
    own = fields.flip(-1)[:, channels] * torch.tensor(signs, device=fields.device)[:, None, None]
    if not shift:
        return own
    left = functional.pad(own, (1, 0))[..., :-1]
    return shift * left + (1.0 - shift) * own


def persons_of_pictures(maps: Tensor, fields: Tensor, conventions: Conventions) -> list[FoundPersons]:
    """Return every picture's persons, x and y in pixels of the network's input."""
    recipe = conventions.recipe
    options = find_grouping(conventions.grouping, scene_rules(recipe))
    table = find_limb_table(recipe.limbs)
    groups = group_persons(maps.cpu().numpy(), fields.cpu().numpy(), table, options)
    return [
        FoundPersons(keypoints=drop_neck(persons.keypoints_input(recipe.stride_px)), score=persons.coco_score())
        for persons in groups
    ]


def predict_scenes(
    network: nn.Module,
    split: Split | ReadableSplit,
    conventions: Conventions,
    place: Place,
    *,
    batch_size: int,
    flip_test: bool,
    amp: str = "off",
    threads: int | None = None,
    on_event: Listener = silent,
    after_batch: Callable[[], None] = lambda: None,
    scales: Sequence[float] = (1.0,),
) -> ScenePredictions:
    """Return the persons that the network finds in the split's stored pictures, of all processes together.

    Arguments as for :func:`pose_models.inference.predict_split` and :func:`maps_and_fields`.
    """
    total = split.facts.rows
    unit = {"unit": "pictures"}
    on_event(Event(kind="stage", stage="evaluate", total=total, text=split.facts.split, data=unit))
    stream = SampleStream(
        split, batch_size=batch_size, device=place.device, order=usual_order(split.facts.recipe, shuffle="none"),
        rank=place.rank, world_size=place.world_size, arrays=("images", "transforms"), threads=threads,
    )  # fmt: skip
    parts: list[tuple[int, FoundPersons, FoundPersons]] = []
    training = network.training
    network.eval()
    try:
        for batch in stream.epoch(0):
            images = batch.arrays["images"].permute(0, 3, 1, 2).to(torch.float32)
            outputs = maps_and_fields(network, images, conventions, flip_test=flip_test, amp=amp, scales=scales)
            transforms = batch.arrays["transforms"].cpu().numpy()
            for number, found in enumerate(persons_of_pictures(*outputs, conventions)):
                if batch.valid[number]:
                    parts.append((int(batch.rows[number]), found, in_picture(found, transforms[number])))
            done = min(len(parts) * place.world_size, total)
            on_event(Event(kind="progress", stage="evaluate", done=done, total=total, data=unit))
            after_batch()
    finally:
        network.train(training)
        stream.close()
    everyones = sorted((part for mine in gathered(parts, place) for part in mine), key=lambda part: part[0])
    return ScenePredictions(
        rows=np.array([row for row, _, _ in everyones], np.int64), in_stored=[found for _, found, _ in everyones],
        in_picture=[found for _, _, found in everyones],
    )  # fmt: skip


def in_picture(found: FoundPersons, stored_to_picture: _Float) -> FoundPersons:
    """Return persons of a stored image in the pixels of its source picture, by the matrix (2, 3) between them."""
    moved = found.keypoints.copy()
    xy = apply_affines(stored_to_picture[None], moved[..., :2].reshape(1, -1, 2)).reshape(*moved.shape[:2], 2)
    moved[..., :2] = np.where(moved[..., 2:] > 0, xy, 0.0)
    return FoundPersons(keypoints=moved, score=found.score)
