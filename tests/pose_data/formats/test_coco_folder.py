"""Finding a COCO data set: the places that are looked at, and what is said when nothing is there."""

import pytest

from pose_data.errors import InputError, UsageError
from pose_data.formats.coco_folder import CocoSplit, check_split_name, find_coco


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COCO_ROOT", raising=False)
    return tmp_path


def lay_out(root, *splits, images=""):
    (root / "annotations").mkdir(parents=True, exist_ok=True)
    for split in splits:
        (root / "annotations" / f"person_keypoints_{split}.json").write_text("{}", encoding="utf-8")
        (root / images / split).mkdir(parents=True, exist_ok=True)
    return root


def test_all_splits_of_a_root_in_order_of_name(here):
    root = lay_out(here / "d", "val2017", "train2017")
    (root / "annotations" / "instances_val2017.json").write_text("{}", encoding="utf-8")
    found = find_coco(root=root)
    assert [split.name for split in found] == ["train2017", "val2017"]
    assert found[1] == CocoSplit(
        name="val2017", annotations=root / "annotations" / "person_keypoints_val2017.json", images=root / "val2017"
    )


def test_chosen_splits_once_each(here):
    root = lay_out(here / "d", "val2017", "train2017", "test")
    assert [split.name for split in find_coco(root=root, splits=("val2017", "test", "val2017"))] == ["test", "val2017"]


def test_pictures_may_lie_in_a_folder_of_their_own(here):
    root = lay_out(here / "d", "val2017", images="images")
    assert find_coco(root=root)[0].images == root / "images" / "val2017"


@pytest.mark.parametrize("place", ["data/coco", "coco"])
def test_the_usual_places(here, place):
    lay_out(here / place, "val2017")
    assert find_coco()[0].images.resolve() == (here / place / "val2017").resolve()


def test_root_comes_before_the_environment_and_that_before_the_usual_places(here, monkeypatch):
    for name in ("coco", "named", "given"):
        lay_out(here / name, name)
    assert find_coco()[0].name == "coco"
    monkeypatch.setenv("COCO_ROOT", str(here / "named"))
    assert find_coco()[0].name == "named"
    assert find_coco(root=here / "given")[0].name == "given"


def test_nothing_found_says_where_it_was_looked_for(here, monkeypatch):
    with pytest.raises(InputError) as caught:
        find_coco()
    assert caught.value.code == "coco-not-found"
    assert "data/coco" in caught.value.where
    assert "posedata sample" in caught.value.hint
    monkeypatch.setenv("COCO_ROOT", str(here / "nowhere"))
    with pytest.raises(InputError, match="nowhere"):
        find_coco()
    (here / "empty" / "annotations").mkdir(parents=True)
    with pytest.raises(InputError, match="person_keypoints_"):
        find_coco(root=here / "empty")


def test_a_split_without_its_parts(here):
    root = lay_out(here / "d", "val2017")
    with pytest.raises(InputError, match="annotations-not-found") as caught:
        find_coco(root=root, splits=("train2017",))
    assert "val2017" in caught.value.hint
    (root / "val2017").rmdir()
    with pytest.raises(InputError, match="images-not-found") as caught:
        find_coco(root=root)
    assert str(root / "val2017") in caught.value.where
    assert str(root / "images" / "val2017") in caught.value.where


def test_one_split_named_by_its_parts(here):
    root = lay_out(here / "d", "val2017")
    annotations, images = root / "annotations" / "person_keypoints_val2017.json", root / "val2017"
    assert find_coco(annotations=annotations, images=images)[0].name == "val2017"
    assert find_coco(annotations=annotations, images=images, splits=("mine",))[0].name == "mine"
    other = annotations.rename(root / "own.json")
    assert find_coco(annotations=other, images=images) == (CocoSplit(name="own", annotations=other, images=images),)


def test_parts_that_do_not_fit_together(here):
    root = lay_out(here / "d", "val2017")
    annotations = root / "annotations" / "person_keypoints_val2017.json"
    for options in (
        {"images": root}, {"annotations": annotations},
        {"annotations": annotations, "images": root / "val2017", "splits": ("a", "b")},
    ):  # fmt: skip
        with pytest.raises(UsageError, match="option-conflict"):
            find_coco(**options)
    with pytest.raises(InputError, match="annotations-not-found"):
        find_coco(annotations=root / "no.json", images=root)
    with pytest.raises(InputError, match="images-not-found"):
        find_coco(annotations=annotations, images=annotations)


@pytest.mark.parametrize("name", ["val2017", "a", "mine-2_x.y", "тест"])
def test_names_that_can_be_folders(name):
    assert check_split_name(name) == name


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "a/b", "a\\b", "a b", "a\0", "../up", "x:y", "a\n"])
def test_names_that_cannot(here, name):
    with pytest.raises(UsageError, match="split-name"):
        check_split_name(name)
    with pytest.raises(UsageError, match="split-name"):
        find_coco(root=lay_out(here / "d", "val2017"), splits=(name,))
