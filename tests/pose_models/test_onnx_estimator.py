"""Exported networks on the cores of the computer: parts of a batch are what the whole is."""

import numpy as np
import pytest

from pose_models.export import export
from pose_models.onnx_estimator import OnnxEstimator, open_session
from pose_models.parity import generated_crops

onnxruntime = pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def exported(untrained_run, tmp_path_factory):
    path = tmp_path_factory.mktemp("exported") / "a.onnx"
    export(untrained_run, format="onnx", out=path)
    return path


@pytest.mark.parametrize("threads", [1, 2, 3, 64])
def test_keypoints_do_not_depend_on_the_cores(exported, threads):
    estimator = OnnxEstimator(exported, threads=threads, shares_cores=True)
    crops = generated_crops(estimator.conventions, count=19)
    singly = np.concatenate([OnnxEstimator(exported, threads=1).keypoints(crops[[place]]) for place in range(19)])
    together = estimator.keypoints(crops)
    # Another batch is another order of summation, which the decoding of some flat map of random weights may blow up.
    assert together[..., 2] == pytest.approx(singly[..., 2], abs=1e-4)
    assert np.median(np.abs(together - singly)[..., :2].max(axis=2)) < 1e-3


def test_few_crops_are_for_all_cores_together_and_many_for_each(exported, monkeypatch):
    sizes = []
    run = onnxruntime.InferenceSession.run

    def noted(session, outputs, inputs):
        sizes.append((session.get_session_options().intra_op_num_threads, len(inputs["images"])))
        return run(session, outputs, inputs)

    monkeypatch.setattr(onnxruntime.InferenceSession, "run", noted)
    estimator = OnnxEstimator(exported, threads=3, shares_cores=True)
    crops = generated_crops(estimator.conventions, count=32)
    estimator.keypoints(crops[:2])
    assert sizes == [(3, 2)]
    OnnxEstimator(exported, threads=3).keypoints(crops)
    assert sizes[1:] == [(3, 32)]
    sizes.clear()
    estimator.keypoints(crops)
    assert {threads for threads, _ in sizes} == {1}
    assert sorted((size for _, size in sizes), reverse=True) == [4, 4, 4, 3, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]


@pytest.mark.parametrize(
    ("device", "number"), [("cuda", "0"), ("cuda:0", "0"), ("cuda:1", "1"), ("cuda:12", "12"), ("auto", "0")]
)
def test_a_gpu_is_the_one_that_was_asked_for(monkeypatch, device, number):
    asked = []
    monkeypatch.setattr(
        onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"]
    )
    monkeypatch.setattr(onnxruntime, "InferenceSession", lambda model, sess_options, providers: asked.append(providers))
    open_session(b"", device=device)
    assert asked == [[("CUDAExecutionProvider", {"device_id": number}), "CPUExecutionProvider"]]
