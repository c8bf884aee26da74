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


def test_a_dry_run_says_what_would_come_and_writes_nothing(posedata, tmp_path):
    out = tmp_path / "coco"
    dry = posedata("sample", out, "--pictures", 6, "--dry-run", "--json")
    assert dry.code == 0, dry.err
    assert list(tmp_path.iterdir()) == []
    real = posedata("sample", out, "--pictures", 6, "--workers", 1, "--json").report
    assert dry.report["dry_run"]
    assert not real["dry_run"]
    assert dry.report["pictures"] == real["pictures"] == 6
    assert 0 < real["persons"] <= dry.report["persons"]
    assert real["labelled_persons"] <= dry.report["labelled_persons"]
    again = posedata("sample", out, "--dry-run")
    assert (again.code, "[output-exists]" in again.err) == (2, True)
    text = posedata("sample", tmp_path / "other", "--dry-run").out
    assert "would draw 200 pictures with up to" in text
    assert "nothing was written" in text
