import pytest

from pose_data.errors import UsageError
from pose_data.sample.plan import plan_pictures


def test_the_default_plan_has_what_was_promised():
    plans = plan_pictures(200, 0, 0.25)
    assert [plan.image_id for plan in plans] == list(range(1, 201))
    assert sum(plan.persons for plan in plans) >= 300
    assert sum(plan.split == "val" for plan in plans) == 50
    for split in ("train", "val"):
        members = [plan for plan in plans if plan.split == split]
        assert any(plan.crowd for plan in members)
        assert any(plan.persons == 0 for plan in members)
        assert any(plan.width_px > plan.height_px for plan in members)
        assert any(plan.width_px < plan.height_px for plan in members)
    assert {plan.persons for plan in plans} == {0, 1, 2, 3, 4, 5, 6}


def test_the_plan_follows_from_the_seed():
    assert plan_pictures(30, 4, 0.25) == plan_pictures(30, 4, 0.25)
    assert plan_pictures(30, 4, 0.25) != plan_pictures(30, 5, 0.25)


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_no_split_is_empty(share):
    for pictures in (2, 3, 9):
        assert {plan.split for plan in plan_pictures(pictures, 0, share)} == {"train", "val"}


@pytest.mark.parametrize(
    ("pictures", "seed", "share", "code"),
    [(1, 0, 0.25, "sample-pictures"), (9, -1, 0.25, "sample-seed"), (9, 0, 0.0, "sample-val-share"),
     (9, 0, 1.0, "sample-val-share")],
)  # fmt: skip
def test_numbers_out_of_range_are_refused(pictures, seed, share, code):
    with pytest.raises(UsageError) as caught:
        plan_pictures(pictures, seed, share)
    assert caught.value.code == code
