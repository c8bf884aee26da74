"""Every family learns: the loss of a handful of real persons falls, with the family's own loss and targets.

Inputs are 128 x 96 and the smallest members of a family are taken: that a network trains does not depend on its depth.
"""

import json
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from pipelines.prepare import prepare
from pose_data.limbs import LIMB_TABLES, add_neck
from pose_data.order import EpochOrder
from pose_data.recipes import build_recipe
from pose_data.store import open_store
from pose_data.targets.paf import SCENE_RULES, encode_fields, encode_scene_maps
from pose_models.augment import PixelRule, plain_batch
from pose_models.losses import SCENE_LOSSES, SIMCC_RULES, find_loss
from pose_models.networks.attention import AttentionBaseline
from pose_models.networks.hourglass import StackedHourglass
from pose_models.networks.hourglass_seed import SeedHourglass
from pose_models.networks.hrnet import HRNet, OffsetHRNet
from pose_models.networks.lightweight_openpose import LightweightOpenPose
from pose_models.networks.network import IMAGENET_MEAN, IMAGENET_STD
from pose_models.networks.openpose import PIXEL_MEAN, PIXEL_STD, OpenPose
from pose_models.networks.rtmpose import RTMPOSE_SIZES, RTMPose
from pose_models.networks.simcc import SeedSimcc, SimccDirect, SimccHRNet, SimccResNet
from pose_models.networks.simple_baseline import SimpleBaseline
from pose_models.networks.unet import ConditionedUNet
from pose_models.networks.vitpose import ViTPose, ViTPoseSize
from pose_models.stream import SampleStream

PERSONS = 4
SIZE = (96, 128)


@dataclass(frozen=True, kw_only=True)
class Case:
    """A network of a family, what it is trained by, and by how much its loss must fall."""

    name: str
    build: Any
    loss: str
    targets: dict[str, Any] = field(default_factory=dict)
    learning_rate: float = 1e-3
    steps: int = 8
    share: float = 0.9
    """The loss at the end must be below this share of the first."""


SIMCC = {"encoding": "simcc", "split_ratio": 2.0, "sigma": 4.0}
TINY_VIT = ViTPoseSize(channels=96, depth=3, heads=3, drop_path=0.1, layer_decay=0.8)
BINS = {"size_wh": SIZE, "bins_wh": (192, 256)}
DARK = {"encoding": "unbiased"}
CASES = [
    Case(
        name="simplebaseline", build=partial(SimpleBaseline, depth=18, widths=(32, 32, 32)), loss="joints-mse", steps=4
    ),
    Case(name="hrnet", build=partial(HRNet, width=8), loss="joints-mse", steps=8),
    *(
        Case(
            name=f"hourglass-{kind}", build=partial(StackedHourglass, stacks=2, kind=kind, channels=32),
            loss="joints-mse", targets=DARK, steps=4,
        )
        for kind in ("wide", "narrow", "gated")
    ),
    *(
        Case(
            name=f"hourglass-seed-{gated}", build=partial(SeedHourglass, stacks=1, gated=gated), loss="hot-cold",
            targets={"encoding": "one-hot"}, steps=3,
        )
        for gated in (False, True)
    ),
    Case(
        name="simcc-resnet", build=partial(SimccResNet, depth=18, **BINS), loss="nmt", targets=SIMCC, steps=4,
        share=0.95,
    ),
    Case(name="simcc-direct", build=partial(SimccDirect, depth=18, **BINS), loss="nmt-normalised", targets=SIMCC),
    Case(name="simcc-hrnet", build=partial(SimccHRNet, width=8, **BINS), loss="simcc-kl", targets=SIMCC),
    Case(
        name="simcc-seed", build=partial(SeedSimcc, size_wh=SIZE, bins_wh=(384, 512), depth=18, widths=(64, 32)),
        loss="simcc-seed-kl", targets={"encoding": "simcc", "split_ratio": 4.0, "sigma": 20.0},
        learning_rate=4e-3, share=0.95,
    ),
    *(
        Case(
            name=f"attention-{where}-{kind}-{join}", loss="keypoint-mse", steps=5,
            build=partial(AttentionBaseline, where=where, kind=kind, join=join, depth=18, width=32),
        )
        for where, kind, join in (
            ("holistic", "crf11", "features"), ("parts", "crf1", "features"), ("both", "crf11", "features"),
            ("both", "softmax", "features"), ("both", "gaussian", "features"), ("both", "transform", "features"),
            ("both", "crf11", "maps"),
        )
    ),
    Case(
        name="udp-offset", build=partial(OffsetHRNet, width=8), loss="offset-mse", steps=6,
        targets={"encoding": "udp", "sigma": 3.5},
    ),
    Case(
        name="unet", build=ConditionedUNet, loss="multi-head-mse", learning_rate=5e-4, steps=3,
        targets={"encoding": "unbiased", "sigma": 4.0, "map_width": 96, "map_height": 128},
    ),
    Case(
        name="rtmpose", build=partial(RTMPose, size=RTMPOSE_SIZES["t"], size_wh=SIZE), loss="rtmpose-kl",
        targets={**SIMCC, "sigma": 4.9}, learning_rate=4e-3, steps=20,
    ),
    Case(
        name="vitpose", build=partial(ViTPose, size=TINY_VIT, size_wh=SIZE), loss="keypoint-mse",
        targets={"encoding": "udp"}, learning_rate=3e-4, steps=20,
    ),
    Case(
        name="vitpose-simple", build=partial(ViTPose, size=TINY_VIT, size_wh=SIZE, simple=True), loss="keypoint-mse",
        targets={"encoding": "udp"}, learning_rate=3e-4, steps=20,
    ),
]  # fmt: skip


@pytest.fixture(scope="module")
def persons(shared, tmp_path_factory):
    """Return a store's split of a few well labelled real persons with crops of 128 x 96."""
    folder = tmp_path_factory.mktemp("persons")
    content = json.loads((shared / "data/coco-sample/annotations/person_keypoints_val2017.json").read_bytes())
    good = [a for a in content["annotations"] if a["num_keypoints"] >= 14 and not a["iscrowd"] and a["area"] > 96**2]
    pictures = {annotation["image_id"] for annotation in good[:PERSONS]}
    images = [image for image in content["images"] if image["id"] in pictures]
    part = {"images": images, "annotations": good[:PERSONS], "categories": content["categories"]}
    (folder / "annotations").mkdir()
    (folder / "annotations" / "person_keypoints_val2017.json").write_text(json.dumps(part), encoding="utf-8")
    (folder / "val2017").symlink_to(shared / "data" / "coco-sample" / "val2017")
    recipe = build_recipe("coco-256x192", crop_width_px=96, crop_height_px=128, map_width=24, map_height=32, sigma=1.5)
    prepare(folder / "crops.zarr", root=folder, splits=("val2017",), recipe=recipe, allow_outside=True)
    return open_store(folder / "crops.zarr")["val2017"]


def only_batch(persons):
    stream = SampleStream(
        persons, batch_size=PERSONS, device=torch.device("cpu"), order=EpochOrder(shuffle="none"), threads=1
    )
    (batch,) = stream.epoch(0)
    stream.close()
    return batch


def losses_of(network, loss_of, *, steps, learning_rate):
    optimiser = torch.optim.Adam(network.parameters(), lr=learning_rate)
    losses = []
    for _ in range(steps):
        optimiser.zero_grad()
        loss = loss_of(network)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CASES])
def test_the_loss_of_a_handful_of_real_persons_falls(persons, case):
    rule = SIMCC_RULES.get(case.loss)
    pixels = PixelRule(mean=IMAGENET_MEAN, std=IMAGENET_STD)
    recipe = replace(persons.recipe, **case.targets)
    sample = plain_batch(
        only_batch(persons), recipe, pixels, simcc=rule.labels if rule else None, offsets=case.loss == "offset-mse"
    )
    assert sample.weights.sum() >= 10 * PERSONS
    torch.manual_seed(0)
    network = case.build(17).train()

    def loss_of(network):
        return find_loss(case.loss)(network(sample.images), sample.targets, sample.weights)

    losses = losses_of(network, loss_of, steps=case.steps, learning_rate=case.learning_rate)
    assert losses[-1] < case.share * losses[0], losses


@pytest.mark.parametrize(
    ("build", "loss", "rules"),
    [
        pytest.param(partial(OpenPose, stages=2), "staged-mse", "tensorboy", marks=pytest.mark.slow),
        (partial(LightweightOpenPose, refinements=1), "staged-l2", "lightweight"),
    ],
)
def test_the_loss_of_maps_and_fields_falls(persons, build, loss, rules):
    pixels = PixelRule(bgr=True, mean=PIXEL_MEAN, std=PIXEL_STD)
    sample = plain_batch(only_batch(persons), persons.recipe, pixels)
    xy, labelled = add_neck(sample.keypoints[..., :2].numpy(), sample.keypoints[..., 2].numpy() > 0)
    size = {"rules": SCENE_RULES[rules], "map_width": SIZE[0] // 8, "map_height": SIZE[1] // 8}
    maps = np.stack([encode_scene_maps(xy[i : i + 1], labelled[i : i + 1], **size) for i in range(PERSONS)])
    limbs = LIMB_TABLES["openpose"].limbs
    fields = np.stack([encode_fields(xy[i : i + 1], labelled[i : i + 1], limbs, **size) for i in range(PERSONS)])
    targets = torch.from_numpy(maps), torch.from_numpy(fields)
    mask = torch.ones(PERSONS, *maps.shape[2:])
    torch.manual_seed(0)

    def loss_of(network):
        return SCENE_LOSSES[loss](network(sample.images), targets, mask)

    losses = losses_of(build(18).train(), loss_of, steps=4, learning_rate=1e-3)
    assert losses[-1] < 0.9 * losses[0], losses
