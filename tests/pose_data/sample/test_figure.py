import numpy as np
import pytest

from pose_data.sample.figure import POSES, pose_body, random_shape
from pose_data.skeleton import COCO_PERSON


def body_of(pose: str, seed: int = 0, yaw_deg: float = 0.0):
    rng = np.random.default_rng(seed)
    return pose_body(rng, random_shape(rng), POSES[pose], yaw_deg=yaw_deg, pitch_deg=5.0)


@pytest.mark.parametrize("pose", list(POSES))
def test_every_pose_has_all_keypoints_above_the_ground(pose):
    for seed in range(5):
        body = body_of(pose, seed)
        assert set(COCO_PERSON.names) <= set(body.joints)
        heights = [float((body.joints[name] - body.ground) @ body.up) for name in COCO_PERSON.names]
        assert min(heights) > 0
        assert max(heights) < 1.35


def test_the_left_side_is_at_larger_x_from_the_front_and_at_smaller_x_from_the_back():
    for yaw, sign in ((0.0, 1), (180.0, -1)):
        body = body_of("stand", yaw_deg=yaw)
        for name in ("shoulder", "hip", "ankle", "ear"):
            assert sign * (body.joints[f"left_{name}"][0] - body.joints[f"right_{name}"][0]) > 0


def test_bones_keep_their_length_in_every_pose():
    lengths = []
    for pose in POSES:
        rng = np.random.default_rng(3)
        joints = pose_body(rng, random_shape(np.random.default_rng(1)), POSES[pose], yaw_deg=40, pitch_deg=8).joints
        bones = (("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "ankle"))
        lengths.append([np.linalg.norm(joints[f"left_{a}"] - joints[f"left_{b}"]) for a, b in bones])
    assert np.ptp(np.array(lengths), axis=0).max() < 1e-9


def test_knees_bend_backwards_and_elbows_forwards():
    body = body_of("sit")
    for side in ("left", "right"):
        knee, hip, ankle = (body.joints[f"{side}_{name}"] for name in ("knee", "hip", "ankle"))
        assert knee[2] > hip[2] + 0.1
        assert ankle[1] < knee[1] - 0.1
    body = body_of("hands-in-front")
    for side in ("left", "right"):
        assert body.joints[f"{side}_wrist"][2] > body.joints[f"{side}_shoulder"][2] + 0.05
