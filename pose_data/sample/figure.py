"""Articulated bodies: build, poses, joint positions. NumPy only.

The body frame has x to the person's own left, y up and z to the front; the camera frame has x to the right, y up
and z towards the viewer, so that a person who faces the camera has the left side at larger x. The unit is the
body height. Segment lengths follow Drillis and Contini's table as given in Winter, *Biomechanics and Motor Control
of Human Movement*.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["POSES", "Body", "BodyShape", "PoseRange", "pose_body", "random_shape", "random_yaw_deg"]

Vector = NDArray[np.float64]
Range = tuple[float, float]

_SOLE = 0.022


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyShape:
    """How one person is built; lengths in body heights, ``height_m`` in metres, ``girth`` relative to slim-average."""

    height_m: float
    girth: float
    shoulder_half: float
    hip_half: float
    leg: float
    torso: float
    arm: float
    head: float
    bust: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PoseRange:
    """The angles of a kind of pose, each a (low, high) range in degrees.

    ``arms``: two of (flexion, abduction, twist, elbow); ``legs``: two of (flexion, abduction, twist, knee). Which of
    the two is the left one is drawn by chance.
    """

    arms: tuple[tuple[Range, Range, Range, Range], tuple[Range, Range, Range, Range]]
    legs: tuple[tuple[Range, Range, Range, Range], tuple[Range, Range, Range, Range]]
    lean: Range = (-3, 4)
    bend: Range = (-3, 6)
    side: Range = (-4, 4)
    twist: Range = (-8, 8)
    nod: Range = (-8, 12)
    seat: bool = False
    lift: Range = (0, 0)


_HANG = ((-8, 14), (5, 15), (-25, 20), (6, 28))
_ON_HIP = ((-24, -14), (38, 50), (-84, -70), (88, 104))
_UP = ((-6, 16), (142, 172), (-20, 50), (6, 45))
_WAVE = ((0, 25), (70, 108), (70, 100), (60, 105))
_WIDE = ((-10, 25), (62, 104), (-30, 90), (5, 60))
_FRONT = ((28, 52), (4, 14), (-48, -22), (62, 100))
_PHONE = ((28, 44), (22, 36), (-48, -26), (128, 142))
_REACH = ((60, 105), (0, 22), (-15, 15), (4, 30))
_STRAIGHT = ((-3, 5), (2, 8), (0, 16), (0, 8))
_RELAXED = ((6, 18), (5, 12), (5, 22), (14, 28))
_SEATED = ((76, 94), (4, 15), (-6, 10), (66, 100))
_ON_KNEES = ((18, 38), (4, 12), (-28, -4), (44, 72))

POSES: Mapping[str, PoseRange] = {
    "stand": PoseRange(arms=(_HANG, _HANG), legs=(_STRAIGHT, _STRAIGHT)),
    "stand-relaxed": PoseRange(arms=(_HANG, _ON_HIP), legs=(_STRAIGHT, _RELAXED), side=(-8, 8)),
    "hands-on-hips": PoseRange(arms=(_ON_HIP, _ON_HIP), legs=(_STRAIGHT, _RELAXED)),
    "hands-in-front": PoseRange(arms=(_FRONT, _FRONT), legs=(_STRAIGHT, _RELAXED), nod=(0, 26)),
    "wave": PoseRange(arms=(_WAVE, _HANG), legs=(_STRAIGHT, _RELAXED)),
    "phone": PoseRange(arms=(_PHONE, _HANG), legs=(_STRAIGHT, _RELAXED), nod=(0, 16)),
    "arms-up": PoseRange(arms=(_UP, _UP), legs=(_STRAIGHT, _RELAXED), nod=(-18, 4)),
    "reach": PoseRange(arms=(_REACH, _HANG), legs=(_RELAXED, ((-18, -4), (3, 9), (0, 12), (4, 20))), lean=(0, 12)),
    "walk": PoseRange(
        arms=(((-30, -12), (4, 10), (-15, 5), (8, 24)), ((14, 32), (3, 9), (-25, 0), (18, 42))),
        legs=(((18, 32), (0, 4), (0, 8), (2, 14)), ((-24, -12), (0, 5), (0, 10), (14, 36))),
        lean=(0, 6),
    ),
    "run": PoseRange(
        arms=(((-62, -32), (6, 18), (-15, 10), (75, 105)), ((18, 48), (4, 14), (-40, -10), (75, 110))),
        legs=(((44, 78), (0, 6), (-4, 8), (60, 105)), ((-34, -14), (0, 6), (0, 8), (12, 60))),
        lean=(6, 18), twist=(-16, 16), lift=(0, 0.05),
    ),
    "dance": PoseRange(
        arms=(_WIDE, ((0, 60), (30, 150), (-60, 90), (10, 95))),
        legs=(_STRAIGHT, ((10, 48), (8, 30), (0, 30), (10, 70))),
        side=(-14, 14), twist=(-20, 20), nod=(-14, 14),
    ),
    "jump": PoseRange(
        arms=(((-10, 30), (95, 160), (-20, 60), (5, 50)), ((-10, 30), (95, 160), (-20, 60), (5, 50))),
        legs=(((8, 40), (10, 26), (0, 20), (20, 75)), ((-12, 25), (8, 24), (0, 20), (20, 85))),
        lift=(0.05, 0.16),
    ),
    "kick": PoseRange(
        arms=(((-35, -5), (25, 60), (-20, 20), (10, 45)), ((10, 45), (25, 70), (-20, 30), (10, 60))),
        legs=(((42, 82), (2, 16), (0, 10), (4, 40)), ((-10, 2), (2, 6), (4, 14), (6, 18))),
        lean=(-14, -2),
    ),
    "lunge": PoseRange(
        arms=(_WIDE, _REACH),
        legs=(((50, 74), (4, 12), (0, 8), (58, 84)), ((-34, -20), (4, 14), (0, 14), (6, 30))),
        lean=(0, 10),
    ),
    "sit": PoseRange(arms=(_ON_KNEES, _ON_KNEES), legs=(_SEATED, _SEATED), lean=(-8, 8), bend=(0, 14), seat=True),
    "sit-wave": PoseRange(arms=(_WAVE, _ON_KNEES), legs=(_SEATED, _SEATED), lean=(-8, 6), bend=(0, 8), seat=True),
    "sit-read": PoseRange(arms=(_FRONT, _FRONT), legs=(_SEATED, _SEATED), bend=(4, 16), nod=(12, 30), seat=True),
    "crouch": PoseRange(
        arms=(((46, 74), (4, 18), (-30, 0), (20, 64)), ((46, 74), (4, 18), (-30, 0), (20, 64))),
        legs=(((98, 118), (12, 28), (4, 20), (112, 132)), ((98, 118), (12, 28), (4, 20), (112, 132))),
        lean=(12, 26), bend=(12, 26), nod=(-30, -8),
    ),
    "kneel": PoseRange(
        arms=(_ON_KNEES, _HANG),
        legs=(((84, 98), (4, 14), (0, 10), (84, 100)), ((-6, 8), (4, 10), (0, 8), (86, 100))),
        bend=(0, 12),
    ),
    "bend-over": PoseRange(
        arms=(((58, 90), (4, 16), (-14, 10), (4, 30)), ((50, 90), (4, 16), (-14, 10), (4, 36))),
        legs=(((22, 40), (4, 10), (0, 12), (12, 36)), ((22, 44), (4, 10), (0, 12), (12, 40))),
        lean=(28, 46), bend=(18, 34), nod=(-36, -10),
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """A posed body in the camera frame: ``joints`` name -> (3,), ``frames`` name -> (3, 3) with axes as columns.

    ``ground``: (3,), the ground below the pelvis; ``up``: (3,), the ground's normal; ``seated``: sits on something.
    """

    shape: BodyShape
    joints: Mapping[str, Vector]
    frames: Mapping[str, Vector]
    ground: Vector
    up: Vector
    seated: bool


def _turn(axis: int, degrees: float) -> Vector:
    """Return the rotation about a coordinate axis (0, 1, 2), right-handed."""
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    one, two = (axis + 1) % 3, (axis + 2) % 3
    matrix = np.eye(3)
    matrix[one, one] = matrix[two, two] = cos
    matrix[one, two], matrix[two, one] = -sin, sin
    return matrix


def random_shape(rng: np.random.Generator) -> BodyShape:
    """Return a random build: mostly adults, some children."""
    child = rng.random() < 0.14
    curvy = rng.random() < 0.5
    height_m = rng.uniform(1.05, 1.45) if child else rng.normal(1.66 if curvy else 1.77, 0.06)
    return BodyShape(
        height_m=float(height_m),
        girth=float(np.clip(rng.normal(1.03, 0.1), 0.88, 1.3)),
        shoulder_half=float((0.098 if curvy or child else 0.108) * rng.uniform(0.97, 1.05)),
        hip_half=float((0.062 if curvy else 0.057) * rng.uniform(0.96, 1.06)),
        leg=float(rng.uniform(0.97, 1.03) * (0.94 if child else 1.0)),
        torso=float(rng.uniform(0.97, 1.03)),
        arm=float(rng.uniform(0.97, 1.03) * (0.95 if child else 1.0)),
        head=float(rng.uniform(1.22, 1.36) if child else rng.uniform(1.03, 1.12)),
        bust=float(rng.uniform(0.3, 1.0)) if curvy and not child else 0.0,
    )


def random_yaw_deg(rng: np.random.Generator) -> float:
    """Return which way a person faces: 0 is to the camera, 90 is to the picture's right, 180 is away."""
    kind = rng.choice(4, p=(0.5, 0.18, 0.16, 0.16))
    low, high = ((-32, 32), (32, 68), (68, 112), (148, 212))[int(kind)]
    return float(rng.uniform(low, high) * (1 if rng.random() < 0.5 else -1))


def _arm(rng: np.random.Generator, ranges: tuple[Range, Range, Range, Range], side: int, chest: Vector,
         shoulder: Vector, shape: BodyShape, joints: dict[str, Vector], frames: dict[str, Vector]) -> None:  # fmt: skip
    flexion, abduction, twist, elbow = (float(rng.uniform(*values)) for values in ranges)
    name = "left" if side > 0 else "right"
    upper = chest @ _turn(0, -flexion) @ _turn(2, side * abduction) @ _turn(1, side * twist)
    lifted = max(0.0, float(upper[1, 1] * -chest[1, 1] - upper[0, 1] * chest[0, 1] - upper[2, 1] * chest[2, 1]) + 0.3)
    shoulder = shoulder + chest @ np.array([-side * 0.012 * lifted, 0.026 * lifted, 0.0])
    fore = upper @ _turn(0, -elbow)
    hand = fore @ _turn(0, float(rng.uniform(-12, 22))) @ _turn(1, side * float(rng.uniform(-90, -40)))
    joints[f"{name}_shoulder"] = shoulder
    joints[f"{name}_elbow"] = shoulder - upper[:, 1] * 0.172 * shape.arm
    joints[f"{name}_wrist"] = joints[f"{name}_elbow"] - fore[:, 1] * 0.145 * shape.arm
    joints[f"{name}_hand"] = joints[f"{name}_wrist"] - hand[:, 1] * 0.05
    frames |= {f"{name}_upper_arm": upper, f"{name}_forearm": fore, f"{name}_hand": hand}


def _leg(rng: np.random.Generator, ranges: tuple[Range, Range, Range, Range], side: int, pelvis: Vector, lean: float,
         hip: Vector, shape: BodyShape, joints: dict[str, Vector], frames: dict[str, Vector]) -> None:  # fmt: skip
    flexion, abduction, twist, knee = (float(rng.uniform(*values)) for values in ranges)
    name = "left" if side > 0 else "right"
    # The hips stay over the feet while the trunk leans, so the legs undo the lean.
    thigh = pelvis @ _turn(0, -flexion - lean) @ _turn(2, side * abduction) @ _turn(1, side * twist)
    shank = thigh @ _turn(0, knee)
    foot = shank @ _turn(0, float(np.clip(flexion - knee, -32, 38) + rng.uniform(-3, 3)))
    joints[f"{name}_hip"] = hip
    joints[f"{name}_knee"] = hip - thigh[:, 1] * 0.238 * shape.leg
    joints[f"{name}_ankle"] = joints[f"{name}_knee"] - shank[:, 1] * 0.228 * shape.leg
    joints[f"{name}_heel"] = joints[f"{name}_ankle"] + foot @ np.array([0.0, -0.026, -0.028])
    joints[f"{name}_toe"] = joints[f"{name}_ankle"] + foot @ np.array([side * 0.008, -0.028, 0.088])
    frames |= {f"{name}_thigh": thigh, f"{name}_shank": shank, f"{name}_foot": foot}


def _head(rng: np.random.Generator, pose: PoseRange, chest: Vector, shape: BodyShape, bend: float,
          joints: dict[str, Vector], frames: dict[str, Vector]) -> None:  # fmt: skip
    nod = float(rng.uniform(*pose.nod)) - 0.5 * bend
    head = chest @ _turn(1, float(rng.uniform(-26, 26))) @ _turn(0, nod) @ _turn(2, float(rng.uniform(-9, 9)))
    joints["head"] = joints["neck"] + chest @ np.array([0.0, 0.04, 0.006]) + head[:, 1] * 0.064 * shape.head
    frames["head"] = head
    at = {"nose": (0.0, -0.012, 0.068), "left_eye": (0.0195, 0.009, 0.05), "right_eye": (-0.0195, 0.009, 0.05),
          "left_ear": (0.051, -0.004, -0.002), "right_ear": (-0.051, -0.004, -0.002)}  # fmt: skip
    for name, place in at.items():
        joints[name] = joints["head"] + head @ (np.asarray(place) * shape.head)


def _ground_height(joints: Mapping[str, Vector], seated: bool) -> float:
    """Return the height of the ground: under the lowest sole or knee, or below a sitter's feet."""
    low = [joints[f"{side}_{name}"][1] - _SOLE for side in ("left", "right") for name in ("heel", "toe")]
    low += [joints[f"{side}_{name}"][1] - 0.035 for side in ("left", "right") for name in ("knee", "hand")]
    if seated:
        low.append(joints["pelvis"][1] - 0.26)
    return float(min(low))


def pose_body(rng: np.random.Generator, shape: BodyShape, pose: PoseRange, *, yaw_deg: float, pitch_deg: float) -> Body:
    """Return a body in a random pose of the given kind, seen by a camera that looks down by ``pitch_deg``."""
    lean, bend = float(rng.uniform(*pose.lean)), float(rng.uniform(*pose.bend))
    pelvis = _turn(1, yaw_deg) @ _turn(0, lean) @ _turn(2, 0.5 * float(rng.uniform(*pose.side)))
    chest = (
        pelvis @ _turn(0, bend) @ _turn(1, float(rng.uniform(*pose.twist))) @ _turn(2, float(rng.uniform(*pose.side)))
    )
    joints: dict[str, Vector] = {"pelvis": np.zeros(3), "waist": pelvis[:, 1] * 0.1 * shape.torso}
    frames: dict[str, Vector] = {"pelvis": pelvis, "chest": chest}
    joints["neck"] = joints["waist"] + chest[:, 1] * 0.195 * shape.torso
    _head(rng, pose, chest, shape, lean + bend, joints, frames)
    first = int(rng.random() < 0.5)
    for side in (1, -1):
        which = first if side > 0 else 1 - first
        shoulder = joints["waist"] + chest @ np.array([side * shape.shoulder_half, 0.162 * shape.torso, -0.004])
        _arm(rng, pose.arms[which], side, chest, shoulder, shape, joints, frames)
        hip = pelvis @ np.array([side * shape.hip_half, -0.006, 0.0])
        _leg(rng, pose.legs[which], side, pelvis, lean, hip, shape, joints, frames)
    drop = _ground_height(joints, pose.seat) - float(rng.uniform(*pose.lift))
    camera = _turn(0, pitch_deg)
    ground = camera @ np.array([0.0, drop, 0.0])
    return Body(
        shape=shape,
        joints={name: camera @ place for name, place in joints.items()},
        frames={name: camera @ frame for name, frame in frames.items()},
        ground=ground,
        up=camera[:, 1],
        seated=pose.seat,
    )
