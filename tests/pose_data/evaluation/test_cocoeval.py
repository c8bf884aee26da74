"""The class in COCOeval's shape, side by side with pycocotools' own."""

import contextlib
import copy
import gzip
import importlib.util
import io
import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval as Theirs

from pose_data.errors import InputError, UsageError
from pose_data.evaluation.cocoeval import COCOeval as Ours
from pose_data.evaluation.cocoeval import Params


def _cases():
    # Test folders are no packages: the random cases are loaded by their place.
    spec = importlib.util.spec_from_file_location("cases", Path(__file__).with_name("test_average_precision.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


random_case = _cases().random_case


def coco_objects(content, results):
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = copy.deepcopy(content)
        truth.createIndex()
        return truth, truth.loadRes(copy.deepcopy(results))


def run(kind, content, results, change=None):
    """Return the evaluation, run to its end, and what it printed about its statistics."""
    truth, found = coco_objects(content, results)
    evaluation = kind(truth, found, "keypoints")
    if change is not None:
        change(evaluation.params)
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.evaluate()
        evaluation.accumulate()
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        evaluation.summarize()
    return evaluation, printed.getvalue()


def compare(content, results, change=None):
    (ours, mine), (theirs, expected) = (run(kind, content, results, change) for kind in (Ours, Theirs))
    assert mine == expected
    assert ours.stats.tolist() == theirs.stats.tolist()
    for name in ("precision", "recall", "scores"):
        assert np.array_equal(ours.eval[name], theirs.eval[name]), name
    assert ours.eval["counts"] == theirs.eval["counts"]
    return ours, theirs


def same(one, other):
    if isinstance(one, np.ndarray | np.generic):
        return np.array_equal(np.asarray(one, float), np.asarray(other, float))
    return one == other


@pytest.mark.parametrize("block", range(4))
def test_random_cases(block):
    compared = 0
    for seed in range(block * 30, block * 30 + 30):
        content, results = random_case(seed)
        if not results:
            continue  # pycocotools refuses an empty list
        ours, theirs = compare(content, results)
        for mine, expected in zip(ours.evalImgs, theirs.evalImgs, strict=True):
            assert (mine is None) == (expected is None)
            if mine is not None:
                assert mine.keys() == expected.keys()
                for key in mine:
                    assert same(mine[key], expected[key]), (seed, key)
        ious = ours.ious
        assert list(ious) == list(theirs.ious)
        for key, expected in theirs.ious.items():
            assert np.array_equal(ious[key], expected), (seed, key)
        compared += 1
    assert compared > 20


def several_maximums(params):
    params.maxDets = [20, 1, 5]


def other_thresholds(params):
    params.iouThrs = np.array([0.3, 0.5, 0.75])
    params.recThrs = np.linspace(0, 1, 11)


def other_ranges(params):
    params.areaRng = [[0, 1e10], [0, 900.0], [900.0, 1e10]]
    params.areaRngLbl = ["all", "small", "large"]


def other_sigmas(params):
    params.kpt_oks_sigmas = np.linspace(0.02, 0.2, 17)


def some_images(params):
    params.imgIds = params.imgIds[::2]


@pytest.mark.parametrize("change", [several_maximums, other_thresholds, other_ranges, other_sigmas, some_images])
def test_parameters(change):
    for seed in (2, 7, 13, 21):
        compare(*random_case(seed), change)


def test_several_categories():
    content, results = random_case(13)
    content["categories"].append({"id": 2, "name": "ape"})
    for number, one in enumerate((*content["annotations"], *results)):
        one["category_id"] = 1 + number % 2
    ours, _ = compare(content, results)
    assert ours.eval["precision"].shape[2] == 2


def test_real_results(shared):
    folder = shared / "data" / "coco-results"
    content = json.loads(gzip.decompress((folder / "val_subset250_ground_truth.json.gz").read_bytes()))
    results = json.loads((folder / "val_subset250_results_lightpose.json").read_bytes())
    ours, _ = compare(content, results)
    assert ours.stats[0] == pytest.approx(0.215356, abs=5e-7)


def test_areas_from_boxes():
    content, results = random_case(13)
    truth, found = coco_objects(content, results)
    ours = Ours(truth, found, sigmas=np.linspace(0.02, 0.2, 17), use_area=False)
    for one in content["annotations"]:
        one["area"] = one["bbox"][3] * one["bbox"][2] * 0.53
    theirs, _ = run(Theirs, content, results, other_sigmas)
    ours.evaluate()
    ours.accumulate()
    assert np.array_equal(ours.eval["precision"], theirs.eval["precision"])


def test_annotations_are_left_as_they_are():
    content, results = random_case(13)
    truth, found = coco_objects(content, results)
    before = copy.deepcopy((truth.anns, found.anns))
    evaluation = Ours(truth, found)
    evaluation.evaluate()
    assert (truth.anns, found.anns) == before


def test_wrong_calls_and_wrong_numbers_are_refused():
    with pytest.raises(UsageError, match="only keypoints are evaluated here"):
        Params("segm")
    with pytest.raises(UsageError, match="call evaluate"):
        Ours().accumulate()
    with pytest.raises(UsageError, match="call accumulate"):
        Ours().summarize()
    content, results = random_case(13)
    evaluation = Ours(*coco_objects(content, results))
    evaluation.params.useCats = 0
    with pytest.raises(UsageError, match="useCats is 0"):
        evaluation.evaluate()
    results[1]["keypoints"][3] = float("nan")
    with pytest.raises(InputError, match="num-not-finite"):
        Ours(*coco_objects(content, results)).evaluate()
