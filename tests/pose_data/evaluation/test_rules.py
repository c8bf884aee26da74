"""The rules of each data set: complete, printed, found by a file's names, and changed by a file of the user's."""

import json

import pytest

from pose_data.errors import UsageError
from pose_data.evaluation.rules import COCO, COCO_WHOLEBODY, CROWDPOSE, RULES, Rules, own_rules, rules_of
from pose_data.skeleton import COCO_PERSON, Skeleton


@pytest.mark.parametrize("name", RULES)
def test_every_skeleton_is_complete(name):
    skeleton = RULES[name].skeleton
    assert len(skeleton.sigmas) == skeleton.keypoint_count == len(set(skeleton.names))
    order = skeleton.flip_order()
    assert [order[order[number]] for number in range(len(order))] == list(range(len(order)))
    for left, right in skeleton.pairs:
        if left < 17:  # the published ones of feet and faces differ between the sides
            assert skeleton.sigmas[left] == skeleton.sigmas[right]
        if "left" in skeleton.names[left]:
            assert skeleton.names[left].replace("left", "right") == skeleton.names[right]


def test_the_parts_of_a_whole_body_are_all_of_it():
    assert [end - first for first, end in COCO_WHOLEBODY.parts.values()] == [17, 6, 68, 21, 21]
    assert [count for _, count in COCO_WHOLEBODY.fields] == [17, 6, 68, 21, 21]
    assert COCO_WHOLEBODY.skeleton.names[:17] == COCO_PERSON.names
    names = COCO_WHOLEBODY.skeleton.names
    assert (names[17], names[23], names[91], names[112]) == (
        "left_big_toe", "face-0", "left_hand_root", "right_hand_root",
    )  # fmt: skip


def test_rules_print_themselves():
    assert str(COCO) == (
        "rules: coco\n"
        "skeleton: coco-person, 17 keypoints\n"
        "sigmas: 0.025 to 0.107 (cocodataset/cocoapi)\n"
        "area of a person: as annotated (the segment's)\n"
        "ignored: crowds, and persons of whom num_keypoints, as written, is 0"
    )
    text = str(CROWDPOSE)
    assert "area of a person: 0.53 of the annotated box" in text
    assert "ignored: crowds, and persons of whom no keypoint is labelled" in text
    assert "parts: body, foot, face, left_hand, right_hand" in str(COCO_WHOLEBODY)
    assert "none: give some before evaluating" in str(Rules(name="own", skeleton=Skeleton(name="own", names=("a",))))


def test_a_file_is_known_by_its_names():
    assert rules_of(COCO_PERSON.names, "person") is COCO
    assert rules_of(tuple(name.replace("_", " ").title() for name in COCO_PERSON.names), "person") is COCO
    crowdpose = [*CROWDPOSE.skeleton.names]
    crowdpose[12] = "top_head"
    assert rules_of(tuple(crowdpose), "person") is CROWDPOSE
    own = rules_of(("head", "tail"), "fly")
    assert (own.name, own.skeleton.names, own.skeleton.sigmas) == ("fly", ("head", "tail"), ())


FLY = rules_of(("head", "tail"), "fly")


@pytest.mark.parametrize("suffix", [".toml", ".json"])
@pytest.mark.parametrize("sigmas", [[0.05, 0.1], {"tail": 0.1, "head": 0.05}], ids=["list", "table"])
def test_own_sigmas_come_from_a_file(tmp_path, suffix, sigmas):
    file = tmp_path / f"rules{suffix}"
    if suffix == ".json":
        file.write_text(json.dumps({"name": "flies", "sigmas": sigmas, "area": "box-0.53", "count_labels": True}))
    else:
        text = ", ".join(f"{n} = {s}" for n, s in sigmas.items()) if isinstance(sigmas, dict) else str(sigmas)[1:-1]
        text = f"{{{text}}}" if isinstance(sigmas, dict) else f"[{text}]"
        file.write_text(f'name = "flies"\nsigmas = {text}\narea = "box-0.53"\ncount_labels = true\n')
    rules = own_rules(file, FLY)
    assert rules.skeleton.sigmas == (0.05, 0.1)
    assert (rules.name, rules.area, rules.count_labels, rules.source) == ("flies", "box-0.53", True, file.name)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"sigmas": [0.1]}, "1 sigmas for 2 keypoints of fly"),
        ({"sigmas": 0.1}, "sigmas 0.1 for 2 keypoints of fly"),
        ({"sigmas": {"head": 0.1}}, "no sigma for tail"),
        ({"sigmas": {"head": 0.1, "tail": 0.1, "leg": 0.1}}, "no keypoint is named 'leg'"),
        ({"sigmas": [0.1, 0]}, "a sigma is 0"),
        ({"sigmas": [0.1, True]}, "a sigma is True"),
        ({"sigma": [0.1, 0.1]}, "rules have no option 'sigma'"),
        ({"area": "box"}, "area is 'box'"),
        ({"count_labels": 1}, "count_labels is 1"),
        ([1], "the rules are not a JSON object"),
    ],
    ids=str,
)
def test_wrong_rules_are_refused(tmp_path, options, said):
    file = tmp_path / "rules.json"
    file.write_text(json.dumps(options))
    with pytest.raises(UsageError) as caught:
        own_rules(file, FLY)
    assert said in str(caught.value)


def test_rules_that_cannot_be_read_are_said(tmp_path):
    with pytest.raises(UsageError, match="config-unreadable"):
        own_rules(tmp_path / "missing.json", FLY)
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(UsageError, match="config-invalid"):
        own_rules(tmp_path / "broken.json", FLY)
