"""Whether numbers compare with published ones: only by COCO's own rules, and the first difference is named."""

from dataclasses import replace

import pytest

from pose_data.evaluation import EvaluationOptions, evaluate
from pose_data.evaluation.rules import COCO
from pose_data.report import judge, judgement

SIGMAS = (0.05,) * 17


@pytest.fixture
def as_val2017(judged_case, monkeypatch):
    """Return persons and detections that pass for all of val2017."""
    truth, detections = judged_case(11, pictures=20)
    counts = len(truth.image_ids), int((~truth.ignored).sum())
    monkeypatch.setattr(judgement, "_COCO_VAL2017", counts)
    return truth, detections


def comparable(truth, detections, **more):
    options = more.pop("options", EvaluationOptions())
    return judge(evaluate(truth, detections, options=options), replicates=0, **more).comparable()


def test_coco_s_own_rules_compare(as_val2017):
    assert comparable(*as_val2017) == (
        True, "all of COCO val2017 by COCO's rules; say which person boxes were used",
    )  # fmt: skip
    same = replace(COCO, source="same.toml")
    assert comparable(*as_val2017, rules=same)[0]


@pytest.mark.parametrize(
    ("more", "because"),
    [
        ({"rules": replace(COCO, area="box-0.53")}, "the area of a person is box-0.53"),
        ({"rules": replace(COCO, count_labels=True)}, "by their labels, not by num_keypoints"),
        ({"rules": replace(COCO, drop_unscored=True)}, "third numbers are all 0"),
        ({"images_skipped": True}, "not annotated were skipped"),
        ({"options": EvaluationOptions(max_detections=5)}, "5 detections a picture"),
        ({"options": EvaluationOptions(detection_area="extent")}, "that of its keypoints"),
        ({"options": EvaluationOptions(max_detections=5), "images_skipped": True}, "were skipped"),
    ],
)
def test_other_rules_do_not_and_the_first_is_named(as_val2017, more, because):
    said, text = comparable(*as_val2017, **more)
    assert not said
    assert because in text


def test_other_sigmas_do_not(as_val2017):
    truth, detections = as_val2017
    skeleton = replace(COCO.skeleton, sigmas=SIGMAS)
    own = replace(truth, skeleton=skeleton)
    rules = replace(COCO, skeleton=skeleton, source="own.toml")
    assert comparable(own, detections, rules=rules) == (False, "the sigmas are not COCO's but own.toml's")
    assert comparable(own, detections) == (False, "the sigmas are not COCO's")


def test_other_keypoints_by_the_same_name_do_not(as_val2017):
    truth, detections = as_val2017
    names = tuple(f"joint_{number}" for number in range(17))
    said, text = comparable(replace(truth, skeleton=replace(COCO.skeleton, names=names)), detections)
    assert not said
    assert "skeleton" in text
