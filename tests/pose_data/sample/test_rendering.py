from dataclasses import replace

import numpy as np
import pytest

from pose_data.sample.figure import POSES, pose_body, random_shape
from pose_data.sample.materials import PAINTERS
from pose_data.sample.rendering import Layer, Light, render_figure
from pose_data.sample.wardrobe import Outfit, build_parts, random_outfit
from pose_data.skeleton import COCO_PERSON

LIGHT = Light(
    direction=np.array([0.0, 0.6, 0.8]),
    key=np.ones(3, np.float32),
    sky=np.full(3, 0.5, np.float32),
    bounce=np.full(3, 0.2, np.float32),
    ground_shadow=0.4,
)
WIDTH, HEIGHT, SCALE = 220, 260, 200.0
FOOT = (110.0, 240.0)


def figure(pose: str, yaw_deg: float = 0.0, seed: int = 0, outfit: Outfit | None = None, scale_px: float = SCALE):
    rng = np.random.default_rng(seed)
    body = pose_body(rng, random_shape(rng), POSES[pose], yaw_deg=yaw_deg, pitch_deg=5)
    worn = outfit or random_outfit(rng, curvy=False)
    return body, render_figure(body, worn, LIGHT, scale_px=scale_px, foot_xy=FOOT, picture_wh=(WIDTH, HEIGHT))


def pasted(layer: Layer, values: np.ndarray) -> np.ndarray:
    """Return a layer's values (h, w, …) in the picture's frame, zero elsewhere."""
    whole = np.zeros((HEIGHT + 200, WIDTH + 200, *values.shape[2:]), np.float32)
    top, left = layer.top_px + 100, layer.left_px + 100
    whole[top : top + values.shape[0], left : left + values.shape[1]] = values
    return whole[100 : 100 + HEIGHT, 100 : 100 + WIDTH]


@pytest.mark.parametrize("pose", ["stand", "sit", "run", "crouch"])
@pytest.mark.parametrize("yaw_deg", [0, 90, 180])
def test_the_body_lies_under_its_joints(pose, yaw_deg):
    body, layer = figure(pose, yaw_deg)
    person = pasted(layer, layer.person)
    for name in COCO_PERSON.names:
        place = body.joints[name] - body.ground
        x, y = round(float(FOOT[0] + SCALE * place[0])), round(float(FOOT[1] - SCALE * place[1]))
        assert person[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2].max() > 0.5, name


def test_a_layer_is_finite_and_a_seat_is_no_person():
    for pose, has_seat in (("sit", True), ("stand", False)):
        _, layer = figure(pose)
        assert np.isfinite(layer.rgb).all()
        assert ((layer.alpha >= 0) & (layer.alpha <= 1)).all()
        assert (layer.person <= layer.alpha + 1e-6).all()
        assert bool((layer.alpha - layer.person > 0.9).any()) == has_seat


def test_the_badge_is_at_the_persons_own_left():
    rng = np.random.default_rng(1)
    base = replace(random_outfit(rng, curvy=False), pattern="plain", top=(0.1, 0.1, 0.1), sleeve=2.0)
    layers = [figure("stand", outfit=replace(base, badge=colour))[1] for colour in ((1.0, 0.0, 0.0), (0.0, 0.0, 1.0))]
    changed = np.abs(pasted(layers[0], layers[0].rgb) - pasted(layers[1], layers[1].rgb)).max(axis=2) > 0.1
    columns = np.flatnonzero(changed.any(axis=0))
    assert columns.size
    assert columns.min() > FOOT[0]


def test_a_person_far_outside_draws_nothing():
    rng = np.random.default_rng(0)
    body = pose_body(rng, random_shape(rng), POSES["stand"], yaw_deg=0, pitch_deg=5)
    outfit = random_outfit(rng, curvy=False)
    layer = render_figure(body, outfit, LIGHT, scale_px=100, foot_xy=(-900, 200), picture_wh=(WIDTH, HEIGHT))
    assert layer.alpha.max() == 0


def test_every_material_of_every_outfit_has_a_painter():
    rng = np.random.default_rng(2)
    names = set()
    for number in range(60):
        body = pose_body(rng, random_shape(rng), POSES["sit" if number % 2 else "stand"], yaw_deg=0, pitch_deg=0)
        names |= {part.material for part in build_parts(body, random_outfit(rng, curvy=number % 3 == 0))}
    assert names == set(PAINTERS)
