import pytest

from pose_data.store import open_store


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_options_come_from_the_file_and_the_command_line_wins(posedata, coco, tmp_path):
    out = tmp_path / "c.zarr"
    config = write(tmp_path / "c.toml", f"""
root = "{coco}"
split = ["val"]
crop-size = "128x96"
map_size = "32x24"
joints = ["nose", "left_eye"]
padding = 1.5
sigma = 1
keep-crowd = true
memory = "2G"
overwrite = false
""")  # fmt: skip
    done = posedata("prepare", "coco", "--out", out, "--config", config, "--sigma", 1.5)
    assert done.code == 0, done.err
    recipe = open_store(out)["val"].recipe
    assert list(open_store(out)) == ["val"]
    assert (recipe.crop_height_px, recipe.map_width, recipe.joints) == (128, 24, ("nose", "left_eye"))
    assert (recipe.padding, recipe.sigma, recipe.keep_crowd) == (1.5, 1.5, True)


def test_one_split_need_not_be_a_list(posedata, coco, tmp_path):
    config = write(tmp_path / "c.toml", f'root = "{coco}"\nsplit = "val"\n')
    report = posedata("check", "coco", "--config", config, "--json").report
    assert [part["split"] for part in report["splits"]] == ["val"]


@pytest.mark.parametrize(
    ("text", "code", "named"),
    [
        ("crop_sise = '1x1'", "config-key", "crop_sise"),
        ("config = 'x'", "config-key", "config"),
        ("[prepare]\nsigma = 2", "config-key", "prepare"),
        ("sigma = true", "config-value", "sigma"),
        ("overwrite = 'yes'", "config-value", "overwrite"),
        ("root = 2026-01-01", "config-value", "root"),
        ("sigma = ", "config-invalid", "not TOML"),
        ("workers = 1.5", "usage", "--workers"),
        ("sigma = 'wide'", "usage", "--sigma"),
    ],
)
def test_what_is_wrong_in_it_is_named(posedata, coco, tmp_path, text, code, named):
    config = write(tmp_path / "c.toml", text)
    out = tmp_path / "c.zarr"
    done = posedata("prepare", "coco", "--root", coco, "--out", out, "--config", config)
    assert done.code == 2
    assert f"[{code}]" in done.err
    assert named in done.err
    assert not out.exists()


def test_a_file_that_is_not_there(posedata, tmp_path):
    done = posedata("check", "coco", "--config", tmp_path / "none.toml")
    assert done.code == 2
    assert "[config-unreadable]" in done.err
    assert "none.toml" in done.err
