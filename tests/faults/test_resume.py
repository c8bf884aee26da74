"""Faults 35 and 38: what may continue an unfinished store, and what is done again after files were torn."""

import json
import shutil
from dataclasses import fields

import pytest

import pose_data.job
from pose_data.errors import InterruptedRun, PoseError, ResumeMismatchError
from pose_data.manifest import SplitFolder
from pose_data.recipes import Recipe, build_recipe

# Another value of every option of a recipe (besides its name), of which a small recipe has none.
OTHER = {
    "crop_width_px": 40, "crop_height_px": 48, "geometry": "udp", "padding": 1.5, "frame": 0.1, "context_px": 4,
    "boxes": "from-keypoints", "box_rule": "msra-clean", "background": "white", "joints": ("nose", "left_hip"),
    "min_keypoints": 3, "min_box_area_px2": 9.0, "single_polygon": True, "keep_crowd": True,
    "visibility": "visible", "encoding": "unbiased", "map_width": 10, "map_height": 12, "sigma": 1.5,
    "split_ratio": 3.0, "map_dtype": "float32", "image_codec": "raw", "jpeg_quality": 80, "shard_rows": 64,
    "chunk_rows": 8, "order_seed": 5, "exif": "ignore",
}  # fmt: skip


@pytest.fixture(scope="module")
def half(kit, tmp_path_factory):
    """An unfinished store with two of four shards, and with its work folder."""
    out = tmp_path_factory.mktemp("half") / "crops.zarr"
    unfinish(kit, out)
    return out


def unfinish(kit, out, shards=2):
    """Prepare up to some shards, as a run that is stopped then leaves it."""

    def stop(event):
        if event.kind == "stage" and event.stage == "commit":
            raise KeyboardInterrupt

    with pytest.raises(InterruptedRun):
        kit.prepare(out, on_event=stop)
    split = SplitFolder(out / "val2017")
    for shard in range(shards, 4):
        split.shard_record(shard).unlink()
        for path in split.path.glob(f"*/c.{shard}*"):
            path.unlink()


@pytest.fixture
def store(half, tmp_path):
    out = tmp_path / "crops.zarr"
    shutil.copytree(half, out)
    return out


def refused(kit, out, **changes):
    before = kit.tree_digest(out)
    with pytest.raises(ResumeMismatchError) as caught:
        kit.prepare(out, **changes)
    assert caught.value.exit_code == 7
    assert "nothing was changed" in caught.value.message
    after = kit.tree_digest(out)
    for tree in (before, after):
        tree.pop("val2017/.posedata/work/job.json", None)  # it says where the pictures are
    assert after == before
    return caught.value


# ------------------------------------------------------------------------------------ 35: other options


def test_every_option_of_a_recipe_is_tried(kit):
    assert set(OTHER) == set(kit.recipe.as_dict()) - {"name"}
    # What is compared is the recipe as recorded: scenes have every option there is.
    assert set(build_recipe("openpose-368").as_dict()) == {field.name for field in fields(Recipe)}


@pytest.mark.parametrize("field", sorted(OTHER))
def test_another_option_is_refused_and_named(kit, store, field):
    error = refused(kit, store, recipe=Recipe.from_dict({**kit.recipe.as_dict(), field: OTHER[field]}))
    assert error.code == "resume-mismatch"
    lines = [line.strip() for line in error.message.splitlines()[1:]]
    was = list(getattr(kit.recipe, field)) if field == "joints" else getattr(kit.recipe, field)
    now = list(OTHER[field]) if field == "joints" else OTHER[field]
    assert lines == [f"recipe.{field}: was {was!r}, is {now!r}"]


@pytest.mark.parametrize("field", ["sigma", "geometry"])
def test_another_option_is_refused_for_a_finished_store_too(kit, calm, tmp_path, field):
    out = tmp_path / "crops.zarr"
    kit.prepare(out)
    error = refused(kit, out, recipe=Recipe.from_dict({**kit.recipe.as_dict(), field: OTHER[field]}))
    assert f"recipe.{field}: was" in error.message
    assert "finished split val2017" in error.message


def test_the_command_line_names_the_differing_field_and_leaves_with_7(kit, store):
    done = kit.run(store, "--sigma", "2.5")
    assert done.returncode == 7
    assert "recipe.sigma: was 1.0, is 2.5" in done.stderr


@pytest.mark.parametrize("changes", [
    {"workers": 1}, {"workers": 4}, {"scheduler": "sync"}, {"memory_bytes": 3_000_000_000}, {"max_bad": 0.5},
    {"picture_timeout_s": 7.0}, {"cluster_timeout_s": 7.0},
])  # fmt: skip
def test_how_it_runs_is_no_reason_to_refuse(kit, calm, store, changes):
    finished = kit.shard_records(store)
    report = kit.prepare(store, **changes)
    assert report.splits[0].shards_kept == 2
    assert finished.items() <= kit.shard_records(store).items()
    assert kit.tree_digest(store) == calm


@pytest.fixture
def own(kit, store, tmp_path):
    """The data set in a place of its own, where it may be changed."""
    coco = tmp_path / "coco"
    shutil.copytree(kit.coco, coco)
    return type(kit)(coco=coco, recipe=kit.recipe, options=kit.options, site=kit.site)


def test_a_data_set_that_was_moved_continues(own, calm, store):
    own.prepare(store)
    assert own.tree_digest(store) == calm


def test_an_edit_of_the_annotations_of_equal_length_is_noticed(own, store):
    path = own.coco / "annotations" / "person_keypoints_val2017.json"
    text = path.read_text(encoding="utf-8")
    changed = text.replace('"id": 1000,', '"id": 1999,', 1)
    assert len(changed) == len(text)
    assert changed != text
    path.write_text(changed, encoding="utf-8")
    assert "source.annotations sha256: was" in refused(own, store).message


def picture_of(store, shard):
    record = json.loads(SplitFolder(store / "val2017").shard_record(shard).read_bytes())
    return min(record["pictures"])


def test_a_picture_of_a_finished_shard_changed_without_its_length_is_noticed(own, calm, store):
    name = picture_of(store, 1)
    path = own.coco / "val2017" / name
    data = path.read_bytes()
    path.write_bytes(data[:-20] + bytes([data[-20] ^ 1]) + data[-19:])
    error = refused(own, store)
    assert error.code == "source-changed"
    assert name in error.message
    path.write_bytes(data)
    own.prepare(store)
    assert own.tree_digest(store) == calm


def test_a_picture_of_a_finished_shard_that_is_gone_is_noticed(own, store):
    (own.coco / "val2017" / picture_of(store, 0)).unlink()
    assert refused(own, store).code == "source-changed"


def test_a_picture_that_was_missing_and_is_there_now_is_noticed(own, tmp_path):
    names = sorted(path.name for path in (own.coco / "val2017").iterdir())
    data = {name: (own.coco / "val2017" / name).read_bytes() for name in names[:4]}
    for name in data:
        (own.coco / "val2017" / name).unlink()
    out = tmp_path / "other.zarr"

    def stop(event):
        if event.kind == "stage" and event.stage == "commit":
            raise KeyboardInterrupt

    with pytest.raises(InterruptedRun):
        own.prepare(out, max_bad=0.5, on_event=stop)
    (own.coco / "val2017" / names[2]).write_bytes(data[names[2]])
    error = refused(own, out, max_bad=0.5)
    assert error.code == "source-changed"
    assert names[2] in error.message


def test_another_version_of_a_library_is_refused_and_named(kit, store, monkeypatch):
    versions = {**pose_data.job.library_versions(), "simplejpeg": "99.0"}
    monkeypatch.setattr(pose_data.job, "library_versions", lambda: versions)
    message = refused(kit, store).message
    assert "version.simplejpeg: was" in message
    assert "is 99.0" in message


def test_other_code_is_refused_and_named(kit, store, monkeypatch):
    monkeypatch.setattr(pose_data.job, "code_digest", lambda: "0" * 64)
    assert "version.code: was" in refused(kit, store).message


def test_a_finished_store_need_not_be_of_this_version(kit, calm, tmp_path, monkeypatch):
    out = tmp_path / "crops.zarr"
    kit.prepare(out)
    monkeypatch.setattr(pose_data.job, "code_digest", lambda: "0" * 64)
    assert kit.prepare(out).splits[0].already_finished
    assert kit.tree_digest(out) == calm


def test_several_differing_fields_are_all_named(kit, store):
    error = refused(kit, store, recipe=Recipe.from_dict({**kit.recipe.as_dict(), "sigma": 3.0, "padding": 1.0}))
    assert "recipe.padding" in error.message
    assert "recipe.sigma" in error.message


def test_overwrite_begins_again_with_the_other_options(kit, store, tmp_path):
    recipe = Recipe.from_dict({**kit.recipe.as_dict(), "sigma": 1.5})
    kit.prepare(store, recipe=recipe, overwrite=True)
    kit.prepare(tmp_path / "fresh.zarr", recipe=recipe)
    assert kit.tree_digest(store) == kit.tree_digest(tmp_path / "fresh.zarr")


# ------------------------------------------------------------------------------------ 38: torn files


def zero_length(path):
    path.write_bytes(b"")


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def zero_filled(path):
    path.write_bytes(b"\0" * path.stat().st_size)


def half_zero_filled(path):
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] + b"\0" * (len(data) - len(data) // 2))


def delete(path):
    path.unlink()


TEARS = [zero_length, cut, zero_filled, half_zero_filled, delete]
IN_WORK = ["plan.parquet", "fingerprint.json", "options.json", "job.json"]


@pytest.mark.parametrize("tear", TEARS)
@pytest.mark.parametrize("name", ["images/c.1.0.0.0", "heatmaps/c.1.0.0.0", "keypoints/c.1.0.0", "kept/c.1"])
def test_a_torn_shard_is_made_again_and_no_other(kit, calm, store, tear, name):
    tear(store / "val2017" / name)
    continues_without_making_again(kit, calm, store, {"val2017/.posedata/shards/000000.json"})


@pytest.mark.parametrize("tear", TEARS)
def test_a_shard_with_a_torn_record_is_made_again_and_no_other(kit, calm, store, tear):
    tear(SplitFolder(store / "val2017").shard_record(0))
    continues_without_making_again(kit, calm, store, {"val2017/.posedata/shards/000001.json"})


def continues_without_making_again(kit, calm, store, kept):
    before = kit.shard_records(store)
    report = kit.prepare(store)
    after = kit.shard_records(store)
    assert {name for name in after if after[name] == before.get(name)} == kept
    assert report.splits[0].shards_kept == len(kept)
    assert kit.tree_digest(store) == calm
    assert kit.leftovers(store) == []


BOTH = {"val2017/.posedata/shards/000000.json", "val2017/.posedata/shards/000001.json"}


@pytest.mark.parametrize("tear", TEARS)
@pytest.mark.parametrize("name", IN_WORK)
def test_torn_records_of_the_work_cost_no_shard(kit, calm, store, tear, name):
    tear(store / "val2017" / ".posedata" / "work" / name)
    continues_without_making_again(kit, calm, store, BOTH)


@pytest.mark.parametrize("tear", TEARS)
@pytest.mark.parametrize("name", ["zarr.json", "val2017/zarr.json", "val2017/images/zarr.json"])
def test_torn_metadata_costs_no_shard(kit, calm, store, tear, name):
    tear(store / name)
    continues_without_making_again(kit, calm, store, BOTH)


def test_a_torn_list_of_culprits_costs_no_shard(kit, calm, store):
    (store / "val2017" / ".posedata" / "work" / "culprits.json").write_bytes(b"\0" * 100)
    continues_without_making_again(kit, calm, store, BOTH)


def test_shards_of_unknown_options_are_not_trusted(kit, calm, store):
    for name in ("fingerprint.json", "options.json"):
        zero_filled(store / "val2017" / ".posedata" / "work" / name)
    continues_without_making_again(kit, calm, store, set())


def test_a_lost_work_folder_is_not_trusted_either(kit, calm, store):
    shutil.rmtree(store / "val2017" / ".posedata" / "work")
    continues_without_making_again(kit, calm, store, set())


def test_swapped_and_duplicated_files_are_noticed(kit, calm, store):
    split = SplitFolder(store / "val2017")
    first, second = split.shard_record(0).read_bytes(), split.shard_record(1).read_bytes()
    split.shard_record(0).write_bytes(second)
    split.shard_record(1).write_bytes(first)
    split.shard_record(2).write_bytes(first)
    continues_without_making_again(kit, calm, store, set())


def test_swapped_data_files_are_noticed(kit, calm, store):
    first, second = (store / "val2017" / "images" / f"c.{shard}.0.0.0" for shard in (0, 1))
    first.rename(first.with_name("aside"))
    second.rename(first)
    first.with_name("aside").rename(second)
    continues_without_making_again(kit, calm, store, set())


@pytest.mark.parametrize("tear", TEARS)
@pytest.mark.parametrize("name", [
    "val2017/images/c.2.0.0.0", "val2017/area/c.0", "val2017/.posedata/shards/000003.json",
    "val2017/.posedata/table.parquet", "val2017/.posedata/manifest.json", "val2017/zarr.json",
    "val2017/heatmaps/zarr.json", "zarr.json", ".posedata/manifest.json",
])  # fmt: skip
def test_a_finished_store_with_a_torn_file_is_mended_by_the_same_command(kit, calm, finished, tmp_path, tear, name):
    out = tmp_path / "crops.zarr"
    shutil.copytree(finished, out)
    before = {path: path.stat().st_ino for path in out.rglob("c.*")}
    tear(out / name)
    kit.prepare(out)
    assert kit.tree_digest(out) == calm
    assert kit.leftovers(out) == []
    changed = {path for path in before if path.exists() and path.stat().st_ino != before[path]}
    assert changed <= {out / name}


@pytest.fixture(scope="module")
def finished(kit, tmp_path_factory):
    out = tmp_path_factory.mktemp("finished") / "crops.zarr"
    kit.prepare(out)
    return out


def test_the_power_goes_when_the_manifest_is_not_on_the_disk_yet(kit, calm, store, tmp_path):
    """The manifest has its name but not its bytes, and the work folder is still there."""
    work = tmp_path / "work"
    shutil.copytree(store / "val2017" / ".posedata" / "work", work)
    kit.prepare(store)
    shutil.copytree(work, store / "val2017" / ".posedata" / "work")
    records = kit.shard_records(store)
    zero_length(store / "val2017" / ".posedata" / "manifest.json")
    kit.prepare(store)
    assert kit.shard_records(store) == records
    assert kit.tree_digest(store) == calm


def test_a_damaged_store_whose_source_changed_is_left_alone(own, store):
    own.prepare(store)
    name = picture_of(store, 2)
    path = own.coco / "val2017" / name
    path.write_bytes(path.read_bytes()[:-2] + b"\0\0\xff\xd9")
    delete(store / "val2017" / "images" / "c.2.0.0.0")
    before = own.tree_digest(store)
    with pytest.raises(PoseError) as caught:
        own.prepare(store)
    assert caught.value.exit_code == 7
    assert own.tree_digest(store) == before
