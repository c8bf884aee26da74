"""Results from arrays: the shapes that are asked for and no others, however many numbers they have."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pose_data.errors import InputError
from pose_data.evaluation.array_results import read_array_columns
from pose_data.evaluation.read_ground_truth import read_ground_truth


@pytest.fixture(scope="module")
def truth(shared):
    return read_ground_truth(shared / "data/coco-sample/annotations/person_keypoints_val2017.json")


@pytest.fixture
def arrays(truth):
    """Return the annotated persons as arrays of results."""
    people = truth.truth
    return {"image_id": people.image_id, "keypoints": people.keypoints, "score": np.ones(len(people.image_id))}


@pytest.fixture
def read(tmp_path, truth, arrays):
    """Return a function that reads the arrays, some of them changed, from a file."""

    def write_and_read(stride=3, **changed):
        np.savez(tmp_path / "results.npz", **{**arrays, **changed})
        return read_array_columns(tmp_path / "results.npz", truth, stride=stride)

    return write_and_read


@pytest.fixture
def refused(read):
    """Return a function that gives the error's code and message."""

    def refusal(**options):
        with pytest.raises(InputError) as caught:
            read(**options)
        assert "results.npz" in caught.value.message
        assert caught.value.hint
        return caught.value.code, str(caught.value)

    return refusal


@pytest.mark.parametrize("stride", [2, 3])
def test_the_stride_that_is_asked_for(read, arrays, stride):
    keypoints = arrays["keypoints"][..., :stride]
    for shape in (keypoints.shape, (len(keypoints), 17 * stride)):
        assert np.array_equal(read(stride, keypoints=keypoints.reshape(shape)).keypoints, keypoints)


@pytest.mark.parametrize("stride", [2, 3])
def test_the_other_stride_is_refused_and_named(refused, arrays, stride):
    other = 5 - stride
    keypoints = arrays["keypoints"][..., :other]
    for shape in (keypoints.shape, (len(keypoints), 17 * other)):
        code, text = refused(stride=stride, keypoints=keypoints.reshape(shape))
        assert code == "array-shape"
        assert f"keypoints has the shape {shape}, not (356, 17, {stride}) or (356, {17 * stride})" in text
        assert f"(--keypoint-stride {other}) reads {other} numbers a keypoint" in text


@pytest.mark.parametrize("axes", [(0, 2, 1), (1, 0, 2), (2, 1, 0)])
def test_as_many_numbers_in_another_order_are_refused(refused, arrays, axes):
    keypoints = arrays["keypoints"].transpose(axes)
    code, text = refused(keypoints=keypoints)
    assert code == "array-shape"
    assert f"keypoints has the shape {keypoints.shape}, not (356, 17, 3) or (356, 51)" in text
    assert refused(keypoints=keypoints.ravel())[0] == "array-shape"


def test_other_keypoints_are_counted(refused, arrays):
    keypoints = arrays["keypoints"][:, :14]
    for shape in (keypoints.shape, (len(keypoints), 42)):
        code, text = refused(keypoints=keypoints.reshape(shape))
        assert code == "kpt-length"
        assert "14 keypoints against 17 of coco-person" in text


def test_ids_and_scores_are_one_number_a_row(refused, arrays):
    code, text = refused(image_id=arrays["image_id"][:, None])
    assert (code, "image_id has the shape (356, 1), not (D,)" in text) == ("array-shape", True)
    code, text = refused(image_id=np.array(3))
    assert (code, "image_id has the shape (), not (D,)" in text) == ("array-shape", True)
    code, text = refused(score=arrays["score"][:, None])
    assert (code, "score has the shape (356, 1), not (356,)" in text) == ("array-shape", True)
    assert refused(score=np.array(0.5))[0] == "array-shape"


def test_ids_beyond_int64_do_not_become_others(read, refused, arrays):
    ids = arrays["image_id"].astype(np.uint64)
    assert np.array_equal(read(image_id=ids).image_id, arrays["image_id"])
    ids[4] = 2**63
    code, text = refused(image_id=ids)
    assert code == "image-id-value"
    assert "image_id is 9223372036854775808 in record 4; 1 such" in text


def test_lists_without_rows_have_no_length(tmp_path, truth):
    lists = pa.list_(pa.float64())
    columns = {"image_id": pa.array([], pa.int64()), "score": pa.array([], pa.float64())}
    table = pa.table({**columns, "keypoints": pa.array([], lists), "bbox_xywh": pa.array([], lists)})
    pq.write_table(table, tmp_path / "none.parquet")
    got = read_array_columns(tmp_path / "none.parquet", truth)
    assert got.keypoints.shape == (0, 17, 3)
    assert got.bbox_xywh.shape == (0, 4)
