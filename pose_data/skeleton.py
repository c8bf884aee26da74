"""Skeletons: keypoint names, left/right pairs, limbs and OKS sigmas. Arrays and names only."""

from dataclasses import dataclass

from pose_data.errors import UsageError

__all__ = ["COCO_PERSON", "MPII_PERSON", "Skeleton", "subset"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Skeleton:
    """The keypoints of one kind of body.

    ``pairs`` are (left, right) index pairs for flipping; empty means that flipping is off.
    ``limbs`` are index pairs for drawing, 0-based (COCO files are 1-based).
    ``sigmas`` are the per-keypoint constants k/2 of OKS; source for COCO: pycocotools, ``Params.setKpParams``.
    """

    name: str
    names: tuple[str, ...]
    pairs: tuple[tuple[int, int], ...] = ()
    limbs: tuple[tuple[int, int], ...] = ()
    sigmas: tuple[float, ...] = ()

    @property
    def keypoint_count(self) -> int:
        """Return K."""
        return len(self.names)

    def flip_order(self) -> tuple[int, ...]:
        """Return, for each keypoint, the index whose value it takes after a left/right flip."""
        order = list(range(len(self.names)))
        for left, right in self.pairs:
            order[left], order[right] = right, left
        return tuple(order)


COCO_PERSON = Skeleton(
    name="coco-person",
    names=(
        "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder",
        "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip",
        "left_knee", "right_knee", "left_ankle", "right_ankle",
    ),
    pairs=((1, 2), (3, 4), (5, 6), (7, 8), (9, 10), (11, 12), (13, 14), (15, 16)),
    limbs=(
        (15, 13), (13, 11), (16, 14), (14, 12), (11, 12), (5, 11), (6, 12), (5, 6), (5, 7), (6, 8),
        (7, 9), (8, 10), (1, 2), (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6),
    ),
    # pycocotools writes ten times as much and divides: some differ from the plain decimals in the last bit.
    sigmas=tuple(
        tenfold / 10
        for tenfold in (
            0.26, 0.25, 0.25, 0.35, 0.35, 0.79, 0.79, 0.72, 0.72, 0.62, 0.62, 1.07, 1.07, 0.87, 0.87, 0.89, 0.89,
        )
    ),
)  # fmt: skip

MPII_PERSON = Skeleton(
    name="mpii-person",
    names=(
        "right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle", "pelvis", "thorax",
        "upper_neck", "head_top", "right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow",
        "left_wrist",
    ),
    pairs=((5, 0), (4, 1), (3, 2), (15, 10), (14, 11), (13, 12)),
    limbs=(
        (0, 1), (1, 2), (2, 6), (3, 6), (3, 4), (4, 5), (6, 7), (7, 8), (8, 9), (7, 12), (12, 11), (11, 10), (7, 13),
        (13, 14), (14, 15),
    ),
)  # fmt: skip
"""MPII Human Pose, in the order of its annotations. It is judged by PCKh and has no constants of OKS."""


def subset(skeleton: Skeleton, names: tuple[str, ...]) -> tuple[Skeleton, tuple[int, ...]]:
    """Return the skeleton of the named keypoints and their indices in the full one.

    Pairs and limbs stay where both ends are kept. Raises UsageError for an unknown or repeated name.
    """
    unknown = [name for name in names if name not in skeleton.names]
    if unknown or len(set(names)) != len(names) or not names:
        raise UsageError(
            "joints-unknown",
            f"these are not distinct keypoints of {skeleton.name}: {', '.join(unknown or names) or '(none)'}",
            hint=f"the keypoints are {', '.join(skeleton.names)}",
        )
    indices = tuple(skeleton.names.index(name) for name in names)
    position = {old: new for new, old in enumerate(indices)}

    def kept(links: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
        return tuple((position[a], position[b]) for a, b in links if a in position and b in position)

    part = Skeleton(
        name=f"{skeleton.name}-{len(names)}",
        names=names,
        pairs=kept(skeleton.pairs),
        limbs=kept(skeleton.limbs),
        sigmas=tuple(skeleton.sigmas[index] for index in indices) if skeleton.sigmas else (),
    )
    return part, indices
