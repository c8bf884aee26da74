"""Cards: what is shown around a case, also where single keypoints lie far off."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from pose_data.evaluation import evaluate
from pose_data.report import judge
from pose_data.report.cards import _region, make_cards
from pose_data.report.case_pictures import PictureFolder
from pose_data.report.cases import choose_cases

BODY = np.column_stack([np.linspace(100, 140, 17), np.linspace(50, 200, 17)])


@pytest.mark.parametrize("far", [60_000.0, -1e12, 1e308])
def test_a_stray_keypoint_of_a_detection_of_nobody_leaves_the_region_alone(far):
    stray = BODY.copy()
    stray[3] = far
    assert _region(None, stray, None)[2] < 300


def test_an_outstretched_body_stays_whole():
    reaching = BODY.copy()
    reaching[9] = (260, 60)
    x, y, width, height = _region(None, reaching, None)
    assert (x < reaching.min(axis=0)[0], y < reaching.min(axis=0)[1]) == (True, True)
    assert (x + width > 260, y + height > 200) == (True, True)


def test_a_person_with_an_endless_box_still_has_a_region():
    region = _region(None, BODY, np.array([-1e308, 0.0, 1.7e308, 1e308]))
    assert np.isfinite(region).all()


def test_cards_of_far_off_keypoints_are_made(judged_case, tmp_path):
    truth, detections = judged_case(11, pictures=30)
    keypoints = detections.keypoints.copy()
    keypoints[:, 0, :2] = 60_000.0
    keypoints[::2, 1:, :2] *= 300.0
    names = {int(image): "picture.png" for image in truth.image_ids}
    Image.fromarray(np.zeros((400, 480, 3), np.uint8)).save(tmp_path / "picture.png")
    judgement = judge(evaluate(truth, replace(detections, keypoints=keypoints)), replicates=0)
    cases = choose_cases(judgement, most=500)
    assert "background" in {case.sort for case in cases}
    cards = make_cards(judgement, cases, PictureFolder(tmp_path, names))
    assert all("image/webp" in card.svg for card in cards)
