import numpy as np

from pose_data.sample.background import Ground, develop, paint_backdrop
from pose_data.sample.canvas import Canvas
from pose_data.sample.objects import OCCLUDERS

GROUND = Ground(horizon_px=80.0, camera_heights=0.9, back_px=180.0)


def test_backdrops_are_pictures_and_follow_from_the_generator():
    seen = set()
    for seed in range(12):
        first, second = (paint_backdrop(np.random.default_rng(seed), GROUND, 320, 240) for _ in range(2))
        assert np.array_equal(first.rgb, second.rgb)
        assert np.isfinite(first.rgb).all()
        assert first.rgb.std() > 0.03
        assert abs(np.linalg.norm(first.light.direction) - 1) < 1e-9
        seen.add(first.place)
    assert seen == {"indoor", "outdoor"}


def test_a_person_is_as_high_as_the_ground_says():
    assert abs(GROUND.person_px(GROUND.foot_y(123.0)) - 123.0) < 1e-9


def test_developing_keeps_the_size_and_uses_8_bits():
    pixels = develop(np.random.default_rng(0), np.full((40, 60, 3), 0.5, np.float32))
    assert pixels.shape == (40, 60, 3)
    assert pixels.dtype == np.uint8
    assert 90 < pixels.mean() < 160


def test_every_occluder_covers_some_of_its_place_and_not_all():
    for painters in OCCLUDERS.values():
        for painter in painters:
            canvas = Canvas(np.random.default_rng(0), 200, 200)
            painter(canvas, 100.0, 180.0, 80.0)
            covered = canvas.alpha > 0.5
            assert 0.01 < covered.mean() < 0.8
            assert not covered[195:].any()


def test_shapes_outside_the_canvas_are_harmless():
    canvas = Canvas(np.random.default_rng(0), 50, 40)
    canvas.rectangle(-90, -90, -60, -60, (1, 0, 0))
    canvas.ellipse(300, 300, 20, 20, (1, 0, 0))
    canvas.polygon([(60, 60), (80, 60), (80, 80)], (1, 0, 0))
    canvas.line((-30, -5), (-10, -5), 3, (1, 0, 0))
    canvas.foliage(200, 20, 10, 10, (1, 0, 0))
    canvas.shadow(-80, 20, 10, 10)
    assert canvas.alpha.max() == 0
