import pytest

from pose_data.errors import InputError


def files(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_check_reads_everything_and_writes_nothing(posedata, coco, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = files(coco)
    done = posedata("check", "coco", "--root", coco)
    assert done.code == 0
    assert files(coco) == before
    assert list(tmp_path.iterdir()) == []
    assert done.err.splitlines()[-1] == f"next: posedata prepare coco --root {coco} --out crops.zarr"
    assert "persons a picture" in done.out
    assert "nose 100/100" in done.out


def test_check_counts_what_prepare_counts(posedata, coco, tmp_path):
    checked = posedata("check", "coco", "--root", coco, "--json").report
    prepared = posedata("prepare", "coco", "--root", coco, "--out", tmp_path / "c.zarr", "--json").report
    for mine, other in zip(checked["splits"], prepared["splits"], strict=True):
        for name in ("split", "annotations", "kept", "rejected", "codes", "notes", "pictures"):
            assert mine[name] == other[name]
    assert checked["usable"] is True


def test_check_names_every_bad_picture_and_ends_with_3(posedata, new_coco):
    for _ in range(3):
        new_coco.add_picture("val")
    good = (new_coco.root / "val" / "000001.jpg").read_bytes()
    new_coco.add_picture("val", "cut.jpg", data=good[:-40], persons=3)
    new_coco.add_picture("val", "page.jpg", data=b"<html></html>")
    new_coco.add_picture("val", "gone.jpg")
    new_coco.write()
    (new_coco.root / "val" / "gone.jpg").unlink()
    done = posedata("check", "coco", "--root", new_coco.root)
    assert done.code == 3
    for text in ("cut.jpg", "page.jpg", "gone.jpg", "img-truncated", "img-not-an-image", "img-missing"):
        assert text in done.out
    assert "[too-many-bad]" in done.err
    report = posedata("check", "coco", "--root", new_coco.root, "--json").report
    (split,) = report["splits"]
    assert split["codes"] == {"img-missing": 2, "img-not-an-image": 2, "img-truncated": 3}
    assert (split["annotations"], split["kept"], split["rejected"]) == (13, 6, 7)
    assert (split["pictures"], split["pictures_bad"]) == (6, 3)
    assert split["fatal"]["code"] == "too-many-bad"
    assert posedata("check", "coco", "--root", new_coco.root, "--max-bad", "60%").code == 0


def test_a_fatal_split_does_not_keep_the_others_from_being_checked(posedata, new_coco):
    for split in ("train", "val"):
        for _ in range(2):
            new_coco.add_picture(split)
    annotations = new_coco.write() / "annotations" / "person_keypoints_train.json"
    annotations.write_bytes(annotations.read_bytes()[:200])
    done = posedata("check", "coco", "--root", new_coco.root, "--json")
    assert done.code == 3
    first, second = done.report["splits"]
    assert first["fatal"]["code"] == "json-invalid"
    assert (second["fatal"], second["kept"]) == (None, 4)


def test_nothing_left_after_the_filters_is_fatal(posedata, new_coco):
    new_coco.add_picture("val")
    for record in new_coco.splits["val"]["annotations"]:
        record["iscrowd"] = 1
    done = posedata("check", "coco", "--root", new_coco.write())
    assert done.code == 3
    assert "[no-samples]" in done.err
    assert "filter-crowd" in done.out


def test_a_picture_in_two_splits_is_a_note_or_forbidden(posedata, new_coco):
    new_coco.add_picture("train")
    new_coco.add_picture("val", data=(new_coco.root / "train" / "000001.jpg").read_bytes())
    new_coco.write()
    done = posedata("check", "coco", "--root", new_coco.root, "--json")
    assert done.code == 0
    assert [split["notes"] for split in done.report["splits"]] == [{"split-leak": 2}] * 2
    done = posedata("check", "coco", "--root", new_coco.root, "--forbid-leak")
    assert done.code == 3
    assert "[split-leak]" in done.err


def test_a_recipe_with_masks_checks_the_masks(posedata, new_coco):
    for _ in range(3):
        new_coco.add_picture("val")
    new_coco.splits["val"]["annotations"][0]["segmentation"] = {"size": [1, 1], "counts": "x"}
    new_coco.splits["val"]["annotations"][1]["segmentation"] = []
    done = posedata("check", "coco", "--root", new_coco.write(), "--background", "white", "--max-bad", "1", "--json")
    assert done.code == 0
    assert done.report["splits"][0]["codes"] == {"mask-missing": 2}
    assert done.report["splits"][0]["kept"] == 4


@pytest.mark.parametrize("workers", [1, 2])
def test_a_name_that_leads_out_is_fatal(posedata, new_coco, tmp_path, workers):
    new_coco.add_picture("val", "link.jpg")
    new_coco.write()
    link = new_coco.root / "val" / "link.jpg"
    outside = tmp_path / "outside.jpg"
    link.rename(outside)
    link.symlink_to(outside)
    done = posedata("check", "coco", "--root", new_coco.root, "--workers", workers, "--json")
    assert done.code == 3
    assert done.report["splits"][0]["fatal"]["code"] == "path-outside-root"
    assert posedata("check", "coco", "--root", new_coco.root, "--allow-outside").code == 0


def test_a_child_that_cannot_work_is_no_fault_of_a_picture(posedata, coco, monkeypatch, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import pose_data.imaging as i\ndef broken(*a, **b):\n    raise ZeroDivisionError('by design')\n"
        "i.decode_picture = broken\n", encoding="utf-8",
    )  # fmt: skip
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    done = posedata("check", "coco", "--root", coco)
    assert done.code == 6
    assert "worker-died" in done.err
    assert "by design" in done.err


def test_nothing_to_check_says_where_it_looked(posedata, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COCO_ROOT", raising=False)
    done = posedata("check", "coco")
    assert done.code == InputError.exit_code
    assert "looked in data/coco, coco [coco-not-found]" in done.err
