"""The examples: what their files say exists, and the script goes from a data set to a report."""

import importlib.util
import sys
from pathlib import Path

import pytest

from cli.recipe_options import RECIPE_OPTIONS
from pose_data.recipes import RECIPES
from pose_models.networks.catalogue import NETWORKS
from pose_models.train_config import changed, default_config

FOLDER = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("examples_run", FOLDER / "run.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("small", [False, True], ids=["whole", "small"])
@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.toml")))
def test_what_an_example_names_exists_and_fits(script, name, small):
    example = script.read_example(name, small=small)
    assert name in script.EXAMPLES
    assert example.about
    recipe = RECIPES[example.prepare["recipe"]]
    options = {option.name.replace("_", "-") for option in RECIPE_OPTIONS}
    assert set(example.prepare) <= options
    for network in example.networks:
        facts = NETWORKS[network]
        assert (recipe.rows == "scenes") == (facts.output == "maps-and-fields")
        if recipe.rows == "persons":
            assert (recipe.crop_width_px, recipe.crop_height_px) == (facts.input_width_px, facts.input_height_px)
            assert recipe.geometry == facts.geometry
        config = changed(default_config(network), dict(example.train))
        assert config.network == network
        assert (config.epochs == 1) == small


def test_an_unknown_key_is_named(script, tmp_path, monkeypatch):
    (tmp_path / "odd.toml").write_text('about = "x"\nnetworks = []\ncolour = 1\n', encoding="utf-8")
    monkeypatch.setattr(script, "_FOLDER", tmp_path)
    with pytest.raises(ValueError, match=r"odd\.toml: colour"):
        script.read_example("odd")


@pytest.mark.slow
def test_from_a_data_set_to_a_report(script, factory, tmp_path, monkeypatch, capfd):
    coco = factory.CocoMaker(tmp_path / "coco", pictures=3, persons=2)
    for split in ("train2017", "val2017"):
        coco.write(split, broken=False)
    (tmp_path / "tiny.toml").write_text(
        'about = "a test"\nnetworks = ["small-128x96"]\n[prepare]\nrecipe = "coco-256x192-udp"\ncrop-size = "128x96"\n'
        'map-size = "32x24"\n[train]\nepochs = 1\nbatch_size = 4\namp = "off"\n',
        encoding="utf-8",
    )
    monkeypatch.setattr(script, "_FOLDER", tmp_path)
    monkeypatch.setattr(script, "EXAMPLES", ("tiny",))
    arguments = ["tiny", "--coco", str(tmp_path / "coco"), "--out", str(tmp_path / "out"), "--device", "cpu"]
    assert script.main(arguments) == 0
    told = capfd.readouterr().out
    assert "$ posedata prepare coco --root" in told
    assert "$ posetrain run small-128x96" in told
    assert (tmp_path / "out" / "reports" / "small-128x96" / "report.html").is_file()
    assert "| `small-128x96` |" in (tmp_path / "out" / "summary.md").read_text()
    # Once more: nothing is prepared or trained again.
    assert script.main(arguments) == 0
    assert "posedata prepare" not in capfd.readouterr().out


def test_a_step_that_fails_ends_it_with_its_exit_code(script, tmp_path):
    assert script.main(["simcc", "--coco", str(tmp_path / "absent"), "--out", str(tmp_path / "out")]) == 3
