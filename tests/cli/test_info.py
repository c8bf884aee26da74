from pose_data.info import info


def test_info_tells_what_the_store_holds(posedata, finished_store):
    done = posedata("info", finished_store)
    assert done.code == 0
    for text in (
        "finished", "filter-crowd", "coco-256x192", "256 x 192 x 3", "blosc-lz4-bitshuffle", "numpy", "1 of 1 shards"
    ):  # fmt: skip
        assert text in done.out
    assert done.err.splitlines()[-1] == f"next: posedata verify {finished_store}"


def test_json_is_one_report(posedata, finished_store):
    done = posedata("info", finished_store, "--json")
    assert len(done.lines) == 1
    report = done.report
    assert report["finished"] is True
    assert [(part["split"], part["kept"], part["rejected"]) for part in report["splits"]] == [
        ("train", 15, 1), ("val", 7, 1)
    ]  # fmt: skip
    arrays = {array["name"]: array for array in report["splits"][0]["arrays"]}
    assert arrays["images"]["shape"] == [15, 256, 192, 3]
    assert report["size_bytes"] == sum(file.stat().st_size for file in finished_store.glob("*/*/c.*"))


def test_an_unfinished_split_is_said_to_be_one(posedata, store):
    (store / "val" / ".posedata" / "manifest.json").unlink()
    done = posedata("info", store)
    assert done.code == 0
    assert "not finished" in done.out
    assert done.err.splitlines()[-1].startswith("next: posedata prepare coco")
    found = info(store)
    assert [split.finished for split in found.splits] == [True, False]
    assert found.splits[1].kept is None


def test_no_store_ends_with_4(posedata, tmp_path):
    done = posedata("info", tmp_path)
    assert done.code == 4
    assert "[not-a-store]" in done.err
    assert "hint: make one: posedata prepare coco --out" in done.err


def test_a_damaged_record_ends_with_4(posedata, store):
    manifest = store / "val" / ".posedata" / "manifest.json"
    manifest.write_bytes(manifest.read_bytes()[:-20])
    done = posedata("info", store)
    assert done.code == 4
    assert "[record]" in done.err
