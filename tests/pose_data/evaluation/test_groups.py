"""Groups of persons: each person in one group of a kind, figures as counted by hand."""

from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest

from pose_data.evaluation import evaluate
from pose_data.evaluation.groups import group_table, person_oks
from pose_data.evaluation.localisation import localise


@pytest.fixture
def groups(judged_case):
    result = evaluate(*judged_case(5, pictures=60, persons=10))
    found = localise(result)
    return result, found, group_table(result, found)


def test_every_counted_person_is_in_one_group_of_each_kind(groups):
    result, _, table = groups
    persons = defaultdict(int)
    for group in table:
        persons[group.by] += group.persons
    counted = int((~result.truth.ignored).sum())
    assert set(persons.values()) == {counted}
    assert len(persons) == 7


def test_recall_of_all_groups_together_is_that_of_the_evaluation(groups):
    result, found, table = groups
    sizes = [group for group in table if group.by == "size"]
    counted = sum(group.persons for group in sizes)
    assert sum(group.recall * group.persons for group in sizes) / counted == pytest.approx(result.numbers["AR"])
    assert sum(group.recall50 * group.persons for group in sizes) / counted == pytest.approx(result.numbers["AR50"])
    mean = person_oks(result.truth, found)[~result.truth.ignored].mean()
    assert sum(group.mean_oks * group.persons for group in sizes) / counted == pytest.approx(mean)


def test_only_groups_of_pictures_have_an_ap(groups):
    result, _, table = groups
    assert {group.by for group in table if group.ap is not None} == {"persons in the picture"}
    truth = result.truth
    alone = [image for image in truth.image_ids if ((truth.image_id == image) & ~truth.iscrowd).sum() == 1]
    kept = np.isin(result.detections.image_id, alone)
    persons = np.isin(truth.image_id, alone)
    part = replace(
        truth, image_ids=np.array(alone), image_id=truth.image_id[persons], keypoints=truth.keypoints[persons],
        annotation_id=truth.annotation_id[persons], bbox_xywh=truth.bbox_xywh[persons], area=truth.area[persons],
        iscrowd=truth.iscrowd[persons], num_keypoints=truth.num_keypoints[persons],
    )  # fmt: skip
    own = replace(
        result.detections, image_id=result.detections.image_id[kept], score=result.detections.score[kept],
        keypoints=result.detections.keypoints[kept],
    )  # fmt: skip
    ap = next(group.ap for group in table if (group.by, group.name) == ("persons in the picture", "1"))
    assert ap == evaluate(part, own).numbers["AP"]


def test_boxes_at_the_border_are_cut(judged_case):
    truth, detections = judged_case(5, pictures=60)
    boxes = truth.bbox_xywh.copy()
    boxes[:, :2] = 100
    boxes[:, 2:] = 50
    boxes[0, 0], boxes[1, 3] = 1.0, 300.0
    truth = replace(truth, bbox_xywh=boxes, iscrowd=np.zeros(len(boxes), bool), num_keypoints=np.full(len(boxes), 3))
    result = evaluate(truth, detections)
    table = {(group.by, group.name): group.persons for group in group_table(result, localise(result))}
    assert table["cut by the picture's border", "yes"] == 2
    unknown = evaluate(replace(truth, sizes_wh={}), detections)
    assert "cut by the picture's border" not in {group.by for group in group_table(unknown, localise(unknown))}
