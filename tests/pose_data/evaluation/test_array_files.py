"""Arrays in files: what is written comes back, bit for bit; what does not fit is refused."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pose_data.errors import InputError, UsageError
from pose_data.evaluation import Detections, evaluate
from pose_data.evaluation.array_files import write_detections, write_ground_truth
from pose_data.evaluation.read_detections import read_detections
from pose_data.evaluation.read_ground_truth import read_ground_truth
from pose_data.evaluation.rules import COCO_WHOLEBODY, CROWDPOSE


@pytest.fixture
def truth(shared):
    return read_ground_truth(shared / "data/coco-sample/annotations/person_keypoints_val2017.json")


@pytest.fixture
def detections(truth):
    random = np.random.default_rng(2)
    people = truth.truth
    keypoints = people.keypoints + random.normal(size=people.keypoints.shape)
    return Detections(image_id=people.image_id, keypoints=keypoints, score=random.random(len(keypoints)))


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
@pytest.mark.parametrize("boxes", [False, True])
def test_detections_come_back(tmp_path, truth, detections, suffix, boxes):
    if boxes:
        detections = Detections(
            image_id=detections.image_id, keypoints=detections.keypoints, score=detections.score,
            bbox_xywh=np.random.default_rng(0).random((len(detections), 4)),
        )  # fmt: skip
    path = tmp_path / "new" / f"results{suffix}"
    write_detections(path, detections)
    got = read_detections(path, truth)
    for name in ("image_id", "keypoints", "score", "bbox_xywh"):
        assert np.array_equal(getattr(got.detections, name), getattr(detections, name)), name
    assert got.remarks == ()
    assert got.digest.startswith("sha256:")
    assert evaluate(truth.truth, got.detections).numbers == evaluate(truth.truth, detections).numbers
    again = tmp_path / f"again{suffix}"
    write_detections(again, detections)
    assert again.read_bytes() == path.read_bytes()
    without = read_detections(path, truth, boxes="ignore")
    assert without.detections.bbox_xywh is None
    assert [remark.code for remark in without.remarks] == ["boxes-ignored"] * boxes


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
@pytest.mark.parametrize("name", ["coco-sample", "crowdpose", "wholebody"])
def test_ground_truth_comes_back(shared, tmp_path, truth, suffix, name):
    folder = shared / "data" / "other-keypoints"
    if name == "crowdpose":
        truth = read_ground_truth(folder / "crowdpose/test_crowdpose.json")
        assert truth.rules is CROWDPOSE
    if name == "wholebody":
        truth = read_ground_truth(folder / "coco/test_coco_wholebody.json", rules=COCO_WHOLEBODY)
    path = tmp_path / f"truth{suffix}"
    write_ground_truth(path, truth)
    got = read_ground_truth(path)
    people, others = truth.truth, got.truth
    for field in (
        "image_ids",
        "image_id",
        "annotation_id",
        "keypoints",
        "bbox_xywh",
        "area",
        "iscrowd",
        "num_keypoints",
    ):
        assert np.array_equal(getattr(others, field), getattr(people, field)), field
    assert (others.skeleton, others.sizes_wh, others.warnings) == (people.skeleton, people.sizes_wh, people.warnings)
    for field in ("category_id", "category_name", "keypoint_names", "file_names", "rules", "remarks", "counts"):
        assert getattr(got, field) == getattr(truth, field), field
    assert np.array_equal(got.record, truth.record)
    with pytest.raises(UsageError, match="holds the rules that its areas were made by"):
        read_ground_truth(path, area="segment")


def test_arrays_get_the_same_checks_as_json(tmp_path, truth, detections):
    path = tmp_path / "results.npz"
    arrays = {"image_id": detections.image_id, "keypoints": detections.keypoints, "score": detections.score}

    def refused(**changed):
        np.savez(path, **{**arrays, **changed})
        with pytest.raises(InputError) as caught:
            read_detections(path, truth)
        return str(caught.value)

    assert "1 of 356 results names an image the ground truth does not have (5, record 2)" in refused(
        image_id=np.where(np.arange(len(detections)) == 2, 5, detections.image_id)
    )
    assert "score is NaN in record 0" in refused(score=np.full(len(detections), np.nan))
    assert "14 keypoints against 17 of coco-person" in refused(keypoints=detections.keypoints[:, :14])
    assert "its image_id are of <U" in refused(image_id=detections.image_id.astype(str))
    assert "its score are of <U" in refused(score=detections.score.astype(str))
    assert "score has the shape (355,), not (356,)" in refused(score=detections.score[:-1])
    assert "bbox_xywh has the shape (356, 3), not (356, 4)" in refused(bbox_xywh=np.zeros((356, 3)))
    np.savez(path, image_id=detections.image_id, keypoints=detections.keypoints)
    with pytest.raises(InputError, match="it has no array score"):
        read_detections(path, truth)
    np.savez(path, **{**arrays, "keypoints": detections.keypoints[..., :2]})
    pairs = read_detections(path, truth, keypoint_stride=2).detections.keypoints
    assert np.array_equal(pairs[..., :2], detections.keypoints[..., :2])


def test_files_of_another_kind_are_refused(tmp_path, truth):
    for name in ("a.npz", "a.parquet"):
        (tmp_path / name).write_bytes(b"no arrays")
        with pytest.raises(InputError, match="array-file-invalid"):
            read_detections(tmp_path / name, truth)
        with pytest.raises(InputError, match="file-unreadable"):
            read_detections(tmp_path / f"b{name}", truth)
    np.save(tmp_path / "single.npy", np.zeros(3))
    (tmp_path / "single.npy").rename(tmp_path / "single.npz")
    with pytest.raises(InputError, match=r"it holds a single array.*\[array-file-invalid\]"):
        read_detections(tmp_path / "single.npz", truth)
    np.savez(tmp_path / "c.npz", image_id=np.zeros(3))
    with pytest.raises(InputError, match="is no ground truth"):
        read_ground_truth(tmp_path / "c.npz")
    np.savez(tmp_path / "d.npz", image_id=np.array([object()]))
    with pytest.raises(InputError, match="array-file-invalid"):
        read_ground_truth(tmp_path / "d.npz")
    table = pa.table({"image_id": [1, 2], "score": [0.5, 0.5], "keypoints": [[1.0] * 51, [1.0] * 50]})
    pq.write_table(table, tmp_path / "e.parquet")
    with pytest.raises(InputError, match="keypoints is not one list of the same length in every row"):
        read_detections(tmp_path / "e.parquet", truth)
    with pytest.raises(UsageError, match="file-suffix"):
        write_detections(
            tmp_path / "f.csv", Detections(image_id=np.zeros(0, int), keypoints=np.zeros((0, 17, 3)), score=np.zeros(0))
        )


def test_parquet_of_others_is_read(tmp_path, truth, detections):
    """Lists of any kind do, and columns that are not known are passed over."""
    flat = detections.keypoints.reshape(len(detections), -1)
    table = pa.table({
        "image_id": detections.image_id.astype(np.int32), "score": detections.score.astype(np.float32),
        "keypoints": flat.tolist(), "note": ["x"] * len(flat),
    })  # fmt: skip
    pq.write_table(table, tmp_path / "results.parquet")
    got = read_detections(tmp_path / "results.parquet", truth).detections
    assert np.array_equal(got.keypoints.reshape(flat.shape), flat)
    assert got.score.tolist() == detections.score.astype(np.float32).tolist()


def test_no_detections_are_no_results(tmp_path, truth):
    empty = Detections(image_id=np.zeros(0, np.int64), keypoints=np.zeros((0, 17, 3)), score=np.zeros(0))
    for name in ("a.npz", "a.parquet"):
        write_detections(tmp_path / name, empty)
        assert [remark.code for remark in read_detections(tmp_path / name, truth).remarks] == ["no-results"]


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
def test_ground_truth_without_persons_comes_back(tmp_path, suffix):
    path = tmp_path / "truth.json"
    lists = {"images": [{"id": 1}], "annotations": [], "categories": [{"id": 1, "name": "person"}]}
    path.write_text(json.dumps(lists))
    write_ground_truth(tmp_path / f"truth{suffix}", read_ground_truth(path))
    got = read_ground_truth(tmp_path / f"truth{suffix}").truth
    assert (got.keypoints.shape, got.bbox_xywh.shape) == ((0, 17, 3), (0, 4))


def test_ground_truth_of_other_shapes_is_refused(tmp_path, truth):
    path = tmp_path / "truth.npz"
    write_ground_truth(path, truth)
    with np.load(path) as file:
        arrays = dict(file)

    def refused(**changed):
        np.savez(path, **{**arrays, **changed})
        with pytest.raises(InputError) as caught:
            read_ground_truth(path)
        assert caught.value.code == "array-shape"
        return str(caught.value)

    assert "keypoints has the shape (17, 356, 3), not (356, 17, 3) or (356, 51)" in refused(
        keypoints=arrays["keypoints"].transpose(1, 0, 2)
    )
    assert "image_id has the shape (), not (G,)" in refused(image_id=np.array(1))
    assert "image_id has the shape (356, 1), not (G,)" in refused(image_id=arrays["image_id"][:, None])
    del arrays["annotation_id"]
    np.savez(path, **arrays)
    with pytest.raises(InputError, match=r"it has not an array annotation_id.*\[array-file-invalid\]"):
        read_ground_truth(path)


def test_about_is_plain_json(tmp_path, truth):
    write_ground_truth(tmp_path / "truth.npz", truth)
    with np.load(tmp_path / "truth.npz") as file:
        about = json.loads(str(file["about"]))
    assert about["rules"]["name"] == "coco"
    assert about["images"][0].keys() == {"id", "file_name", "width_height"}
