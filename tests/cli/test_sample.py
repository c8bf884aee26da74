def test_sample_makes_a_data_set_that_can_be_prepared(posedata, tmp_path):
    out = tmp_path / "coco"
    done = posedata("sample", out, "--pictures", 4, "--workers", 1)
    assert done.code == 0, done.err
    assert "4 pictures with" in done.out
    assert done.err.splitlines()[-1] == f"next: posedata prepare coco --root {out} --out crops.zarr"
    assert posedata("prepare", "coco", "--root", out, "--out", tmp_path / "c.zarr").code == 0


def test_json_tells_progress_and_a_report(posedata, tmp_path):
    done = posedata("sample", tmp_path / "coco", "--pictures", 2, "--workers", 1, "--seed", 3, "--json")
    assert done.report["pictures"] == 2
    assert done.lines[-2] == {"event": "progress", "stage": "sample", "done": 2, "total": 2}


def test_a_folder_with_things_in_it_is_refused(posedata, tmp_path):
    (tmp_path / "mine.txt").write_text("x", encoding="utf-8")
    done = posedata("sample", tmp_path)
    assert done.code == 2
    assert "[output-exists]" in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
