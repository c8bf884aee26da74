import json

import pytest

from pose_data.store import open_store


def test_prepare_makes_every_split_and_names_the_next_command(posedata, coco, tmp_path):
    out = tmp_path / "crops.zarr"
    done = posedata("prepare", "coco", "--root", coco, "--out", out)
    assert done.code == 0
    assert done.err.splitlines()[-1] == f"next: posedata verify {out}"
    assert {name: len(split) for name, split in open_store(out).items()} == {"train": 15, "val": 7}
    for text in ("train: rejected", "filter-crowd", "val: kept, with a note", "area-missing", "e.g. annotation 2 of"):
        assert text in done.out


def test_again_says_that_it_was_finished(posedata, coco, store):
    done = posedata("prepare", "coco", "--root", coco, "--out", store)
    assert done.code == 0
    assert done.out.count("was finished before") == 2


def test_json_is_events_and_then_one_report(posedata, coco, tmp_path):
    done = posedata("prepare", "coco", "--root", coco, "--out", tmp_path / "c.zarr", "--json")
    assert [line["event"] for line in done.lines].count("report") == 1
    assert {"stage", "progress", "done", "report"} == {line["event"] for line in done.lines}
    counts = {part["split"]: (part["annotations"], part["kept"], part["rejected"]) for part in done.report["splits"]}
    assert counts == {"train": (16, 15, 1), "val": (8, 7, 1)}
    assert done.report["splits"][0]["codes"] == {"filter-crowd": 1}
    assert done.err == ""


def test_quiet_leaves_stderr_empty(posedata, coco, tmp_path):
    done = posedata("prepare", "coco", "--root", coco, "--out", tmp_path / "c.zarr", "-q")
    assert (done.code, done.err) == (0, "")


def test_plain_lines_when_stderr_is_no_terminal(posedata, coco, tmp_path):
    done = posedata("prepare", "coco", "--root", coco, "--out", tmp_path / "c.zarr")
    assert "train read: reading person_keypoints_train.json" in done.err
    assert "val: done: kept 7, rejected 1" in done.err
    assert "\x1b" not in done.err + done.out


def test_dry_run_writes_nothing(posedata, coco, tmp_path):
    out = tmp_path / "c.zarr"
    done = posedata("prepare", "coco", "--root", coco, "--out", out, "--dry-run")
    assert done.code == 0
    assert not out.exists()
    assert "planned memory" in done.out
    assert done.err.splitlines()[-1] == f"next: posedata prepare coco --root {coco} --out {out}"


def test_options_reach_the_store(posedata, coco, tmp_path):
    out = tmp_path / "c.zarr"
    done = posedata(
        "prepare", "coco", "--root", coco, "--out", out, "--split", "val", "--recipe", "coco-256x192-udp",
        "--crop-size", "128x96", "--map-size", "32x24", "--context", 4, "--joints", "nose,left_eye,right_eye",
        "--min-keypoints", 2, "--image-codec", "jpeg", "--jpeg-quality", 90, "--keep-crowd", "--no-single-polygon",
        "--workers", 1, "--scheduler", "sync", "--memory", "2GiB", "--max-bad", "5%", "--order-seed", 3,
    )  # fmt: skip
    assert done.code == 0, done.err
    split = open_store(out)["val"]
    assert split["images"].shape == (7, 136, 104, 3)
    assert split["heatmaps"].shape == (7, 3, 32, 24)
    recipe = split.recipe
    assert (recipe.name, recipe.geometry, recipe.image_codec, recipe.keep_crowd, recipe.order_seed) == (
        "coco-256x192-udp", "udp", "jpeg", True, 3
    )  # fmt: skip
    assert list(open_store(out)) == ["val"]


def test_named_annotations_and_images(posedata, coco, tmp_path):
    annotations = coco / "annotations" / "person_keypoints_val.json"
    out = tmp_path / "c.zarr"
    done = posedata("prepare", "coco", "--annotations", annotations, "--images", coco / "val", "--out", out)
    assert done.code == 0
    assert list(open_store(out)) == ["val"]


def test_a_bad_picture_is_reported_with_its_name(posedata, new_coco, tmp_path):
    for _ in range(4):
        new_coco.add_picture("val")
    new_coco.add_picture("val", "page.jpg", data=b"<html>not found</html>")
    done = posedata("prepare", "coco", "--root", new_coco.write(), "--out", tmp_path / "c.zarr", "--max-bad", "50%")
    assert done.code == 0
    assert "img-not-an-image" in done.out
    assert "page.jpg" in done.out


def test_strict_stops_with_3_at_the_first_bad_record(posedata, new_coco, tmp_path):
    for _ in range(3):
        new_coco.add_picture("val")
    del new_coco.splits["val"]["annotations"][0]["bbox"]
    out = tmp_path / "c.zarr"
    done = posedata("prepare", "coco", "--root", new_coco.write(), "--out", out, "--strict")
    assert done.code == 3
    assert "[too-many-bad]" in done.err
    assert not out.exists()


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--crop-size", "256"], "usage"),
        (["--crop-size", "1x1"], "option-value"),
        (["--memory", "much"], "usage"),
        (["--max-bad", "2"], "usage"),
        (["--geometry", "round"], "usage"),
        (["--workers", "0"], "usage"),
        (["--recipe", "nothing"], "recipe-unknown"),
        (["--joints", "nose,tail"], "joints-unknown"),
        (["--scheduler", "magic"], "scheduler-unknown"),
        (["--strict", "--max-bad", "0.1"], "option-conflict"),
        (["--split", "../x"], "split-name"),
        (["--no-such-option"], "usage"),
    ],
)
def test_a_wrong_option_ends_with_2_and_writes_nothing(posedata, coco, tmp_path, options, code):
    out = tmp_path / "c.zarr"
    done = posedata("prepare", "coco", "--root", coco, "--out", out, *options, "--json")
    assert done.code == 2
    assert f"[{code}]" in done.err
    assert "\nhint: " in done.err
    assert json.loads(done.out.splitlines()[-1])["code"] == code
    assert not out.exists()


@pytest.mark.parametrize("verb", ["prepare", "check"])
def test_an_unknown_format_ends_with_2_and_the_list(posedata, verb, tmp_path):
    more = ["--out", tmp_path / "c.zarr"] if verb == "prepare" else []
    done = posedata(verb, "mpii", *more)
    assert done.code == 2
    assert "[format-unknown]" in done.err
    assert "formats: coco" in done.err
