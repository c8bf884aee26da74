"""Published weights as runs: conventions, keys that are accounted for, and files that are refused."""

import errno
import json
import re

import pytest
import torch
from safetensors.torch import save_file

from pose_data import atomic
from pose_data.errors import ModelError, StorageError, UsageError
from pose_data.limbs import OPENPOSE_PERSON
from pose_data.skeleton import COCO_PERSON
from pose_models.augment import PixelRule, normalised
from pose_models.checkpoint import load_checkpoint
from pose_models.checkpoint_export import export_weights
from pose_models.checkpoint_formats import FORMATS, formats_of
from pose_models.checkpoint_import import import_checkpoint
from pose_models.evaluate import evaluate
from pose_models.networks.catalogue import NETWORKS, find_network
from pose_models.train import run

NAME = "simplebaseline-r18-128x96"
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def state_of(name=NAME, keypoints=17, seed=0):
    torch.manual_seed(seed)
    return find_network(name).build(keypoints).state_dict()


@pytest.fixture(scope="module")
def state():
    return state_of()


@pytest.fixture
def save(tmp_path):
    """Return a function that writes a content as a PyTorch file and returns its path."""

    def write(content, name="weights.pth"):
        torch.save(content, tmp_path / name)
        return tmp_path / name

    return write


@pytest.fixture(scope="module")
def store(factory, tmp_path_factory):
    """Return a store of two small splits with MSRA crops of 128 x 96; beside it stands udp.zarr, in UDP's geometry."""
    folder = tmp_path_factory.mktemp("import")
    coco = factory.CocoMaker(folder / "coco", pictures=4, persons=2)
    sizes = {"crop_width_px": 96, "crop_height_px": 128, "map_width": 24, "map_height": 32}
    for split in ("train2017", "val2017"):
        coco.write(split, broken=False)
        factory.prepare_split(folder / "crops.zarr", folder / "coco", split, factory.small_recipe(**sizes))
    udp = factory.small_recipe(**sizes, geometry="udp", encoding="udp")
    factory.prepare_split(folder / "udp.zarr", folder / "coco", "val2017", udp)
    return folder / "crops.zarr"


@pytest.fixture(scope="module")
def trained(store, tmp_path_factory):
    """Return a run of one epoch."""
    out = tmp_path_factory.mktemp("trained") / "run"
    options = {"epochs": 1, "batch_size": 8, "ema_decay": 0.0, "flip_test": False, "report": False}
    run(NAME, data=store, out=out, device="cpu", threads=1, **options)
    return out


def as_mmpose(state):
    heads = ("deconv_layers.", "final_layer.")
    return {f"head.{key}" if key.startswith(heads) else f"backbone.{key}": value for key, value in state.items()}


# -- what is loaded


def test_the_run_holds_the_files_tensors_and_says_where_they_came_from(state, save, tmp_path):
    report = import_checkpoint(save(state), as_=NAME, out=tmp_path / "run")
    found = load_checkpoint(tmp_path / "run")
    assert found.network == NAME
    assert found.model.keys() == state.keys()
    assert all(torch.equal(found.model[key], value) for key, value in state.items())
    assert found.conventions == report.conventions
    imported = found.state["imported"]
    assert (imported["file"], imported["format"]) == ("weights.pth", "msra")
    assert imported["digest"]


def test_safetensors_and_half_precision(state, tmp_path):
    half = {key: value.half() if value.is_floating_point() else value for key, value in state.items()}
    save_file(half, tmp_path / "half.safetensors")
    import_checkpoint(tmp_path / "half.safetensors", as_=NAME, out=tmp_path / "run")
    found = load_checkpoint(tmp_path / "run").model
    assert {value.dtype for value in found.values()} == {torch.float32, torch.int64}
    assert torch.equal(found["conv1.weight"], half["conv1.weight"].float())


def test_an_old_file_without_counters(state, save, tmp_path):
    old = {key: value for key, value in state.items() if "num_batches" not in key}
    report = import_checkpoint(save(old), as_=NAME, out=tmp_path / "run")
    assert set(report.absent) == set(state) - set(old)
    assert set(report.absent.values()) == {"written since PyTorch 0.4.1; no output depends on it"}
    assert load_checkpoint(tmp_path / "run").model.keys() == state.keys()


def test_princetons_unused_projections_may_be_absent(save, tmp_path):
    name = "hourglass-princeton-s1-256x256"
    with torch.device("meta"):
        dead = {key for key, value in NETWORKS[name].build(16).named_parameters() if not value.requires_grad}
    (row,) = formats_of(NETWORKS[name])
    assert dead
    covered = {key for key in state_of(name, 16) if row.absent[1].covers(key)}
    assert covered == dead


def test_mmposes_preprocessor_is_left_out_by_name(state, save, tmp_path):
    more = {**as_mmpose(state), "data_preprocessor.mean": torch.zeros(3, 1, 1)}
    report = import_checkpoint(save({"state_dict": more}), as_=NAME, dry_run=True)
    assert list(report.left_out) == ["data_preprocessor.mean"]
    assert report.loaded == len(state)


def test_a_dry_run_writes_nothing(state, save, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = save(state)
    before = sorted(tmp_path.rglob("*"))
    assert import_checkpoint(path, as_=NAME, dry_run=True).out is None
    assert sorted(tmp_path.rglob("*")) == before


def test_a_run_that_is_there_stays_unless_it_may_go(state, save, tmp_path):
    path = save(state)
    import_checkpoint(path, as_=NAME, out=tmp_path / "run")
    with pytest.raises(UsageError, match="there is a run already"):
        import_checkpoint(path, as_=NAME, out=tmp_path / "run")
    other = save({**state, "final_layer.bias": torch.ones(17)}, "other.pth")
    import_checkpoint(other, as_=NAME, out=tmp_path / "run", overwrite=True)
    assert load_checkpoint(tmp_path / "run").model["final_layer.bias"].tolist() == [1.0] * 17


@pytest.fixture
def old_run(state, save, tmp_path):
    """Return a run with all that a training leaves, and a file of the user's."""
    out = tmp_path / "run"
    import_checkpoint(save(state), as_=NAME, out=out)
    for name in ("config.toml", "log.jsonl", "pictures/epoch-0001.png", "report/index.html", "mine/notes.txt"):
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_text("old")
    return out


def test_only_the_new_runs_files_are_left(state, save, old_run):
    left = old_run / ".import.0123.partial"
    left.mkdir()
    other = save({**state, "final_layer.bias": torch.ones(17)}, "other.pth")
    import_checkpoint(other, as_=NAME, out=old_run, overwrite=True)
    assert sorted(path.name for path in old_run.iterdir()) == ["checkpoints", "mine"]
    assert [path.name for path in (old_run / "checkpoints").iterdir()] == ["step-00000000"]


@pytest.mark.parametrize("failing", ["model.safetensors", "training.safetensors", "checkpoint.json"])
def test_a_full_disk_leaves_the_old_run_as_it_was(state, save, old_run, failing):
    before = {path: path.read_bytes() if path.is_file() else b"" for path in old_run.rglob("*")}
    other = save({**state, "final_layer.bias": torch.ones(17)}, "other.pth")

    def full(step, path):
        if step == "write" and path.name == failing:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))

    atomic.set_write_hook(full)
    try:
        with pytest.raises(StorageError, match=r"no space left.*\[disk-full\]"):
            import_checkpoint(other, as_=NAME, out=old_run, overwrite=True)
    finally:
        atomic.set_write_hook(None)
    assert {path: path.read_bytes() if path.is_file() else b"" for path in old_run.rglob("*")} == before
    assert torch.equal(load_checkpoint(old_run).model["final_layer.bias"], state["final_layer.bias"])


def test_a_folder_that_is_no_run_keeps_its_files(state, save, tmp_path):
    (tmp_path / "folder/report").mkdir(parents=True)
    (tmp_path / "folder/report/mine.txt").write_text("mine")
    import_checkpoint(save(state), as_=NAME, out=tmp_path / "folder", overwrite=True)
    assert (tmp_path / "folder/report/mine.txt").read_text() == "mine"
    assert load_checkpoint(tmp_path / "folder").network == NAME


def test_the_run_is_called_after_the_network_unless_told_otherwise(state, save, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert str(import_checkpoint(save(state), as_=NAME).out) == f"runs/{NAME}"
    assert load_checkpoint(tmp_path / "runs" / NAME).network == NAME


def test_training_does_not_go_on_from_an_import(state, save, store, tmp_path):
    import_checkpoint(save(state), as_=NAME, out=tmp_path / "run")
    with pytest.raises(ModelError, match="one of imported weights has none"):
        run(NAME, data=store, out=tmp_path / "run", resume=True, device="cpu", epochs=1)


# -- conventions


CONVENTIONS = [
    # network, kind of file, BGR, (mean, std), geometry, encoding, decode, flip shift, blur kernel, cell shift
    ("simplebaseline-r50-256x192", "msra", True, IMAGENET, "msra", "gaussian", "quarter", 1, 0, 0.0),
    ("simplebaseline-r50-256x192", "mmpose", False, IMAGENET, "msra", "gaussian", "quarter", 1, 0, 0.0),
    ("hrnet-w32-256x192", "msra", False, IMAGENET, "msra", "gaussian", "quarter", 1, 0, 0.0),
    ("hrnet-w48-384x288", "mmpose", False, IMAGENET, "msra", "gaussian", "quarter", 1, 0, 0.0),
    ("hrnet-w32-dark-128x96", "msra", False, IMAGENET, "dark", "unbiased", "dark", 0, 3, 0.0),
    ("hrnet-w32-dark-256x192", "msra", False, IMAGENET, "dark", "unbiased", "dark", 0, 0, 0.0),
    ("hrnet-w32-dark-256x192", "mmpose", False, IMAGENET, "msra", "unbiased", "dark", 1, 11, 0.0),
    ("hrnet-w32-udp-256x192", "msra", False, IMAGENET, "udp", "udp", "udp", 0, 0, 0.0),
    ("hrnet-w48-udp-384x288", "mmpose", False, IMAGENET, "udp", "udp", "udp-mmpose", 0, 0, 0.0),
    ("hrnet-w32-udp-offset-256x192", "msra", False, IMAGENET, "udp", "udp", "udp-offset", 0, 0, 0.0),
    ("simcc-r50-256x192", "msra", True, IMAGENET, "msra", "simcc", "simcc", -1, 0, 0.0),
    ("simcc-w48-384x288", "msra", False, IMAGENET, "msra", "simcc", "simcc", 0, 0, 0.0),
    ("simcc-r50-256x192", "mmpose", False, IMAGENET, "msra", "simcc", "simcc", -1, 0, 0.0),
    ("rtmpose-m-256x192", "mmpose", False, IMAGENET, "msra", "simcc", "simcc", -1, 0, 0.0),
    ("vitpose-base-256x192", "mmpose", False, IMAGENET, "udp", "udp", "udp-mmpose", 0, 0, 0.0),
    ("vitpose-huge-256x192", "vitpose", False, IMAGENET, "udp", "udp", "udp-mmpose", 0, 0, 0.0),
    ("hourglass-s8-128x96", "darkpose", True, IMAGENET, "dark", "unbiased", "dark", 0, 0, 0.0),
    ("hourglass52-384x384", "mmpose", False, IMAGENET, "msra", "gaussian", "quarter", 1, 0, 0.0),
    (
        "hourglass-s8-256x256", "bearpaw", False, ((0.4404, 0.4440, 0.4327), (1.0, 1.0, 1.0)), "msra", "gaussian",
        "quarter", 0, 0, 0.5,
    ),
    (
        "hourglass-princeton-s8-256x256", "princeton", False, ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)), "msra", "gaussian",
        "quarter", 0, 0, 0.5,
    ),
    (
        "hourglass-gated-4x144-256x256", "princeton", False, ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)), "msra", "gaussian",
        "quarter", 0, 0, 0.5,
    ),
]  # fmt: skip


@pytest.mark.parametrize("expected", CONVENTIONS, ids=lambda row: f"{row[0]}-{row[1]}")
def test_the_conventions_are_the_publications(expected):
    name, form, bgr, (mean, std), geometry, encoding, decode, flip_shift, blur_kernel, cell_shift = expected
    network = NETWORKS[name]
    (row,) = (row for row in formats_of(network) if row.name == form)
    found = row.conventions(network, COCO_PERSON)
    assert found.pixels == PixelRule(bgr=bgr, mean=mean, std=std)
    assert (found.recipe.geometry, found.recipe.encoding, found.decode) == (geometry, encoding, decode)
    assert (found.flip_shift, found.blur_kernel, found.cell_shift) == (flip_shift, blur_kernel, cell_shift)
    recipe = found.recipe
    assert (recipe.crop_width_px, recipe.crop_height_px) == (network.input_width_px, network.input_height_px)
    if network.output == "simcc":
        assert recipe.split_ratio == network.split_ratio
    else:
        assert (recipe.map_width, recipe.map_height) == (network.map_width, network.map_height)
    assert recipe.sigma == (6.0 if (name[:5], form) == ("simcc", "mmpose") else network.sigma)
    assert recipe.padding == 1.25


@pytest.mark.parametrize(
    ("name", "form", "softmax", "least"),
    [
        ("simcc-r50-256x192", "msra", 1.0, 0.01), ("simcc-r50-384x288", "msra", 1.0, 0.005),
        ("simcc-r101-384x288", "msra", 1.0, 0.01), ("simcc-w48-384x288", "msra", 1.0, 0.005),
        ("simcc-r50-direct-256x192", "msra", 1.0, 0.01), ("simcc-r50-384x288", "mmpose", 0.0, 0.2),
        ("rtmpose-s-256x192", "mmpose", 0.0, 0.2),
    ],
)  # fmt: skip
def test_simcc_vectors_are_read_as_their_authors_do(name, form, softmax, least):
    (row,) = (row for row in formats_of(NETWORKS[name]) if row.name == form)
    found = row.conventions(NETWORKS[name], COCO_PERSON)
    assert (found.simcc_softmax, found.least_score) == (softmax, least)


@pytest.mark.parametrize(
    ("name", "form", "recipe", "limbs"),
    [
        ("openpose-368x368", "openpose", "openpose-368", "openpose"),
        ("openpose-368x368", "tensorboy", "openpose-368", "tensorboy"),
        ("lightweight-openpose-368x368", "lightweight-openpose", "lightweight-openpose-368", "openpose"),
        ("lightweight-openpose-r3-368x368", "lightweight-openpose", "lightweight-openpose-368", "openpose"),
    ],
)
def test_networks_of_whole_pictures_name_their_scenes_and_limbs(name, form, recipe, limbs):
    (row,) = (row for row in formats_of(NETWORKS[name]) if row.name == form)
    found = row.conventions(NETWORKS[name], row.skeletons[0])
    assert (found.recipe.name, found.recipe.rows, found.recipe.limbs) == (recipe, "scenes", limbs)
    assert (found.skeleton, found.grouping) == (OPENPOSE_PERSON, "published")
    fed = normalised(torch.full((1, 3, 1, 1), 64.0), found.pixels)
    assert found.pixels.bgr
    assert fed.flatten().tolist() == pytest.approx([64 / 256 - 0.5] * 3)


def test_each_kind_of_file_for_each_network_is_there_once():
    for network in NETWORKS.values():
        names = [row.name for row in formats_of(network)]
        assert len(set(names)) == len(names), network.name
    assert all(any(re.fullmatch(row.networks, name) for name in NETWORKS) for row in FORMATS)


# -- the run works


def results_of(run_folder, store, path):
    report = evaluate(run_folder, data=store, results=path, device="cpu", threads=1, batch_size=8)
    return report, json.loads(path.read_bytes())


@pytest.mark.parametrize("form", ["msra", "mmpose"])
def test_a_run_that_went_out_and_came_back_finds_the_same_keypoints(store, trained, tmp_path, form):
    export_weights(trained, format=form, out=tmp_path / "out.pth")
    import_checkpoint(tmp_path / "out.pth", as_=NAME, out=tmp_path / "run")
    first, mine = results_of(trained, store, tmp_path / "mine.json")
    second, again = results_of(tmp_path / "run", store, tmp_path / "again.json")
    assert len(mine) == first.detections > 0
    assert again == mine
    assert dict(second.numbers) == dict(first.numbers)
    assert (second.network, second.decode, second.flip_test) == (NAME, "quarter", True)


def test_a_store_of_another_geometry_is_refused_for_imported_weights(store, save, tmp_path):
    import_checkpoint(save(state_of(NAME)), as_=NAME, out=tmp_path / "run")
    found = load_checkpoint(tmp_path / "run").conventions
    assert found.recipe.geometry == "msra"
    with pytest.raises(UsageError, match="trained with geometry msra, the store has udp"):
        evaluate(tmp_path / "run", data=store.parent / "udp.zarr", device="cpu")


def test_imported_weights_of_a_network_of_whole_pictures_are_judged_on_scenes(factory, save, tmp_path):
    name = "lightweight-openpose-368x368"
    coco = factory.CocoMaker(tmp_path / "coco", pictures=2, persons=1)
    coco.write("val2017", broken=False)
    size = {"crop_width_px": 64, "crop_height_px": 64, "context_px": 16, "map_width": 8, "map_height": 8, "sigma": 0.5}
    factory.prepare_split(tmp_path / "scenes.zarr", tmp_path / "coco", "val2017", factory.scene_recipe(**size))
    import_checkpoint(save({"state_dict": state_of(name, 18)}), as_=name, out=tmp_path / "run")
    report = evaluate(tmp_path / "run", data=tmp_path / "scenes.zarr", device="cpu", threads=1)
    assert (report.network, report.split) == (name, "val2017")
    import_checkpoint(save(state_of(NAME)), as_=NAME, out=tmp_path / "crops")
    with pytest.raises(UsageError, match="the store has scenes"):
        evaluate(tmp_path / "crops", data=tmp_path / "scenes.zarr", device="cpu")


# -- what is refused


def test_a_file_of_another_network_is_refused_with_its_keys_and_what_it_looks_like(state, save, tmp_path):
    path = save(as_mmpose(state))
    with pytest.raises(ModelError, match=r"backbone\.conv1\.weight: \(64, 3, 7, 7\) in the file") as caught:
        import_checkpoint(path, as_="hrnet-w32-256x192", out=tmp_path / "run")
    assert caught.value.code == "weights-mismatch"
    assert "all of its keys fit simplebaseline-r18-128x96 (files of the kind mmpose)" in caught.value.hint
    assert not (tmp_path / "run").exists()


def test_a_file_of_another_size_is_told(save, tmp_path):
    with pytest.raises(ModelError, match=r"16 keys .* do not fit") as caught:
        import_checkpoint(save(state_of("simplebaseline-r18-256x192")), as_=NAME, out=tmp_path / "run")
    assert "simplebaseline-r18-256x192" in caught.value.hint


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda state: state.pop("layer4.1.bn2.weight"), r"1 keys .*layer4\.1\.bn2\.weight: in the network only"),
        (lambda state: state.update({"extra.weight": torch.zeros(1)}), r"1 keys .*extra\.weight: in the file only"),
        (
            lambda state: state.update({"bn1.weight": torch.zeros(64, dtype=torch.int8)}),
            r"bn1\.weight: numbers of another kind in the file \(int8, strided\)",
        ),
        (lambda state: state.update({"bn1.weight": torch.ones(64).to_sparse()}), r"another kind .*sparse_coo"),
        (lambda state: state.update({"bn1.weight": torch.zeros(32)}), r"bn1\.weight: \(32,\) in the file, \(64,\)"),
    ],
)
def test_every_key_is_accounted_for(state, save, tmp_path, change, told):
    changed = dict(state)
    change(changed)
    with pytest.raises(ModelError, match=re.compile(told, re.DOTALL)):
        import_checkpoint(save(changed), as_=NAME, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_two_keys_for_one_place_are_refused(state, save):
    doubled = {**as_mmpose(state), "keypoint_head.final_layer.bias": state["final_layer.bias"]}
    with pytest.raises(ModelError, match=r"keypoint_head\.final_layer\.bias: stands for the same as head\.final_layer"):
        import_checkpoint(save(doubled), as_=NAME, dry_run=True)


def test_a_file_that_is_like_nothing_here_is_refused(save):
    with pytest.raises(ModelError, match="do not fit") as caught:
        import_checkpoint(save({"a.weight": torch.zeros(3)}), as_=NAME, dry_run=True)
    assert caught.value.hint == "its keys are not those of any network here"


@pytest.mark.parametrize("keypoints", [16, 133])
def test_weights_for_other_keypoints_are_refused_by_their_number(save, tmp_path, keypoints):
    with pytest.raises(ModelError, match=f"the file is for {keypoints} keypoints, .* for 17 .coco-person.") as caught:
        import_checkpoint(save(state_of(NAME, keypoints)), as_=NAME, out=tmp_path / "run")
    assert caught.value.code == "weights-keypoints"
    assert not (tmp_path / "run").exists()


def test_values_that_are_no_numbers_are_refused(state, save):
    spoilt = {**state, "final_layer.bias": torch.full((17,), float("nan"))}
    with pytest.raises(ModelError, match=r"NaN or infinity:\n  final_layer\.bias"):
        import_checkpoint(save(spoilt), as_=NAME, dry_run=True)


class Trap:
    """An object whose pickle would call a function."""

    def __reduce__(self):
        return (open, ("trap-was-sprung", "w"))


def test_a_file_with_code_is_refused_and_nothing_runs(state, save, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match="nothing of it was run"):
        import_checkpoint(save({"state_dict": state, "hook": Trap()}), as_=NAME, out=tmp_path / "run")
    assert not (tmp_path / "trap-was-sprung").exists()
    assert not (tmp_path / "run").exists()


def test_a_truncated_file_is_refused(state, save, tmp_path):
    path = save(state)
    path.write_bytes(path.read_bytes()[:1_000_000])
    with pytest.raises(ModelError, match="truncated or not a weights file"):
        import_checkpoint(path, as_=NAME, out=tmp_path / "run")


def test_networks_without_published_weights_are_named(tmp_path):
    with pytest.raises(UsageError, match="no published weights are known for small-128x96"):
        import_checkpoint(tmp_path / "any.pth", as_="small-128x96")
    with pytest.raises(UsageError, match="there is no network 'resnet'"):
        import_checkpoint(tmp_path / "any.pth", as_="resnet")
