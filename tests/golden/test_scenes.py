"""Scenes: targets and decodes of the two ports of OpenPose (shared/peer_golden), and what grouping loses on COCO.

Tolerances: maps and fields are computed in float64 and rounded to float32 once, tensorboy's are float64 and
lightweight's were added up in float32, so they differ by a rounding or two of numbers below 1 (1.2e-7).
Enlarged maps are sums of sixteen products in float32 (5e-7 of numbers near 1).
"""

import contextlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from pipelines.prepare import prepare
from pose_data.grouping import GROUPINGS, GroupingOptions, find_grouping, group_persons
from pose_data.grouping.peaks import find_peaks, upsample_maps
from pose_data.imaging import encode_jpeg
from pose_data.limbs import LIMB_TABLES, LimbTable, add_neck, drop_neck
from pose_data.recipes import build_recipe
from pose_data.skeleton import COCO_PERSON
from pose_data.store import open_store
from pose_data.targets.paf import SCENE_RULES, SceneRules, encode_fields, encode_scene_maps

Golden = Mapping[str, np.ndarray]
TABLE_OF = {"tensorboy": LIMB_TABLES["tensorboy"], "lightweight": LIMB_TABLES["openpose"]}
CELLS = 46


@pytest.fixture(scope="module")
def golden(shared: Path) -> Golden:
    with np.load(shared / "peer_golden" / "peers.npz") as arrays:
        return {name: arrays[name] for name in arrays.files if name.startswith(("codec_tens", "codec_light"))}


@pytest.fixture(scope="module")
def people(keyed: ModuleType) -> np.ndarray:
    """Return the three random persons (3, 17, 3) that the ports were given."""
    return keyed.people()


def draw(people: np.ndarray, port: str) -> tuple[np.ndarray, np.ndarray]:
    xy, labelled = add_neck(people[..., :2], people[..., 2] > 0)
    shape = {"rules": SCENE_RULES[port], "map_width": CELLS, "map_height": CELLS}
    return encode_scene_maps(xy, labelled, **shape), encode_fields(xy, labelled, TABLE_OF[port].limbs, **shape)


def test_the_neck_is_tensorboys(golden: Golden, people: np.ndarray) -> None:
    xy, labelled = add_neck(people[..., :2], people[..., 2] > 0)
    theirs = golden["codec_tensorboy:with_neck"]
    np.testing.assert_array_equal(np.rint(xy), theirs[..., :2])
    np.testing.assert_array_equal(labelled, theirs[..., 2] > 0)


def test_limb_tables_and_their_order(golden: Golden) -> None:
    table = LIMB_TABLES["openpose"]
    np.testing.assert_array_equal(table.limbs, golden["codec_lightweight:limbs_target"])
    np.testing.assert_array_equal(LIMB_TABLES["tensorboy"].limbs, golden["codec_tensorboy:limbs"])
    np.testing.assert_array_equal([table.limbs[limb] for limb in table.order], golden["codec_lightweight:limbs_decode"])
    channels = [(2 * limb, 2 * limb + 1) for limb in table.order]
    np.testing.assert_array_equal(channels, golden["codec_lightweight:paf_ids_decode"])


@pytest.mark.parametrize("port", ["tensorboy", "lightweight"])
@pytest.mark.parametrize("what", ["heatmaps", "pafs"])
def test_targets(golden: Golden, people: np.ndarray, port: str, what: str) -> None:
    ours = draw(people, port)[what == "pafs"]
    assert ours.dtype == np.float32
    # The tensorboy port keeps channels last.
    flat = (ours.transpose(1, 2, 0) if port == "tensorboy" else ours).reshape(-1).astype(np.float64)
    total, absolute, size, step = golden[f"codec_{port}:{what}|stat"]
    assert flat.size == size
    np.testing.assert_allclose(flat[:: int(step)], golden[f"codec_{port}:{what}|every"], rtol=0, atol=1.2e-7)
    np.testing.assert_allclose([flat.sum(), np.abs(flat).sum()], [total, absolute], rtol=0, atol=1e-5)


@pytest.mark.parametrize(("port", "limbs"), [("tensorboy", "tensorboy"), ("lightweight", "openpose")])
def test_a_store_s_targets_are_the_ports(
    golden: Golden, people: np.ndarray, port: str, limbs: str, tmp_path: Path
) -> None:
    """The ports' persons, in a COCO file and a picture of the window's size, prepared and read back."""
    annotations = [
        {"id": number, "image_id": 1, "category_id": 1, "iscrowd": 0, "bbox": [20.0, 20.0, 300.0, 300.0], "area": 9e4,
         "keypoints": person.reshape(-1).tolist(), "num_keypoints": int((person[:, 2] > 0).sum())}
        for number, person in enumerate(people, 1)
    ]  # fmt: skip
    content = {
        "images": [{"id": 1, "file_name": "1.jpg", "width": 368, "height": 368}], "annotations": annotations,
        "categories": [{"id": 1, "name": "person", "keypoints": list(COCO_PERSON.names)}],
    }  # fmt: skip
    (tmp_path / "people.json").write_text(json.dumps(content), encoding="utf-8")
    (tmp_path / "1.jpg").write_bytes(encode_jpeg(np.zeros((368, 368, 3), np.uint8), 90))
    name = "openpose-368" if port == "tensorboy" else "lightweight-openpose-368"
    recipe = build_recipe(name, limbs=limbs, context_px=0, map_dtype="float32", field_dtype="float16")
    prepare(tmp_path / "s.zarr", annotations=tmp_path / "people.json", images=tmp_path, recipe=recipe, workers=1)
    (split,) = open_store(tmp_path / "s.zarr").values()
    for what, tolerance in (("heatmaps", 1.2e-7), ("pafs", 2.5e-4)):  # half a step of float16 below 1
        stored = split[what][0]
        flat = (stored.transpose(1, 2, 0) if port == "tensorboy" else stored).reshape(-1).astype(np.float64)
        _, _, size, step = golden[f"codec_{port}:{what}|stat"]
        assert flat.size == size
        theirs = golden[f"codec_{port}:{what}|every"]
        np.testing.assert_allclose(flat[:: int(step)], theirs, rtol=0, atol=tolerance)


def test_peaks_and_persons_of_the_lightweight_port(golden: Golden, people: np.ndarray) -> None:
    maps, fields = draw(people, "lightweight")
    points, poses = golden["codec_lightweight:decode/points"], golden["codec_lightweight:decode/poses"]
    published = GROUPINGS["published"]
    peaks = find_peaks(upsample_maps(maps[:-1], published.upsample), published)
    np.testing.assert_array_equal(peaks.xy_grid, points[:, :2])
    np.testing.assert_allclose(peaks.score, points[:, 2], rtol=0, atol=5e-7)
    found = group_persons(maps[None], fields[None], LIMB_TABLES["openpose"], published)[0]
    np.testing.assert_array_equal(found.joint_count, poses[:, 19])
    np.testing.assert_allclose(found.score, poses[:, 18], rtol=2e-6)
    for ours, pose in zip(found.keypoints, poses[:, :18].astype(int), strict=True):
        expected = np.zeros((18, 3))
        expected[pose >= 0] = points[pose[pose >= 0], :3]
        expected[pose >= 0, :2] = (expected[pose >= 0, :2] + 0.5) / 4 - 0.5
        np.testing.assert_allclose(ours, expected, rtol=0, atol=5e-7)


# ------------------------------------------------------------------ what is lost on real persons


def ground_truth(shared: Path, split: str) -> COCO:
    path = shared / "data" / "coco-sample" / "annotations" / f"person_keypoints_{split}.json"
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(path))


def grouped(coco: COCO, picture: int, rules: SceneRules, table: LimbTable, options: GroupingOptions) -> list[dict]:
    """Return the results of one picture, letterboxed to 368 high, from the fields of its own annotations."""
    image = coco.imgs[picture]
    persons = [one for one in coco.imgToAnns[picture] if one["num_keypoints"] > 0 and not one["iscrowd"]]
    keypoints = np.array([person["keypoints"] for person in persons], dtype=np.float64).reshape(-1, 17, 3)
    scale = 368 / image["height"]
    xy, labelled = add_neck((keypoints[..., :2] + 0.5) * scale - 0.5, keypoints[..., 2] > 0)
    shape = {"rules": rules, "map_width": int(np.ceil(image["width"] * scale / 8)), "map_height": CELLS}
    maps, fields = encode_scene_maps(xy, labelled, **shape), encode_fields(xy, labelled, table.limbs, **shape)
    found = group_persons(maps[None], fields[None], table, options)[0]
    joints = drop_neck(found.keypoints_input())
    joints[..., :2] = np.where(joints[..., 2:] > 0, (joints[..., :2] + 0.5) / scale - 0.5, 0.0)
    return [
        {"image_id": picture, "category_id": 1, "keypoints": one.reshape(-1).tolist(), "score": float(score)}
        for one, score in zip(joints, found.coco_score(), strict=True)
    ]


def average_precision(coco: COCO, rules: SceneRules, options: GroupingOptions) -> float:
    results = [
        one for picture in coco.getImgIds() for one in grouped(coco, picture, rules, TABLE_OF["lightweight"], options)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(coco, coco.loadRes(results), "keypoints")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[0])


LOSSES = [
    ("val2017", "lightweight", "published", 0.77),
    ("val2017", "lightweight", "subcell", 0.83),
    ("val2017", "paper", "subcell", 0.85),
    ("val2017", "paper", "joined", 0.93),
    ("train2017", "paper", "joined", 0.93),
]


@pytest.mark.parametrize(("split", "rules", "grouping", "least"), LOSSES)
def test_perfect_fields_give_the_persons_back(
    shared: Path, split: str, rules: str, grouping: str, least: float
) -> None:
    drawn_by = SCENE_RULES[rules]
    found = average_precision(ground_truth(shared, split), drawn_by, find_grouping(grouping, drawn_by))
    assert least <= found < least + 0.03
