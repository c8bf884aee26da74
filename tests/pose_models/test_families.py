"""Networks of every family from a store to an evaluation, by their own recipes, at their own input size.

``tests/pose_models/networks/test_learning.py`` shows that they learn; here it is the whole way that counts: labels that
follow from the loss, optimiser, schedule, moving average, checkpoint, decoding and scores.
"""

import numpy as np
import pytest

from pose_data.evaluation.nms import rescored
from pose_models.checkpoint import load_checkpoint
from pose_models.evaluate import evaluate
from pose_models.train import run

SHORT = {"epochs": 1, "batch_size": 4, "accumulate": 2, "window": 8, "evaluate_every": 1, "report": False}


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def stores(factory, tmp_path_factory):
    """Return a function from a recipe's name to a store of two splits of a few persons."""
    folder = tmp_path_factory.mktemp("families")
    coco = factory.CocoMaker(folder / "coco", pictures=2, persons=3, width_px=160, height_px=128)
    for split in ("train2017", "val2017"):
        coco.write(split, broken=False)

    def store(name):
        place = folder / f"{name}.zarr"
        if not place.exists():
            few = {"min_keypoints": 5, "min_box_area_px2": 1.0} if name == "white-frame-320" else {}
            recipe = factory.build_recipe(name, shard_rows=8, chunk_rows=4, context_px=0, **few)
            for split in ("train2017", "val2017"):
                factory.prepare_split(place, folder / "coco", split, recipe)
        return place

    return store


RUNS = [
    ("rtmpose-t-256x192", "coco-256x192", {"decode": "simcc-dark"}),
    pytest.param("simcc-r50-direct-256x192", "coco-256x192", {}, marks=pytest.mark.slow),
    pytest.param("simcc-seed-256x192", "simcc-seed", {}, marks=pytest.mark.slow),
    pytest.param("hrnet-w32-udp-offset-256x192", "coco-256x192-udp", {}, marks=pytest.mark.slow),
    pytest.param("attention-both-crf11-256x192", "attention-256x192", {}, marks=pytest.mark.slow),
    pytest.param("unet-white-320x320", "white-frame-320", {}, marks=pytest.mark.slow),
    pytest.param("vitpose-small-256x192", "coco-256x192-udp", {}, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("name", "recipe", "options"), RUNS)
def test_a_network_goes_the_whole_way(stores, tmp_path, name, recipe, options):
    out = tmp_path / "run"
    report = run(name, data=stores(recipe), out=out, device="cpu", threads=1, **SHORT, **options)
    assert np.isfinite(report.losses).all()
    assert report.steps == 2
    judged = evaluate(out, data=stores(recipe), device="cpu", threads=1, batch_size=4)
    assert judged.detections == judged.persons
    conventions = load_checkpoint(out).conventions
    if conventions.recipe.encoding == "simcc":
        # Scores of sure keypoints are probabilities of bins, or labels' heights: both must count.
        sure = 1.0 if not conventions.simcc_softmax else 0.4 / conventions.recipe.sigma
        assert rescored(np.ones(1), np.full((1, 17), sure), least=conventions.least_score) > 0
