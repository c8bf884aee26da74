"""Prediction end to end: pictures and videos in, files out; the same numbers as evaluation; bad inputs."""

import csv
import http.client
import json

import numpy as np
import pytest

from pipelines.prepare import prepare
from pose_data.errors import InputError, UsageError
from pose_data.imaging import decode_picture, encode_jpeg, encode_png, read_picture
from pose_data.recipes import build_recipe
from pose_data.video import VideoReader, VideoWriter
from pose_models.evaluate import evaluate
from pose_models.predict import predict


def noise(seed, width=64, height=48):
    coarse = np.random.default_rng(seed).integers(0, 256, (height // 8, width // 8, 3))
    return np.kron(coarse, np.ones((8, 8, 1))).astype(np.uint8)


def pictures(folder, count=3):
    folder.mkdir()
    for number in range(count):
        (folder / f"{number + 1:04d}.jpg").write_bytes(encode_jpeg(noise(number), 95))
    return folder


def video(path, frames=12, fps=20.0):
    with VideoWriter(path, fps=fps) as writer:
        for number in range(frames):
            writer.write(np.roll(noise(0, 96, 64), 2 * number, axis=1))
    return path


def records(folder):
    return json.loads((folder / "keypoints.json").read_bytes())


def frame_rows(folder):
    with (folder / "frames.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_folder_of_pictures(untrained_run, tmp_path):
    report = predict(
        untrained_run, [pictures(tmp_path / "in")], out=tmp_path / "out", device="cpu", least_keypoint_score=0.0,
        save=("json", "csv", "parquet", "drawn"),
    )  # fmt: skip
    assert (report.frames, report.persons, report.tracks, report.drawn) == (3, 3, 0, 3)
    found = records(tmp_path / "out")
    assert [record["image_id"] for record in found] == [1, 2, 3]
    assert found[0]["bbox"] == [0.0, 0.0, 64.0, 48.0]
    assert found[0]["score"] > 0
    assert "track_id" not in found[0]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "drawn", "frames.csv", "keypoints.csv", "keypoints.json", "keypoints.parquet"
    ]  # fmt: skip
    assert sorted(path.name for path in (tmp_path / "out/drawn").iterdir()) == ["0001.jpg", "0002.jpg", "0003.jpg"]


def test_batches_change_nothing(untrained_run, tmp_path):
    inputs = [pictures(tmp_path / "in", 5)]
    found = []
    for size in (1, 2, 32):
        predict(untrained_run, inputs, out=tmp_path / str(size), device="cpu", batch_size=size, save=("json",))
        found.append(np.array([record["keypoints"] for record in records(tmp_path / str(size))]))
    # Newton steps on flat random maps go far: there, floats differ in the sixth digit.
    assert found[1] == pytest.approx(found[0], abs=2e-3, rel=1e-4)
    assert found[2] == pytest.approx(found[0], abs=2e-3, rel=1e-4)


def test_a_video_is_followed_and_drawn(untrained_run, tmp_path):
    events = []
    report = predict(
        untrained_run, [video(tmp_path / "walk.mp4")], out=tmp_path / "out", device="cpu", on_event=events.append
    )
    assert (report.frames, report.persons) == (12, 12)
    assert report.tracks >= 1
    found = records(tmp_path / "out")
    assert [record["image_id"] for record in found] == list(range(1, 13))
    assert {record["track_id"] for record in found} == set(range(1, report.tracks + 1))
    assert [float(row["time_s"]) for row in frame_rows(tmp_path / "out")] == pytest.approx(np.arange(12) / 20)
    with VideoReader(str(tmp_path / "out/drawn/walk.mp4"), "video") as reader:
        assert (reader.fps, len(list(reader))) == (20.0, 12)
    assert set(report.latency_ms) == {"p50", "p95", "p99"}
    assert events[0].stage == "predict"
    assert any(event.kind == "progress" and event.total == 12 for event in events)


def test_smoothing_and_tracking_can_be_left_out(untrained_run, tmp_path):
    inputs, keypoints = [video(tmp_path / "walk.mp4")], {}
    for name, options in (("plain", {"track": False}), ("rough", {"smooth": False}), ("smooth", {})):
        predict(untrained_run, inputs, out=tmp_path / name, device="cpu", save=("json",), **options)
        keypoints[name] = [record["keypoints"] for record in records(tmp_path / name)]
        assert ("track_id" in records(tmp_path / name)[0]) == (name != "plain")
    assert keypoints["plain"] == keypoints["rough"]
    assert keypoints["smooth"][0] == keypoints["rough"][0]
    assert keypoints["smooth"] != keypoints["rough"]


def test_frames_can_be_limited(untrained_run, tmp_path):
    report = predict(
        untrained_run, [video(tmp_path / "walk.mp4")], out=tmp_path / "out", device="cpu", max_frames=5, save=()
    )
    assert report.frames == 5
    assert [path.name for path in report.files] == ["frames.csv"]


def test_boxes_of_a_file_give_the_results_of_evaluation(untrained_run, shared, tmp_path):
    root = shared / "data/coco-sample"
    content = json.loads((root / "annotations/person_keypoints_val2017.json").read_bytes())
    boxes = [
        {"image_id": a["image_id"], "category_id": 1, "bbox": a["bbox"], "score": 0.5 + 0.4 * (a["id"] % 10) / 10}
        for a in content["annotations"]
        if not a["iscrowd"]
    ]
    (tmp_path / "boxes.json").write_text(json.dumps(boxes), encoding="utf-8")
    recipe = build_recipe("coco-256x192-udp", crop_width_px=96, crop_height_px=128, map_width=24, map_height=32)
    prepare(tmp_path / "crops.zarr", root=root, splits=("val2017",), recipe=recipe)
    report = evaluate(
        untrained_run, data=tmp_path / "crops.zarr", boxes=tmp_path / "boxes.json", images=root / "val2017",
        results=tmp_path / "results.json", flip_test=True, device="cpu",
    )  # fmt: skip
    predict(
        untrained_run, [root / "val2017"], out=tmp_path / "out", boxes=str(tmp_path / "boxes.json"), flip_test=True,
        device="cpu", save=("json",),
    )  # fmt: skip
    known = {image["id"] for image in content["images"]} & {a["image_id"] for a in content["annotations"]}
    mine = [record for record in records(tmp_path / "out") if record["image_id"] in known]
    theirs = json.loads((tmp_path / "results.json").read_bytes())
    assert len(theirs) == report.detections > 200

    def table(rows):
        values = np.array([[row["image_id"], row["score"], *row["keypoints"]] for row in rows])
        return values[np.lexsort(values[:, ::-1].round(1).T)]

    assert len(mine) == len(theirs)
    # Flat maps of random weights make much of the last bit, in which batches of another size differ on some processors.
    wrong = np.abs(table(mine) - table(theirs))
    assert (wrong < 5e-3).mean() > 0.998
    assert wrong[:, :2].max() < 5e-3  # whose they are, and the scores


def test_inputs_that_cannot_be_read_are_listed_and_the_rest_is_done(untrained_run, tmp_path):
    folder = pictures(tmp_path / "in", 2)
    (folder / "0000.jpg").write_bytes(b"no picture")
    (folder / "z.mp4").write_bytes(b"\0" * 64)
    (folder / "tiny.png").write_bytes(encode_png(np.zeros((1, 1, 3), np.uint8)))
    events = []
    report = predict(untrained_run, [folder], out=tmp_path / "out", device="cpu", on_event=events.append)
    assert report.frames == 3
    assert report.problems == {"img-not-an-image": 1, "video-unreadable": 1}
    assert [row["code"] for row in frame_rows(tmp_path / "out")] == ["img-not-an-image", "", "", "", "video-unreadable"]
    assert sum(event.kind == "note" for event in events) == 2


@pytest.mark.parametrize(
    ("name", "data", "code"),
    [("a.mp4", b"\0" * 64, "video-unreadable"), ("a.jpg", b"", "img-not-an-image"), ("a.png", b"\x89PNG", "img-")],
)
def test_a_single_input_that_cannot_be_read_is_an_error_and_leaves_no_files(untrained_run, tmp_path, name, data, code):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError) as caught:
        predict(untrained_run, [tmp_path / name], out=tmp_path / "out", device="cpu")
    assert caught.value.code.startswith(code)
    assert list((tmp_path / "out").iterdir()) == []


def test_several_inputs_that_cannot_be_read_are_an_error(untrained_run, tmp_path):
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(b"no picture")
    with pytest.raises(InputError, match="none of 2 inputs can be read"):
        predict(untrained_run, [tmp_path], out=tmp_path / "out", device="cpu")


def test_pictures_without_persons_give_empty_files(untrained_run, tmp_path):
    (tmp_path / "boxes.json").write_text("[]", encoding="utf-8")
    report = predict(
        untrained_run, [pictures(tmp_path / "in")], out=tmp_path / "out", boxes=str(tmp_path / "boxes.json"),
        device="cpu",
    )  # fmt: skip
    assert (report.frames, report.persons) == (3, 0)
    assert records(tmp_path / "out") == []
    assert [row["persons"] for row in frame_rows(tmp_path / "out")] == ["0", "0", "0"]
    drawn = tmp_path / "out/drawn/0001.jpg"
    pixels = decode_picture(read_picture(drawn), file_name="0001.jpg", expected_wh=(64, 48), exif="ignore").pixels
    assert np.abs(pixels.astype(int) - noise(0)).mean() < 8


def test_a_damaged_checkpoint_in_whose_place_another_is_taken_is_told(run_factory, tmp_path):
    run = run_factory.make_run(tmp_path / "run", steps=(1, 2))
    damaged = run / "checkpoints" / "step-00000002" / "model.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"!")
    told = []
    predict(
        run, [pictures(tmp_path / "in", 1)], out=tmp_path / "out", device="cpu", checkpoint="last", save=("csv",),
        on_event=lambda event: told.append(event.text),
    )  # fmt: skip
    assert any("the checkpoint before it is used" in text for text in told)


def test_earlier_results_are_not_overwritten_unasked(untrained_run, tmp_path):
    folder = pictures(tmp_path / "in")
    predict(untrained_run, [folder], out=tmp_path / "out", device="cpu")
    with pytest.raises(UsageError, match="predictions already"):
        predict(untrained_run, [folder], out=tmp_path / "out", device="cpu")
    (folder / "0003.jpg").unlink()
    (tmp_path / "out/drawn/mine.jpg").write_bytes(b"")
    predict(untrained_run, [folder], out=tmp_path / "out", device="cpu", overwrite=True, save=("csv", "drawn"))
    assert sorted(path.name for path in (tmp_path / "out/drawn").iterdir()) == ["0001.jpg", "0002.jpg", "mine.jpg"]
    # Keypoints of other pictures must not lie beside these as if they were theirs.
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["drawn", "frames.csv", "keypoints.csv"]
    with pytest.raises(InputError):
        predict(untrained_run, [tmp_path / "none"], out=tmp_path / "out", device="cpu", overwrite=True)
    assert (tmp_path / "out/drawn/0001.jpg").is_file()
    with pytest.raises(UsageError, match="nothing is saved as 'xml'"):
        predict(untrained_run, [folder], out=tmp_path / "new", save=("xml",))
    with pytest.raises(UsageError, match="is a file"):
        predict(untrained_run, [folder], out=folder / "0001.jpg")


def test_an_interrupt_leaves_whole_files_of_what_was_done(untrained_run, tmp_path):
    def interrupt(event):
        if event.kind == "progress":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict(
            untrained_run, [video(tmp_path / "walk.mp4")], out=tmp_path / "out", device="cpu", batch_size=4,
            on_event=interrupt,
        )  # fmt: skip
    assert isinstance(records(tmp_path / "out"), list)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "frames.csv", "keypoints.csv", "keypoints.json"
    ]  # fmt: skip


def test_the_live_picture_is_told_and_its_button_ends_the_prediction(untrained_run, tmp_path):
    told = []

    def press(event):
        if event.kind == "note":
            told.append(event.text)
            host = event.text.split("/")[2]
            connection = http.client.HTTPConnection(host, timeout=5)
            connection.request("POST", "/stop")
            assert connection.getresponse().read() == b"stopped\n"
            connection.close()

    report = predict(
        untrained_run, [video(tmp_path / "walk.mp4", 40)], out=tmp_path / "out", device="cpu", save=("json",),
        show=True, batch_size=1, on_event=press,
    )  # fmt: skip
    assert (report.frames, records(tmp_path / "out")) == (0, [])
    assert told[0].startswith("the live picture: http://127.0.0.1:")
    report = predict(
        untrained_run, [tmp_path / "walk.mp4"], out=tmp_path / "all", device="cpu", save=("json",), show=True
    )
    assert report.frames == 40


def test_half_precision_changes_little(untrained_run, tmp_path):
    folder, scores = pictures(tmp_path / "in", 2), []
    for amp in ("off", "bf16"):
        predict(untrained_run, [folder], out=tmp_path / amp, device="cpu", save=("json",), amp=amp)
        scores.append(np.array([record["keypoints"] for record in records(tmp_path / amp)])[:, 2::3])
    assert scores[0].tolist() != scores[1].tolist()
    assert scores[1] == pytest.approx(scores[0], abs=0.1)
