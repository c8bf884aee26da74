import pytest


@pytest.fixture
def damaged(store):
    """A store with one flipped byte."""
    file = store / "val" / "images" / "c.0.0.0.0"
    data = bytearray(file.read_bytes())
    data[2000] ^= 1
    file.write_bytes(data)
    return store


def test_a_whole_store_ends_with_0(posedata, finished_store):
    done = posedata("verify", finished_store)
    assert done.code == 0
    assert f"{finished_store}: whole (quick check" in done.out
    assert "--full --sheet crops.png" in done.err.splitlines()[-1]


def test_full_shows_statistics(posedata, finished_store, tmp_path):
    done = posedata("verify", finished_store, "--full", "--sample-share", "50%", "--sheet", tmp_path / "sheet.png")
    assert done.code == 0
    assert "whole and right" in done.out
    assert "mean_rgb" in done.out
    assert (tmp_path / "sheet.png").stat().st_size > 0


def test_damage_is_named_and_ends_with_4_and_repair_mends_it(posedata, damaged):
    done = posedata("verify", damaged)
    assert done.code == 4
    assert "damaged: digest: val/images/c.0.0.0.0" in done.out
    assert done.err.splitlines()[-1] == f"next: posedata verify {damaged} --repair"
    mended = posedata("verify", damaged, "--repair", "--json")
    assert mended.code == 0
    assert mended.report["repaired"] == ["val/images/c.0.0.0.0"]
    assert posedata("verify", damaged).code == 0


def test_json_is_events_and_a_report(posedata, damaged):
    done = posedata("verify", damaged, "--split", "val", "--json")
    assert done.code == 4
    assert {line["event"] for line in done.lines} == {"stage", "progress", "report"}
    assert [finding["code"] for finding in done.report["findings"]] == ["digest"]


def test_an_unfinished_store_ends_with_4(posedata, store):
    (store / "val" / ".posedata" / "manifest.json").unlink()
    done = posedata("verify", store)
    assert done.code == 4
    assert "unfinished" in done.out
    assert done.err.splitlines()[-1].startswith("next: ")


def test_wrong_options(posedata, finished_store, tmp_path):
    assert posedata("verify", tmp_path).code == 4
    assert posedata("verify", finished_store, "--split", "nonsense").code == 2
    assert posedata("verify", finished_store, "--sample-share", "7").code == 2
