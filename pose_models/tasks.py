"""What a training does with a batch, and how its network is judged: crops of persons, or whole pictures."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from pose_data.evaluation.people import Detections
from pose_data.events import Listener
from pose_data.skeleton import COCO_PERSON
from pose_data.store import Split
from pose_models.augment import TrainingBatch, augment_batch
from pose_models.augmentation_rules import find_augmentation
from pose_models.conventions import Conventions
from pose_models.devices import Place
from pose_models.inference import predict_split
from pose_models.losses import SCENE_LOSSES, SIMCC_RULES, find_loss
from pose_models.networks.network import Network
from pose_models.run_log import prediction_sheet, scene_sheet
from pose_models.scene_augment import SCENE_ARRAYS, augment_scenes, find_scene_augmentation
from pose_models.scene_inference import predict_scenes
from pose_models.stream import DeviceBatch
from pose_models.train_config import TrainConfig

__all__ = ["CropTask", "Judging", "SceneTask", "SplitFound", "Task", "task_of"]

_PICTURED = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Judging:
    """How a split is predicted: options of :func:`pose_models.inference.predict_split`."""

    place: Place
    batch_size: int
    flip_test: bool
    on_event: Listener
    after_batch: Callable[[], None]
    amp: str = "off"
    threads: int | None = None

    def options(self) -> dict[str, Any]:
        """Return them by name, but for the place."""
        names = ("batch_size", "flip_test", "on_event", "after_batch", "amp", "threads")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitFound:
    """What a network found in a split, and a picture of some of it."""

    detections: Detections
    sheet: npt.NDArray[np.uint8]


class Task(Protocol):
    """What differs between trainings on crops and on whole pictures."""

    @property
    def arrays(self) -> tuple[str, ...]:
        """Return the arrays that batches are made of."""
        ...

    def sample(self, batch: DeviceBatch, *, epoch: int) -> TrainingBatch:
        """Return an augmented batch with targets."""
        ...

    def loss(self, output: Any, sample: TrainingBatch) -> Tensor:
        """Return the loss of a network's output."""
        ...

    def judge(self, network: nn.Module, split: Split, judging: Judging) -> SplitFound:
        """Return what the network finds in a split."""
        ...


@dataclass(frozen=True, slots=True)
class CropTask:
    """Crops of single persons. ``offsets``: the network also learns where in their cells keypoints lie."""

    config: TrainConfig
    conventions: Conventions
    offsets: bool = False

    @property
    def arrays(self) -> tuple[str, ...]:
        """Return the arrays that batches are made of."""
        return ("images", "keypoints")

    def sample(self, batch: DeviceBatch, *, epoch: int) -> TrainingBatch:
        """Return an augmented batch with targets."""
        config, conventions = self.config, self.conventions
        labels = SIMCC_RULES[config.loss].labels if config.loss in SIMCC_RULES else None
        return augment_batch(
            batch, conventions.recipe, conventions.skeleton, find_augmentation(config.augmentation_of(epoch)),
            conventions.pixels, seed=config.seed, epoch=epoch, simcc=labels, offsets=self.offsets,
        )  # fmt: skip

    def loss(self, output: Any, sample: TrainingBatch) -> Tensor:
        """Return the loss of a network's output."""
        return find_loss(self.config.loss)(output, sample.targets, sample.weights)

    def judge(self, network: nn.Module, split: Split, judging: Judging) -> SplitFound:
        """Return what the network finds in the annotated boxes' crops."""
        found = predict_split(network, split, self.conventions, judging.place, **judging.options())
        image_id = np.asarray(split["image_id"][:])
        detections = found.as_detections(image_id, least=self.conventions.least_score)
        rows = found.rows[:: max(1, len(found.rows) // _PICTURED)][:_PICTURED]
        places = np.searchsorted(found.rows, rows)
        recipe = self.conventions.recipe
        context = recipe.context_px
        crops = np.stack([np.asarray(split["images"][int(row)]) for row in rows])
        inner = crops[:, context : context + recipe.crop_height_px, context : context + recipe.crop_width_px]
        points = np.concatenate([found.xy_crop[places], found.keypoints[places, :, 2:]], axis=2)
        return SplitFound(detections=detections, sheet=prediction_sheet(inner, points, self.conventions.skeleton))


@dataclass(frozen=True, slots=True)
class SceneTask:
    """Whole pictures with all their persons."""

    config: TrainConfig
    conventions: Conventions

    @property
    def arrays(self) -> tuple[str, ...]:
        """Return the arrays that batches are made of."""
        return SCENE_ARRAYS

    def sample(self, batch: DeviceBatch, *, epoch: int) -> TrainingBatch:
        """Return an augmented batch with targets."""
        augmentation = find_scene_augmentation(self.config.augmentation_of(epoch))
        return augment_scenes(
            batch, self.conventions.recipe, COCO_PERSON, augmentation, self.conventions.pixels, seed=self.config.seed,
            epoch=epoch,
        )  # fmt: skip

    def loss(self, output: Any, sample: TrainingBatch) -> Tensor:
        """Return the loss of all stages' maps and fields."""
        maps, fields = sample.targets
        return SCENE_LOSSES[self.config.loss](output, (maps, fields), sample.weights)

    def judge(self, network: nn.Module, split: Split, judging: Judging) -> SplitFound:
        """Return what the network finds in the stored pictures, without boxes."""
        found = predict_scenes(network, split, self.conventions, judging.place, **judging.options())
        step = max(1, len(found.rows) // _PICTURED)
        rows = found.rows[::step][:_PICTURED]
        pictures = np.stack([np.asarray(split["images"][int(row)]) for row in rows])
        persons = [one.keypoints for one in found.in_stored[::step][:_PICTURED]]
        return SplitFound(
            detections=found.as_detections(np.asarray(split["image_id"][:])),
            sheet=scene_sheet(pictures, persons, COCO_PERSON),
        )


def task_of(network: Network, config: TrainConfig, conventions: Conventions) -> Task:
    """Return what a training of this network does."""
    if network.output == "maps-and-fields":
        return SceneTask(config, conventions)
    return CropTask(config, conventions, offsets=network.output == "offset-maps")
