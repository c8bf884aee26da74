"""Losses, in one table by name: what a network's output is held against.

Every loss is a function ``(output, targets, weights) -> scalar``, float32 whatever the autocast:

- ``output``: maps (N, K, h, w); or a list of them, one for each stack of a network with intermediate
  supervision, whose losses are added up; or SimCC vectors (x, y).
- ``targets``: as :mod:`pose_models.targets` draws them, with a peak of 1.
- ``weights``: (N, K) float32, 0 for keypoints without a target.

The losses of whole pictures, :data:`SCENE_LOSSES`, take maps and fields of every stage in their place.

The published losses differ by constant factors, which change what a learning rate means: MSRA's has a
factor 1/2 that mmpose's has not; SimCC's repository averages over the batch where mmpose adds up.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from pose_data.errors import UsageError
from pose_models.targets import SimccLabels, Targets

__all__ = [
    "LOSSES",
    "SCENE_LOSSES",
    "SIMCC_RULES",
    "Loss",
    "Output",
    "SimccRule",
    "Stages",
    "find_loss",
    "hot_cold",
    "joints_mse",
    "keypoint_mse",
    "multi_head_mse",
    "nmt",
    "offset_mse",
    "ohkm",
    "simcc_kl",
    "simcc_kl_summed",
    "staged_l2",
    "staged_mse",
]

Output: TypeAlias = Tensor | Sequence[Tensor]
Stages: TypeAlias = Sequence[tuple[Tensor, Tensor]]
"""Maps and fields of every stage of a bottom-up network."""
Loss: TypeAlias = Callable[[Output, Targets, Tensor], Tensor]


def joints_mse(output: Output, targets: Targets, weights: Tensor) -> Tensor:
    """Return **half** the mean of ((output - target) * weight)**2 over batch, keypoints and cells.

    Source: microsoft/human-pose-estimation.pytorch, lib/core/loss.py, JointsMSELoss.
    """
    return _over_stacks(output, lambda maps: _half_square(maps, targets, weights).mean())


def keypoint_mse(output: Output, targets: Targets, weights: Tensor) -> Tensor:
    """Return the mean of (output - target)**2 * weight over batch, keypoints and cells, without the half.

    Source: mmpose, KeypointMSELoss.
    """
    return _over_stacks(output, lambda maps: (_difference(maps, targets).square() * weights[..., None, None]).mean())


def ohkm(output: Output, targets: Targets, weights: Tensor, *, top: int = 8) -> Tensor:
    """Return :func:`joints_mse` over each sample's ``top`` worst keypoints alone (online hard keypoint mining).

    Source: leoxiaobin/deep-high-resolution-net.pytorch, lib/core/loss.py, JointsOHKMMSELoss.
    """

    def worst(maps: Tensor) -> Tensor:
        each = _half_square(maps, targets, weights).mean(dim=(2, 3))
        return each.topk(min(top, each.shape[1]), dim=1, sorted=False).values.mean()

    return _over_stacks(output, worst)


def hot_cold(output: Output, targets: Targets, weights: Tensor) -> Tensor:
    """Return half the mean square over the hot cells (target > 0) plus half that over the cold ones, of the batch.

    ``weights`` are not looked at: the maps of keypoints without a target are cold. Where there is no hot
    cell, that half is 0. Source: borarak/human-pose-estimation, deep-pose/loss.py.
    """
    hot = (_maps(targets) > 0).to(torch.float32)

    def balanced(maps: Tensor) -> Tensor:
        square = _difference(maps, targets).square()
        return 0.5 * _mean_where(square, hot) + 0.5 * _mean_where(square, 1.0 - hot)

    return _over_stacks(output, balanced)


def multi_head_mse(
    output: Output,
    targets: Targets,
    weights: Tensor,
    *,
    heads: tuple[float, ...] = (5.0, 5.0, 10.0),
    span: float = 2.0,
) -> Tensor:
    """Return the heads' mean square errors weighted by ``heads``, each added up over keypoints.

    ``output`` is one tensor of maps a head, in 0 … 1, the full-size head last; errors are counted in a range ``span``
    long, as the network's tanh goes from -1 to 1. ``weights`` are not looked at. Source:
    qyzdao/single-human-pose-estimation. Raises UsageError when the number of outputs is not that of the heads.
    """
    outputs = _stacks(output)
    if len(outputs) != len(heads):
        raise UsageError("option-value", f"{len(outputs)} outputs for {len(heads)} heads of the loss")
    each = [
        head * (span * _difference(maps, targets)).square().mean() for head, maps in zip(heads, outputs, strict=True)
    ]
    return _maps(targets).shape[1] * torch.stack(each).sum()


def offset_mse(output: Output, targets: Targets, weights: Tensor) -> Tensor:
    """Return **half** the mean square errors of UDP's triples: of the maps, and of the offsets where the map is 1.

    ``output`` and ``targets`` (N, 3 K, h, w), ``weights`` (N, K). Source: HuangJunJie2017/UDP-Pose, lib/core/loss.py
    (JointsMSELoss_offset); mmpose's CombinedTargetMSELoss is the same.
    """

    def of_triples(triples: Tensor) -> Tensor:
        target = _maps(targets)
        inside = weights[..., None, None] * target[:, ::3]
        maps = (_difference(triples, targets)[:, ::3] * weights[..., None, None]).square()
        ways = [(_difference(triples, targets)[:, part::3] * inside).square() for part in (1, 2)]
        return 0.5 * (maps.mean() + ways[0].mean() + ways[1].mean())

    return _over_stacks(output, of_triples)


def staged_mse(output: Stages, targets: tuple[Tensor, Tensor], weights: Tensor) -> Tensor:
    """Return the mean of ((output - target) * weight)**2 over batch, channels and cells, added up over all stages.

    ``output``: (maps, fields) of each stage, (N, C, h, w); ``targets``: maps and fields; ``weights`` (N, h, w): 0 for
    cells that are not to be trained on. Source: tensorboy/pytorch_Realtime_Multi-Person_Pose_Estimation, train.
    """
    return torch.stack([square.mean() for square in _staged_squares(output, targets, weights)]).sum()


def staged_l2(output: Stages, targets: tuple[Tensor, Tensor], weights: Tensor) -> Tensor:
    """Return **half** the sum of ((output - target) * weight)**2, divided by the batch, added up over all stages.

    Arguments as for :func:`staged_mse`. Source: CMU's Caffe model (Euclidean loss) and
    Daniil-Osokin/lightweight-human-pose-estimation.pytorch, modules/loss.py.
    """
    squares = _staged_squares(output, targets, weights)
    return 0.5 * torch.stack([square.sum() for square in squares]).sum() / len(weights)


def simcc_kl(output: Output, targets: Targets, weights: Tensor) -> Tensor:
    """Return KL(target, softmax(output)): mean over bins, batch and keypoints, x and y added up.

    Source: leeyegy/SimCC, lib/core/loss.py, KLDiscretLoss.
    """
    return _weighted(weights, [_divergence(*axis).mean(dim=-1) for axis in _axes(output, targets)]).mean()


def simcc_kl_summed(
    output: Output, targets: Targets, weights: Tensor, *, beta: float = 1.0, label_softmax: bool = False
) -> Tensor:
    """Return KL(target, softmax(beta * output)): mean over bins and keypoints, **sum** over the batch, x and y.

    ``label_softmax`` takes softmax(beta * target) in place of the target. Source: mmpose, KLDiscretLoss;
    SebastianKyle/Pose-Estimation, core/loss.py, the same with a beta of 1.25 for the output alone.
    """
    each = [
        _divergence(beta * vectors, functional.softmax(beta * target, dim=-1) if label_softmax else target)
        for vectors, target in _axes(output, targets)
    ]
    return _weighted(weights, [axis.mean(dim=-1) for axis in each]).mean(dim=1).sum()


def nmt(
    output: Output, targets: Targets, weights: Tensor, *, smoothing: float = 0.1, normalised: bool = False
) -> Tensor:
    """Return KL of hard labels, smoothed to 1 - s at their bin and s / (bins - 1) elsewhere.

    Added up over bins and keypoints, mean over the batch; with ``normalised`` mean over all three.
    Source: leeyegy/SimCC, lib/core/loss.py, NMTCritierion and NMTNORMCritierion.
    """
    each = []
    for vectors, target in _axes(output, targets):
        rest = smoothing / (target.shape[-1] - 1)
        each.append(_divergence(vectors, target * (1.0 - smoothing - rest) + rest))
    if normalised:
        return _weighted(weights, [axis.mean(dim=-1) for axis in each]).mean()
    return _weighted(weights, [axis.sum(dim=-1) for axis in each]).sum(dim=1).mean()


LOSSES: Mapping[str, Loss] = MappingProxyType(
    {
        "joints-mse": joints_mse,
        "keypoint-mse": keypoint_mse,
        "ohkm": ohkm,
        "hot-cold": hot_cold,
        "multi-head-mse": multi_head_mse,
        "offset-mse": offset_mse,
        "simcc-kl": simcc_kl,
        "simcc-kl-summed": simcc_kl_summed,
        "rtmpose-kl": partial(simcc_kl_summed, beta=10.0, label_softmax=True),
        "simcc-seed-kl": partial(simcc_kl_summed, beta=1.25),
        "nmt": nmt,
        "nmt-normalised": partial(nmt, normalised=True),
    }
)
"""Every loss by the name that a training's configuration gives it."""


SCENE_LOSSES: Mapping[str, Callable[[Stages, tuple[Tensor, Tensor], Tensor], Tensor]] = MappingProxyType(
    {"staged-mse": staged_mse, "staged-l2": staged_l2}
)
"""The losses of whole pictures by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimccRule:
    """What goes with a SimCC loss: the labels it is meant for, and how the vectors that it trains are read."""

    labels: SimccLabels = field(default_factory=SimccLabels)
    softmax: float = 1.0
    """The vectors are read as softmax(softmax * output); 0: the output itself."""
    least_score: float = 0.2
    """Keypoints with lower scores do not count for a person's score."""


# The thresholds of scores are SimCC's own (IN_VIS_THRE of its configurations); the seed's is ours, as far below the
# peak of a Gaussian of 20 bins, 0.02, as SimCC's is below its.
SIMCC_RULES: Mapping[str, SimccRule] = MappingProxyType(
    {
        "simcc-kl": SimccRule(labels=SimccLabels(label="exact", normalised=True), least_score=0.005),
        "simcc-kl-summed": SimccRule(labels=SimccLabels(normalised=True), least_score=0.005),
        # Learns the labels themselves, softmax(10 * label) from softmax(10 * output).
        "rtmpose-kl": SimccRule(labels=SimccLabels(wider_along_y=True), softmax=0.0),
        "simcc-seed-kl": SimccRule(softmax=1.25, least_score=0.002),
        "nmt": SimccRule(labels=SimccLabels(label="hard"), least_score=0.01),
        "nmt-normalised": SimccRule(labels=SimccLabels(label="hard"), least_score=0.01),
    }
)
"""Every SimCC loss of :data:`LOSSES` with its rule."""


def find_loss(name: str) -> Loss:
    """Return the named loss. Raises UsageError for an unknown name."""
    if name not in LOSSES:
        raise UsageError("loss-unknown", f"there is no loss {name!r}", hint=f"losses: {', '.join(LOSSES)}")
    return LOSSES[name]


def _stacks(output: Output) -> Sequence[Tensor]:
    return [output] if isinstance(output, Tensor) else output


def _over_stacks(output: Output, loss: Callable[[Tensor], Tensor]) -> Tensor:
    return torch.stack([loss(maps) for maps in _stacks(output)]).sum()


def _maps(targets: Targets) -> Tensor:
    if not isinstance(targets, Tensor):
        raise UsageError(
            "option-conflict", "this loss wants maps, and the targets are SimCC vectors",
            hint="take one of: " + ", ".join(SIMCC_RULES),
        )  # fmt: skip
    return targets


def _axes(output: Output, targets: Targets) -> list[tuple[Tensor, Tensor]]:
    if isinstance(output, Tensor) or isinstance(targets, Tensor):
        raise UsageError(
            "option-conflict", "this loss wants SimCC vectors, and there are maps",
            hint="take one of: " + ", ".join(name for name in LOSSES if name not in SIMCC_RULES),
        )  # fmt: skip
    return [(vectors.to(torch.float32), target) for vectors, target in zip(output, targets, strict=True)]


def _difference(maps: Tensor, targets: Targets) -> Tensor:
    return maps.to(torch.float32) - _maps(targets)


def _half_square(maps: Tensor, targets: Targets, weights: Tensor) -> Tensor:
    return 0.5 * (_difference(maps, targets) * weights[..., None, None]).square()


def _staged_squares(output: Stages, targets: tuple[Tensor, Tensor], weights: Tensor) -> list[Tensor]:
    return [
        ((given.to(torch.float32) - target) * weights[:, None]).square()
        for stage in output
        for given, target in zip(stage, targets, strict=True)
    ]


def _mean_where(values: Tensor, share: Tensor) -> Tensor:
    return (values * share).sum() / share.sum().clamp(min=1.0)


def _divergence(vectors: Tensor, target: Tensor) -> Tensor:
    return functional.kl_div(functional.log_softmax(vectors, dim=-1), target, reduction="none")


def _weighted(weights: Tensor, each: Sequence[Tensor]) -> Tensor:
    """Return the weighted sum (N, K) over the axes."""
    return weights * (each[0] + each[1])
