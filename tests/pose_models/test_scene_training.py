"""Training on whole pictures: it learns, goes on where it was stopped, finds persons without boxes, and is judged."""

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pose_data.errors import ModelError, ResumeMismatchError, StoreError, UsageError
from pose_data.evaluation import evaluate as evaluate_detections
from pose_data.evaluation.store_truth import ground_truth_from_split
from pose_data.limbs import OPENPOSE_PERSON, add_neck, find_limb_table
from pose_data.media import find_sources, frames_of_sources
from pose_data.recipes import Recipe
from pose_data.scene_rows import scene_rules
from pose_data.skeleton import COCO_PERSON
from pose_data.store import open_store
from pose_data.targets.paf import encode_fields, encode_scene_maps
from pose_models.augment import PixelRule
from pose_models.checkpoint import load_checkpoint
from pose_models.checkpoint_import import import_checkpoint
from pose_models.conventions import Conventions
from pose_models.devices import Place
from pose_models.estimator import TorchEstimator
from pose_models.evaluate import evaluate, load_network
from pose_models.frame_batches import BatchOptions, people_in_frames
from pose_models.person_boxes import WholePicture
from pose_models.predict import predict
from pose_models.scene_inference import maps_and_fields, persons_of_pictures, predict_scenes
from pose_models.train import RunReport, run
from pose_models.train_config import TrainConfig, default_config

NETWORK = "lightweight-openpose-368x368"
TINY: dict[str, Any] = {
    "epochs": 2, "batch_size": 4, "schedule": "constant", "schedule_options": {}, "window": 8, "evaluate_every": 2,
    "learning_rate": 1e-3,
}  # fmt: skip


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def store(factory: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store of scenes of 96 x 96, with windows of 64 x 64 and a stride of 8."""
    folder = tmp_path_factory.mktemp("scenes")
    coco = factory.CocoMaker(folder / "coco", pictures=7, persons=2)
    recipe = factory.scene_recipe(
        crop_width_px=64, crop_height_px=64, context_px=16, map_width=8, map_height=8, sigma=0.5
    )
    for split in ("train2017", "val2017"):
        coco.write(split, broken=split == "val2017")
        if split == "train2017":
            random = np.random.default_rng(5)
            for number in range(3):
                alone = coco.picture(random, folder / "coco" / split, f"alone-{number}.jpg")
                coco.person(random, alone)
            coco.dump(split)
        factory.prepare_split(folder / "s.zarr", folder / "coco", split, recipe)
    return folder / "s.zarr"


def train(store: Path, out: Path, **options: Any) -> RunReport:
    return run(NETWORK, data=store, out=out, device="cpu", threads=1, **{**TINY, **options})


@pytest.fixture(scope="module")
def trained(store: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunReport]:
    out = tmp_path_factory.mktemp("trained") / "run"
    return out, train(store, out, epochs=10, evaluate_every=10)


def test_it_learns_and_leaves_what_inference_needs(trained: tuple[Path, RunReport], store: Path) -> None:
    out, report = trained
    assert (report.epochs, report.steps, report.boxes) == (10, 30, "no")
    assert np.mean(report.losses[-6:]) < 0.8 * np.mean(report.losses[:3])
    assert set(report.numbers) >= {"AP", "AP50", "AR"}
    assert (out / "pictures" / "epoch-0010.png").is_file()
    assert report.page is not None
    assert report.page.is_file()
    conventions = load_checkpoint(out, "last").conventions
    assert conventions.recipe == open_store(store)["train2017"].recipe
    assert (conventions.skeleton, conventions.grouping) == (OPENPOSE_PERSON, "subcell")
    assert Conventions.from_dict(json.loads(json.dumps(conventions.as_dict()))) == conventions


def test_a_stopped_training_goes_on_with_the_same_losses(store: Path, tmp_path: Path) -> None:
    whole = train(store, tmp_path / "whole")
    train(store, tmp_path / "parts", epochs=1)
    rest = train(store, tmp_path / "parts", resume=True)
    assert rest.losses == whole.losses[3:]
    first, second = (load_checkpoint(tmp_path / name, "last").model for name in ("whole", "parts"))
    assert all(torch.equal(value, second[name]) for name, value in first.items())


def test_one_person_first_and_then_many(store: Path, tmp_path: Path) -> None:
    first = train(store, tmp_path / "run", epochs=1, most_persons=1)
    assert first.steps == 1  # three pictures have one person
    then = train(store, tmp_path / "run", epochs=2, most_persons=0, resume=True)
    assert then.steps == 1 + 3
    with pytest.raises(StoreError, match="no-rows"):
        run(
            NETWORK, data=store, out=tmp_path / "none", device="cpu", train_split="val2017", val_split="val2017",
            **{**TINY, "most_persons": 1},
        )  # fmt: skip


def test_another_limb_table_is_other_data(store: Path, factory: ModuleType, tmp_path: Path) -> None:
    train(store, tmp_path / "run", epochs=1)
    coco = store.parent / "coco"
    recipe = Recipe.from_dict({**open_store(store)["train2017"].recipe.as_dict(), "limbs": "tensorboy"})
    for split in ("train2017", "val2017"):
        factory.prepare_split(tmp_path / "other.zarr", coco, split, recipe)
    with pytest.raises(ResumeMismatchError, match="limbs was 'openpose'"):
        train(tmp_path / "other.zarr", tmp_path / "run", resume=True)


def test_evaluation_takes_no_boxes_and_says_what_it_does_not_see(
    trained: tuple[Path, RunReport], store: Path, tmp_path: Path
) -> None:
    out, _ = trained
    report = evaluate(out, data=store, results=tmp_path / "results.json", device="cpu", threads=1)
    assert (report.boxes, report.decode, report.flip_test) == ("no", "subcell", True)
    results = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert len(results) == report.detections
    from_pictures = evaluate(out, data=store, images=store.parent / "coco" / "val2017", device="cpu", threads=1)
    assert from_pictures.detections == report.detections
    assert from_pictures.numbers == pytest.approx(report.numbers, abs=1e-3)
    # What has no row in the store: a picture that is gone, and a torn one.
    assert any("2 pictures cannot be read" in warning for warning in from_pictures.warnings)
    assert evaluate(out, data=store, grouping="published", device="cpu", threads=1).decode == "published"
    with pytest.raises(UsageError, match="takes no boxes"):
        evaluate(out, data=store, boxes="boxes.json", device="cpu")
    with pytest.raises(UsageError, match="grouping"):
        evaluate(out, data=store, grouping="none", device="cpu")


def test_stores_and_networks_that_do_not_go_together_are_refused(
    trained: tuple[Path, RunReport], store: Path, finished_store: Path, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match="learns from crops of persons"):
        run("small-128x96", data=store, out=tmp_path / "a", device="cpu")
    with pytest.raises(ModelError, match="learns from whole pictures"):
        run(NETWORK, data=finished_store, out=tmp_path / "b", device="cpu")
    with pytest.raises(UsageError, match="trained on scenes"):
        evaluate(trained[0], data=finished_store, device="cpu")


def test_prediction_on_pictures_finds_what_evaluation_finds_in_the_store(
    trained: tuple[Path, RunReport], store: Path, tmp_path: Path
) -> None:
    out, _ = trained
    network, found = load_network(out)
    with torch.no_grad():  # a network that sees persons everywhere: garbage, but a lot of it
        for name, weight in network.named_parameters():
            if name.startswith(("refinement_stages.0.heatmaps.1", "refinement_stages.0.pafs.1")):
                weight *= 8.0
    split, device = open_store(store)["val2017"], torch.device("cpu")
    expected = predict_scenes(
        network, split, found.conventions, Place(device=device), batch_size=4, flip_test=True, threads=1
    )
    by_name = dict(zip(split.table["row"].to_pylist(), split.table["file_name"].to_pylist(), strict=True))
    wanted = {by_name[row]: one for row, one in zip(expected.rows.tolist(), expected.in_picture, strict=True)}
    estimator = TorchEstimator(network, NETWORK, found.conventions, device=device, flip_test=True)
    frames = frames_of_sources(find_sources([store.parent / "coco" / "val2017"]), exif="ignore", max_pixels=10**6)
    seen, persons = 0, 0
    options = BatchOptions(batch_size=3)
    for people in people_in_frames(frames, WholePicture(), estimator, lambda frame: frame.number, options):
        if people.frame.code:
            assert len(people) == 0  # the torn picture
            continue
        theirs = wanted[Path(people.frame.source.place).name]
        np.testing.assert_allclose(people.keypoints, theirs.keypoints, atol=1e-2)
        np.testing.assert_allclose(people.score, theirs.score, rtol=1e-3)
        seen, persons = seen + 1, persons + len(people)
    assert seen == len(wanted) == 7
    assert persons > 0


def test_posetrain_predict_with_a_network_of_whole_pictures(
    trained: tuple[Path, RunReport], store: Path, tmp_path: Path
) -> None:
    pictures = store.parent / "coco" / "train2017"
    report = predict(trained[0], [pictures], out=tmp_path / "out", device="cpu")
    assert (report.boxes, report.frames) == ("no", 10)
    records = json.loads((tmp_path / "out" / "keypoints.json").read_text(encoding="utf-8"))
    assert all(len(record["keypoints"]) == 51 for record in records)
    (tmp_path / "boxes.json").write_text("[]", encoding="utf-8")
    with pytest.raises(UsageError, match="takes no boxes"):
        predict(
            trained[0], [pictures], out=tmp_path / "other", boxes=str(tmp_path / "boxes.json"),
            annotations=store.parent / "coco" / "annotations" / "person_keypoints_train2017.json", device="cpu",
        )  # fmt: skip


def test_published_weights_are_judged_on_scenes_and_grouped_as_published(
    trained: tuple[Path, RunReport], store: Path, tmp_path: Path
) -> None:
    network, _ = load_network(trained[0])
    torch.save({"state_dict": network.state_dict()}, tmp_path / "weights.pth")
    import_checkpoint(tmp_path / "weights.pth", as_=NETWORK, out=tmp_path / "imported")
    report = evaluate(tmp_path / "imported", data=store, device="cpu", threads=1, flip_test=False)
    assert (report.boxes, report.decode) == ("no", "published")
    pictures = store.parent / "coco" / "train2017"
    found = predict(tmp_path / "imported", [pictures], out=tmp_path / "out", max_frames=1, device="cpu")
    assert (found.boxes, found.frames) == ("no", 1)


@pytest.mark.parametrize(
    ("network", "options"),
    [
        (NETWORK, {"loss": "joints-mse"}), (NETWORK, {"augmentation": "hrnet"}), (NETWORK, {"decode": "quarter"}),
        (NETWORK, {"grouping": "best"}), (NETWORK, {"most_persons": -1}), ("small-128x96", {"loss": "staged-l2"}),
        ("small-128x96", {"most_persons": 1}), ("small-128x96", {"grouping": "subcell"}),
        ("small-128x96", {"augmentation": "openpose"}),
    ],
    ids=str,
)  # fmt: skip
def test_options_that_do_not_fit_are_refused(network: str, options: dict[str, Any]) -> None:
    from pose_models.train_config import changed

    with pytest.raises(UsageError):
        changed(default_config(network), options)


@pytest.mark.parametrize("network", [NETWORK, "lightweight-openpose-r3-368x368", "openpose-368x368"])
def test_the_published_recipes(network: str) -> None:
    config = default_config(network)
    assert (config.loss, config.augmentation, config.learning_rate) == ("staged-l2", "openpose", 4e-5)
    assert isinstance(config, TrainConfig)


# ------------------------------------------------------------------ what a perfect network would give


class Painter(nn.Module):
    """A network that knows the answer: it draws the persons of the picture that it is given, mirrored or not.

    Its pictures say in their upper left pixel which number they have; a mirrored one has that at the right.
    """

    def __init__(self, keypoints: list[np.ndarray], recipe: Recipe, width_px: int = 368) -> None:
        super().__init__()
        self.keypoints, self.recipe, self.width_px = keypoints, recipe, width_px

    def forward(self, images: Tensor) -> list[tuple[Tensor, Tensor]]:
        outputs = [self.drawn(image) for image in images]
        maps, fields = (torch.stack(part) for part in zip(*outputs, strict=True))
        return [(maps * 0, fields * 0), (maps, fields)]

    def drawn(self, image: Tensor) -> tuple[Tensor, Tensor]:
        width, height = image.shape[2], image.shape[1]
        scale = width / self.width_px
        mirrored = bool(image[0, 0, 0] == 0)
        points = self.keypoints[int(image[0, 0, -1 if mirrored else 0] * 255 + 0.5) - 1].copy()
        if mirrored:
            points = points[:, list(COCO_PERSON.flip_order())]
            points[..., 0] = self.width_px - 1 - points[..., 0]
        joints = add_neck((points[..., :2] + 0.5) * scale - 0.5, points[..., 2] > 0)
        stride = self.recipe.stride_px
        size = {"rules": scene_rules(self.recipe), "map_width": width // stride, "map_height": height // stride}
        fields = encode_fields(*joints, find_limb_table(self.recipe.limbs).limbs, **size)
        return torch.from_numpy(encode_scene_maps(*joints, **size)), torch.from_numpy(fields)


def conventions_of(recipe: Recipe, grouping: str = "subcell") -> Conventions:
    return Conventions(
        recipe=recipe, skeleton=OPENPOSE_PERSON, pixels=PixelRule(), decode="argmax", flip_shift=0, grouping=grouping
    )


@pytest.mark.parametrize("recipe_name", ["openpose-368", "lightweight-openpose-368"])
@pytest.mark.parametrize("limbs", ["openpose", "tensorboy"])
def test_the_mirrored_picture_s_maps_and_fields_come_back_to_their_places(recipe_name: str, limbs: str) -> None:
    from pose_data.recipes import build_recipe

    recipe = build_recipe(recipe_name, limbs=limbs)
    random = np.random.default_rng(1)
    persons = np.concatenate([random.uniform(30, 330, (1, 17, 2)), np.full((1, 17, 1), 2.0)], axis=2)
    images = torch.zeros((1, 3, 368, 368))
    images[0, :, 0, 0] = 1
    painter, conventions = Painter([persons], recipe), conventions_of(recipe)
    plain, both = (maps_and_fields(painter, images, conventions, flip_test=flip_test) for flip_test in (False, True))
    torch.testing.assert_close(both[0], plain[0], rtol=0, atol=1e-6)
    # Fields are drawn to whole cells: limbs' borders differ by a cell, but not what lies along their middle.
    agree = (both[1] - plain[1]).abs()
    assert float(agree.mean()) < 0.02
    found = [persons_of_pictures(*outputs, conventions)[0].keypoints for outputs in (plain, both)]
    assert len(found[0]) == len(found[1]) == 1
    seen = (found[0][..., 2] > 0) & (found[1][..., 2] > 0)
    assert seen.sum() >= 15
    assert np.abs(found[1][seen][:, :2] - found[0][seen][:, :2]).max() < 1.0


@pytest.mark.parametrize("recipe_name", ["openpose-368", "lightweight-openpose-368"])
def test_several_scales_agree_on_where_things_are(recipe_name: str) -> None:
    from pose_data.recipes import build_recipe

    recipe = build_recipe(recipe_name)
    random = np.random.default_rng(3)
    persons = np.concatenate([random.uniform(40, 320, (1, 17, 2)), np.full((1, 17, 1), 2.0)], axis=2)
    images = torch.zeros((1, 3, 368, 368))
    images[0, :, :8, :8] = 1  # large enough to be there at half the size
    painter, conventions = Painter([persons], recipe), conventions_of(recipe)
    plain = maps_and_fields(painter, images, conventions, flip_test=False)
    several = maps_and_fields(painter, images, conventions, flip_test=True, scales=(0.75, 1.0, 1.5))
    assert several[0].shape == plain[0].shape == (1, 19, 46, 46)
    assert several[1].shape == plain[1].shape == (1, 38, 46, 46)
    found = [persons_of_pictures(*outputs, conventions)[0].keypoints for outputs in (plain, several)]
    seen = (found[0][..., 2] > 0) & (found[1][..., 2] > 0)
    assert seen.sum() >= 15
    difference = found[1][seen][:, :2] - found[0][seen][:, :2]
    # Gaussians of other widths, added: peaks may move a little, but not all of them to one side.
    assert np.abs(difference).max() < 2.0
    assert np.abs(difference.mean(axis=0)).max() < 0.3
    # And the field is where the limb is: its middle is as strong from all scales together.
    for mine, theirs in ((plain[1], several[1]),):
        strong = np.hypot(*mine[0].numpy().reshape(19, 2, 46, 46).swapaxes(0, 1)) > 0.9
        again = np.hypot(*theirs[0].numpy().reshape(19, 2, 46, 46).swapaxes(0, 1))
        assert again[strong].mean() > 0.6
    for wrong in ((), (0.0,), (1.0, 5.0)):
        with pytest.raises(UsageError, match="scales"):
            maps_and_fields(painter, images, conventions, flip_test=False, scales=wrong)


def test_perfect_maps_and_fields_of_a_store_give_its_persons_back(shared: Path, tmp_path: Path) -> None:
    """The whole way back, from a batch of stored pictures to COCO's numbers, on real annotations."""
    from pipelines.prepare import prepare
    from pose_data.recipes import build_recipe

    recipe = build_recipe("openpose-368", map_overlap="maximum")
    prepare(tmp_path / "s.zarr", root=shared / "data" / "coco-sample", splits=("train2017",), recipe=recipe)
    split = open_store(tmp_path / "s.zarr")["train2017"]
    stored, offsets = split["keypoints"][:].astype(np.float64), split["offsets"][:]
    painter = Painter([stored[slice(*ends)] for ends in offsets], recipe, recipe.stored_width_px)

    class Numbered(nn.Module):
        """Writes each picture's number where the painter looks for it: rows come in order."""

        def __init__(self) -> None:
            super().__init__()
            self.next = 0

        def forward(self, images: Tensor) -> list[tuple[Tensor, Tensor]]:
            marked = images.clone()
            for image in marked:
                self.next = min(self.next + 1, len(split))
                image[:, 0, 0] = self.next / 255
            return painter(marked)

    conventions = conventions_of(recipe, "joined")
    found = predict_scenes(
        Numbered(), split, conventions, Place(device=torch.device("cpu")), batch_size=5, flip_test=False, threads=1
    )
    detections = found.as_detections(np.asarray(split["image_id"][:]))
    result = evaluate_detections(ground_truth_from_split(split), detections)
    # docs/grouping.md: 0.937 at 368 pixels high.
    assert result.numbers["AP"] > 0.9
