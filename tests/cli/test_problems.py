import csv
import io

import pytest

from pose_data.problems import problems


def test_problems_lists_rejects_and_notes(posedata, finished_store):
    done = posedata("problems", finished_store)
    assert done.code == 0
    for text in ("filter-crowd", "filter-keypoints", "area-missing", "000001.jpg"):
        assert text in done.out
    assert done.err.splitlines()[-1] == f"next: posedata verify {finished_store}"


def test_the_function_yields_one_problem_for_each_code_of_a_record(finished_store):
    found = [
        (each.split, each.code, each.fate, each.annotation_id, each.row is None) for each in problems(finished_store)
    ]
    assert sorted(found) == [
        ("train", "filter-crowd", "filter", 2, True),
        ("val", "area-missing", "note", 19, False),
        ("val", "filter-keypoints", "filter", 18, True),
    ]


def test_code_split_and_limit_narrow_it_down(posedata, finished_store):
    only = posedata("problems", finished_store, "--code", "area-missing", "--json")
    assert [line.get("code") for line in only.lines] == ["area-missing", None]
    assert only.report["codes"] == {"area-missing": 1}
    assert posedata("problems", finished_store, "--split", "train", "--json").report["problems"] == 1
    limited = posedata("problems", finished_store, "--limit", 1)
    assert "2 more" in limited.err
    assert posedata("problems", finished_store, "--limit", 0, "--json").report["problems"] == 0


def test_no_problems_is_said(posedata, finished_store):
    assert (
        posedata("problems", finished_store, "--code", "img-missing").out == "no problems with the code img-missing\n"
    )


def test_csv_is_a_table_with_a_header(posedata, finished_store):
    done = posedata("problems", finished_store, "--csv")
    rows = list(csv.DictReader(io.StringIO(done.out)))
    assert [row["code"] for row in rows] == ["filter-crowd", "area-missing", "filter-keypoints"]
    assert rows[0]["file_name"] == "000001.jpg"
    assert done.err == ""


@pytest.mark.parametrize(
    ("options", "exit_code", "code"),
    [
        (["--code", "nonsense"], 2, "problem-unknown"),
        (["--split", "nonsense"], 2, "split-unknown"),
        (["--csv", "--json"], 2, "option-conflict"),
        (["--limit", "-1"], 2, "usage"),
    ],
)
def test_wrong_options(posedata, finished_store, options, exit_code, code):
    done = posedata("problems", finished_store, *options)
    assert done.code == exit_code
    assert f"[{code}]" in done.err


def test_problems_of_a_run_that_was_stopped_are_there_too(posedata, new_coco, tmp_path):
    for _ in range(6):
        new_coco.add_picture("val")
    new_coco.add_picture("val", "page.jpg", data=b"<html></html>")
    del new_coco.splits["val"]["annotations"][0]["bbox"]
    out = tmp_path / "c.zarr"
    done = posedata("prepare", "coco", "--root", new_coco.write(), "--out", out, "--max-bad", "0.1", "--shard-rows", 16)
    assert done.code == 3
    found = {(each.code, each.file_name) for each in problems(out)}
    assert ("box-missing", "000001.jpg") in found
    assert ("img-not-an-image", "page.jpg") in found


def test_a_damaged_table_ends_with_4(posedata, store):
    table = store / "val" / ".posedata" / "table.parquet"
    table.write_bytes(table.read_bytes()[:100])
    done = posedata("problems", store)
    assert done.code == 4
    assert "[record]" in done.err
