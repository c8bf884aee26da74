"""One shard: crops, maps and columns of its rows, bad pictures as empty rows, the same bytes every time."""

import numpy as np
import pytest
import zarr

from pose_data.atomic import bytes_digest, file_digest
from pose_data.errors import InputError
from pose_data.formats.coco import read_coco
from pose_data.geometry import shift_transforms
from pose_data.imaging import decode_picture, warp_crop
from pose_data.manifest import SplitFolder, read_shard_record
from pose_data.plan import read_plan_rows, write_plan
from pose_data.selection import select_samples
from pose_data.shard import ShardJob, make_shard
from pose_data.shard_file import read_chunk, read_column, read_index
from pose_data.shard_plan import shard_geometry
from pose_data.targets.heatmap import encode_heatmaps
from pose_data.zarr_metadata import array_metadata

ALL = tuple(range(17))


def begin(factory, folder, recipe, change=lambda coco: None, allow_outside=False, **maker):
    """Plan a split of small pictures whose shards are still to be made; return its job."""
    coco = factory.CocoMaker(folder / "coco", **maker)
    coco.write("val2017")
    change(coco)
    read = read_coco(
        coco.dump("val2017"), keep_segmentation=recipe.background == "white", allow_outside=allow_outside,
        boxes=recipe.boxes,
    )  # fmt: skip
    table = select_samples(read.table, recipe)
    split = SplitFolder(folder / "val2017")
    _, indices = recipe.skeleton_of(read.skeleton)
    job = ShardJob(
        split=split, images_root=folder / "coco" / "val2017", recipe=recipe, keypoint_indices=indices,
        rows=sum(table["kept"].to_pylist()), shard_rows=recipe.shard_rows, allow_outside=allow_outside,
    )  # fmt: skip
    (split.records / "shards").mkdir(parents=True)
    split.work.mkdir()
    write_plan(split.plan, table, recipe, recipe.shard_rows)
    for layout in job.layouts():
        (split.path / layout.name).mkdir()
        text = array_metadata(layout, job.rows, job.shard_rows, recipe.chunk_rows)
        (split.path / layout.name / "zarr.json").write_bytes(text)
    return job


def make_all(job, **options):
    return [make_shard(job, shard, **options) for shard in range(job.shards)]


def arrays_of(job):
    return {layout.name: zarr.open_array(job.split.path / layout.name, mode="r")[:] for layout in job.layouts()}


def files_of(job):
    return {path.name: path.read_bytes() for path in job.split.path.rglob("*") if path.is_file()}


@pytest.fixture
def job(factory, tmp_path):
    return begin(factory, tmp_path, factory.small_recipe())


def test_each_row_is_the_warp_of_its_picture(job):
    make_all(job)
    arrays = arrays_of(job)
    checked = 0
    for shard in range(job.shards):
        rows = read_plan_rows(job.plan_path, shard)
        geometry = shard_geometry(rows, job.recipe, ALL)
        for place, name in enumerate(rows["file_name"].to_pylist()):
            row = shard * job.shard_rows + place
            if not arrays["kept"][row]:
                continue
            data = (job.images_root / name).read_bytes()
            picture = decode_picture(data, file_name=name, expected_wh=(80, 64), exif="ignore")
            crop = np.empty((32, 24, 3), np.uint8)
            warp_crop(np.ascontiguousarray(picture.pixels), geometry.image_to_stored[place], crop)
            np.testing.assert_array_equal(arrays["images"][row], crop)
            maps = encode_heatmaps(
                geometry.xy_map[place : place + 1], geometry.has_map[place : place + 1], encoding="gaussian",
                map_width=12, map_height=16, sigma=1.0,
            )  # fmt: skip
            np.testing.assert_array_equal(arrays["heatmaps"][row], np.rint(255 * maps[0]))
            checked += 1
    assert checked == 18


def test_rows_of_bad_pictures_keep_their_place_and_hold_nothing(job):
    records = make_all(job)
    arrays = arrays_of(job)
    rejects = {reject.row: reject.code for record in records for reject in record.rejects}
    assert sorted(rejects.values()) == ["img-missing", "img-truncated"]
    assert np.flatnonzero(~arrays["kept"]).tolist() == sorted(rejects)
    assert sorted(name for record in records for name in record.bad_pictures) == ["missing.jpg", "torn.jpg"]
    for row in rejects:
        for name in ("images", "heatmaps", "keypoints", "transforms"):
            assert not arrays[name][row].any()
        assert arrays["annotation_id"][row]
    good = arrays["images"][arrays["kept"]]
    assert good.reshape(18, -1).any(axis=1).all()


def test_the_record_says_what_the_files_hold(job):
    for record in make_all(job):
        assert read_shard_record(job.split.shard_record(record.shard)) == record
        assert set(record.files) == {
            job.split.shard_file(layout.name, len(layout.row_shape), record.shard)
            .relative_to(job.split.path)
            .as_posix()
            for layout in job.layouts()
        }
        for name, written in record.files.items():
            assert file_digest(job.split.path / name) == written
        for name, digest in record.pictures.items():
            assert bytes_digest((job.images_root / name).read_bytes()) == digest
        assert record.first_row == record.shard * 8
    assert [record.rows for record in make_all(job)] == [8, 8, 4]
    pictures = [name for record in make_all(job) for name in record.pictures]
    assert "missing.jpg" not in pictures
    assert "torn.jpg" in pictures


def test_a_shard_is_the_same_bytes_every_time_and_in_any_order(job):
    make_all(job)
    before = files_of(job)
    for shard in (2, 0, 1, 0):
        make_shard(job, shard)
    assert files_of(job) == before


def test_the_last_chunk_is_filled_up_with_zeros(factory, tmp_path):
    job = begin(factory, tmp_path, factory.small_recipe(), pictures=7)
    assert job.rows == 23
    make_all(job)
    for layout in job.layouts():
        path = job.split.shard_file(layout.name, len(layout.row_shape), 2)
        if layout.sharded:
            out = np.full((4, *layout.row_shape), 7, layout.dtype)
            read_chunk(layout, path, read_index(path, 2), 1, out)
            assert out[:3].any()
            assert not out[3:].any()
        else:
            assert not read_column(layout, path, 8)[7:].any()


def test_each_picture_is_announced_and_decoded_once(job):
    everywhere = set()
    for shard in range(job.shards):
        seen = []
        make_shard(job, shard, before_picture=seen.append)
        assert len(seen) == len(set(seen))
        everywhere.update(seen)
    assert len(everywhere) == 8


def test_stopping_leaves_no_file(job):
    class StopNow(BaseException):
        pass

    def stop(name="", count=[0]):  # noqa: B006 - counts the calls
        count[0] += 1
        if count[0] == 2:
            raise StopNow

    for option in ({"before_picture": stop}, {"before_write": lambda: stop(count=[1])}):
        before = files_of(job)
        with pytest.raises(StopNow):
            make_shard(job, 0, **option)
        assert files_of(job) == before


def test_a_known_culprit_is_rejected_unread(job):
    records = make_all(job, culprits={"000000000002.jpg": "killed its process"})
    crashed = [reject for record in records for reject in record.rejects if reject.code == "img-crash"]
    assert [reject.detail for reject in crashed] == ["killed its process"] * 3
    assert "000000000002.jpg" not in {name for record in records for name in record.pictures}


@pytest.mark.parametrize("geometry", ["msra", "udp", "dark", "box"])
def test_context_surrounds_the_same_window(factory, tmp_path, geometry):
    plain = begin(factory, tmp_path / "plain", factory.small_recipe(geometry=geometry))
    wide = begin(factory, tmp_path / "wide", factory.small_recipe(geometry=geometry, context_px=6))
    make_all(plain)
    make_all(wide)
    narrow, broad = arrays_of(plain), arrays_of(wide)
    window = broad["images"][:, 6:-6, 6:-6].astype(int)
    assert broad["images"].shape == (20, 44, 36, 3)
    # The warp counts in fixed point from the corner, so that a rare pixel differs by one level.
    difference = np.abs(window - narrow["images"])
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.01
    np.testing.assert_array_equal(broad["heatmaps"], narrow["heatmaps"])
    labelled = narrow["keypoints"][..., 2] > 0
    moved = broad["keypoints"] - narrow["keypoints"]
    np.testing.assert_allclose(moved[labelled], [[6, 6, 0]] * labelled.sum(), atol=1e-4)
    assert not moved[~labelled].any()
    kept = narrow["kept"]
    back = shift_transforms(broad["transforms"], 0, 0)
    origin = back[kept][:, :, :2] @ np.array([6.0, 6.0]) + back[kept][:, :, 2]
    np.testing.assert_allclose(origin, narrow["transforms"][kept][:, :, 2], atol=1e-9)
    # Real pixels, not a border of black: somewhere around the window there is picture.
    frame = broad["images"][kept].copy()
    frame[:, 6:-6, 6:-6] = 0
    assert frame.any(axis=(1, 2, 3)).mean() > 0.8


def test_a_mask_that_cannot_be_read_rejects_the_person_alone(factory, tmp_path):
    def change(coco):
        coco.annotations[1]["segmentation"] = [[1, 2, 3]]

    job = begin(factory, tmp_path, factory.small_recipe(background="white"), change)
    records = make_all(job)
    masks = [reject for record in records for reject in record.rejects if reject.code == "mask-missing"]
    assert len(masks) == 1
    arrays = arrays_of(job)
    assert arrays["annotation_id"][masks[0].row] == 1001
    assert not arrays["images"][masks[0].row].any()
    assert not arrays["kept"][masks[0].row]
    assert arrays["kept"].sum() == 17


def test_outside_the_mask_all_is_white(factory, tmp_path):
    def change(coco):
        coco.annotations[0]["segmentation"] = [[10, 10, 20, 10, 20, 20, 10, 20]]
        coco.annotations[0]["bbox"] = [5, 5, 40, 40]

    job = begin(factory, tmp_path, factory.small_recipe(background="white"), change)
    make_all(job)
    arrays = arrays_of(job)
    image = arrays["images"][arrays["annotation_id"].tolist().index(1000)]
    white = (image == 255).all(axis=-1)
    assert 0.6 < white.mean() < 0.99
    assert not white.all()


def test_pictures_whose_size_the_file_does_not_say_are_used(factory, tmp_path):
    def change(coco):
        for record in coco.image_records:
            del record["width"], record["height"]

    job = begin(factory, tmp_path, factory.small_recipe(), change)
    records = make_all(job)
    assert sorted(reject.code for record in records for reject in record.rejects) == ["img-missing", "img-truncated"]
    assert arrays_of(job)["images"].any()


def test_a_picture_of_another_size_is_rejected(factory, tmp_path):
    job = begin(factory, tmp_path, factory.small_recipe(), lambda coco: coco.image_records[0].update(width=81))
    codes = [reject.code for record in make_all(job) for reject in record.rejects]
    assert codes.count("img-size-mismatch") == 5 - 2  # the crowd and the unlabelled one were filtered before


def test_notes_of_the_picture_are_noted_for_each_of_its_rows(factory, tmp_path):
    def change(coco):
        coco.image_records[1]["file_name"] = "named.png"
        images = tmp_path / "coco" / "val2017"
        (images / "000000000001.jpg").rename(images / "named.png")

    job = begin(factory, tmp_path, factory.small_recipe(), change)
    notes = [note for record in make_all(job) for note in record.notes]
    assert [code for _, code in notes] == ["img-wrong-extension"] * 3
    rows = {row for row, _ in notes}
    images = arrays_of(job)["image_id"]
    assert {images[row] for row in rows} == {2}
    assert len(rows) == 3


def test_a_link_that_leads_out_of_the_folder_is_refused(factory, tmp_path):
    job = begin(factory, tmp_path, factory.small_recipe())
    inside = job.images_root / "000000000001.jpg"
    outside = tmp_path / "outside.jpg"
    inside.rename(outside)
    inside.symlink_to(outside)
    with pytest.raises(InputError, match="path-outside-root"):
        make_all(job)


def test_the_plan_may_lie_elsewhere(job, tmp_path):
    make_all(job)
    before = files_of(job)
    job.plan_path.rename(tmp_path / "elsewhere")
    moved = ShardJob(
        split=job.split, images_root=job.images_root, recipe=job.recipe, keypoint_indices=ALL, rows=job.rows,
        shard_rows=job.shard_rows, plan=tmp_path / "elsewhere",
    )  # fmt: skip
    make_shard(moved, 1)
    assert {name: data for name, data in files_of(job).items() if name.startswith("c.")} == {
        name: data for name, data in before.items() if name.startswith("c.")
    }


def test_simcc_and_float_maps_are_written_as_asked(factory, tmp_path):
    for number, (changes, names) in enumerate([
        ({"encoding": "simcc", "map_dtype": "float16"}, {"simcc_x": (17, 48), "simcc_y": (17, 64)}),
        ({"map_dtype": "float32"}, {"heatmaps": (17, 16, 12)}),
    ]):  # fmt: skip
        job = begin(factory, tmp_path / str(number), factory.small_recipe(**changes))
        make_all(job)
        arrays = arrays_of(job)
        for name, shape in names.items():
            assert arrays[name].shape == (20, *shape)
            assert arrays[name].dtype == np.dtype(changes["map_dtype"])
            assert arrays[name].max() == 1.0
