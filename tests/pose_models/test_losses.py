"""Losses: the references' values, their factors, stacks, weights, and what they do with low precision."""

import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from pose_data.errors import UsageError
from pose_models.losses import (
    LOSSES,
    SCENE_LOSSES,
    find_loss,
    hot_cold,
    joints_mse,
    keypoint_mse,
    multi_head_mse,
    nmt,
    offset_mse,
    ohkm,
    simcc_kl,
    simcc_kl_summed,
    staged_l2,
    staged_mse,
)

MAP_LOSSES = ("joints-mse", "keypoint-mse", "ohkm", "hot-cold")


@pytest.fixture(scope="module")
def values(shared: Path) -> dict[str, float]:
    content = json.loads((shared / "peer_golden" / "peers.json").read_text(encoding="utf-8"))
    return {
        f"{family}:{name.removeprefix('loss/')}": value
        for family in ("codec_msra", "codec_dark", "codec_udp", "codec_mmpose", "codec_simcc")
        for name, value in content[family]["scalars"].items()
        if name.startswith("loss/")
    }


def maps(seed: int = 0, count: int = 3) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    output, target = (torch.rand(count, 5, 8, 6, generator=generator) for _ in range(2))
    return output, target, (torch.rand(count, 5, generator=generator) > 0.3).float()


def test_map_losses_of_the_references(keyed: ModuleType, values: dict[str, float]) -> None:
    output, target, weight = (torch.from_numpy(array) for array in keyed.loss_inputs_heatmap())
    weight = weight[..., 0]
    for family in ("codec_msra", "codec_dark", "codec_udp"):
        assert joints_mse(output, target, weight).item() == pytest.approx(values[f"{family}:JointsMSE"], rel=1e-6)
        unweighted = joints_mse(output, target, torch.ones_like(weight)).item()
        assert unweighted == pytest.approx(values[f"{family}:JointsMSE_noweight"], rel=1e-6)
        assert ohkm(output, target, weight).item() == pytest.approx(values[f"{family}:OHKM_top8"], rel=1e-6)
    assert keypoint_mse(output, target, weight).item() == pytest.approx(values["codec_mmpose:KeypointMSE"], rel=1e-6)


@pytest.mark.parametrize(
    ("loss", "name", "weights", "hard"),
    [
        (LOSSES["simcc-kl"], "codec_simcc:KLDiscret", "w", False),
        (LOSSES["nmt"], "codec_simcc:NMT_smooth0.1", "w", True),
        (LOSSES["nmt-normalised"], "codec_simcc:NMTNORM_smooth0.1", "w", True),
        (LOSSES["simcc-kl-summed"], "codec_mmpose:KLDiscret", "loss_weight", False),
        (LOSSES["rtmpose-kl"], "codec_mmpose:KLDiscret_rtm", "loss_weight", False),
    ],
)
def test_simcc_losses_of_the_references(
    keyed: ModuleType, values: dict[str, float], loss: object, name: str, weights: str, hard: bool
) -> None:
    x, y, target_x, target_y, classes, weight = keyed.loss_inputs_simcc(weight_name=weights)
    output = (torch.from_numpy(x), torch.from_numpy(y))
    targets = (torch.from_numpy(target_x), torch.from_numpy(target_y))
    if hard:
        bins = torch.from_numpy(classes)
        targets = tuple(
            torch.nn.functional.one_hot(bins[..., axis], vectors.shape[-1]).float()
            for axis, vectors in enumerate(output)
        )
    ours = loss(output, targets, torch.from_numpy(weight)[..., 0]).item()
    assert ours == pytest.approx(values[name], rel=2e-6)


def test_mmposes_loss_is_twice_msras() -> None:
    assert keypoint_mse(*maps()).item() == pytest.approx(2 * joints_mse(*maps()).item(), rel=1e-6)


def test_the_summed_kl_is_the_mean_one_times_the_batch() -> None:
    generator = torch.Generator().manual_seed(3)
    output = tuple(torch.rand(4, 5, bins, generator=generator) for bins in (12, 16))
    targets = tuple(torch.rand(4, 5, bins, generator=generator) for bins in (12, 16))
    weights = torch.ones(4, 5)
    summed = simcc_kl_summed(output, targets, weights).item()
    assert summed == pytest.approx(4 * simcc_kl(output, targets, weights).item(), rel=1e-5)
    doubled = simcc_kl_summed(tuple(1.25 * axis for axis in output), targets, weights).item()
    assert LOSSES["simcc-seed-kl"](output, targets, weights).item() == pytest.approx(doubled, rel=1e-6)


@pytest.mark.parametrize("name", MAP_LOSSES)
def test_stacks_are_added_up_against_the_same_target(name: str) -> None:
    output, target, weights = maps()
    other = maps(seed=1)[0]
    both = LOSSES[name]([output, other], target, weights)
    assert both.item() == pytest.approx(sum(LOSSES[name](one, target, weights).item() for one in (output, other)))


@pytest.mark.parametrize("name", ["joints-mse", "keypoint-mse", "ohkm"])
def test_keypoints_of_weight_0_do_not_count(name: str) -> None:
    output, target, weights = maps()
    spoilt = torch.where(weights[..., None, None] > 0, output, 1e4)
    assert torch.equal(LOSSES[name](spoilt, target, weights), LOSSES[name](output, target, weights))


def test_hot_and_cold_cells_weigh_the_same() -> None:
    target = torch.zeros(1, 2, 10, 10)
    target[0, 0, 3, 4] = 1
    weights = torch.ones(1, 2)
    assert hot_cold(torch.zeros_like(target), target, weights).item() == pytest.approx(0.5)
    assert hot_cold(torch.ones_like(target), target, weights).item() == pytest.approx(0.5)
    assert hot_cold(target, target, weights).item() == 0
    assert hot_cold(0.5 * torch.ones_like(target), target, weights).item() == pytest.approx(0.25)
    # Nothing hot: the cold half alone, and no division by zero.
    assert hot_cold(torch.ones_like(target), torch.zeros_like(target), weights).item() == pytest.approx(0.5)


def test_heads_are_weighted_5_5_10_on_the_tanhs_range() -> None:
    target, weights = torch.rand(2, 13, 4, 4), torch.ones(2, 13)
    perfect = target
    assert multi_head_mse([perfect] * 3, target, weights).item() == 0
    for head, factor in enumerate((5, 5, 10)):
        outputs = [perfect + (0.25 if index == head else 0) for index in range(3)]
        assert multi_head_mse(outputs, target, weights).item() == pytest.approx(factor * 13 * 0.25, rel=1e-5)
    with pytest.raises(UsageError, match="2 outputs for 3 heads"):
        multi_head_mse([perfect] * 2, target, weights)


def test_offsets_count_where_the_map_is_1() -> None:
    generator = torch.Generator().manual_seed(0)
    output, target = (torch.rand(2, 9, 5, 4, generator=generator) for _ in range(2))
    target[:, ::3] = (target[:, ::3] > 0.5).float()
    weights = torch.tensor([[1.0, 0.0, 1.0], [1.0, 1.0, 0.0]])
    plain = 0.0
    for joint in range(3):
        weight, here = weights[:, joint, None, None], target[:, 3 * joint]
        plain += 0.5 * ((output[:, 3 * joint] - here) * weight).square().mean()
        for part in (1, 2):
            way = output[:, 3 * joint + part] - target[:, 3 * joint + part]
            plain += 0.5 * (here * weight * way).square().mean()
    assert offset_mse(output, target, weights).item() == pytest.approx(plain.item() / 3, rel=1e-5)


def test_the_worst_keypoints_alone_count_in_ohkm() -> None:
    target, weights = torch.zeros(2, 10, 4, 4), torch.ones(2, 10)
    output = torch.zeros_like(target)
    output[:, 0], output[:, 1] = 2.0, 1.0
    assert ohkm(output, target, weights, top=1).item() == pytest.approx(0.5 * 4)
    assert ohkm(output, target, weights).item() == pytest.approx(0.5 * 5 / 8)
    # Fewer keypoints than asked for: all of them.
    assert ohkm(output[:, :3], target[:, :3], weights[:, :3]).item() == pytest.approx(0.5 * 5 / 3)


def test_a_hard_label_without_smoothing_is_the_negative_log_likelihood() -> None:
    generator = torch.Generator().manual_seed(4)
    output = tuple(torch.rand(3, 4, bins, generator=generator) for bins in (12, 16))
    bins = tuple(torch.randint(0, axis.shape[-1], (3, 4), generator=generator) for axis in output)
    targets = tuple(
        torch.nn.functional.one_hot(places, axis.shape[-1]).float() for places, axis in zip(bins, output, strict=True)
    )
    wanted = sum(
        torch.nn.functional.cross_entropy(axis.flatten(0, 1), places.flatten(), reduction="sum").item() / 3
        for places, axis in zip(bins, output, strict=True)
    )
    assert nmt(output, targets, torch.ones(3, 4), smoothing=0.0).item() == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_low_precision_is_lifted_and_gradients_are_finite(name: str) -> None:
    generator = torch.Generator().manual_seed(5)
    weights = torch.ones(2, 13)
    weights[0] = 0
    if "kl" in name or "nmt" in name:
        targets = tuple(torch.zeros(2, 13, bins) for bins in (12, 16))
        for axis in targets:
            axis[1, :, 5] = 1
        output = [torch.rand(2, 13, bins, generator=generator).bfloat16().requires_grad_() for bins in (12, 16)]
    else:
        channels = 39 if "offset" in name else 13
        targets = torch.zeros(2, channels, 4, 4)
        targets[1, :, 1, 2] = 1
        output = [torch.rand(2, channels, 4, 4, generator=generator).bfloat16().requires_grad_() for _ in range(3)]
    loss = LOSSES[name](output, targets, weights)
    assert loss.dtype == torch.float32
    loss.backward()
    assert loss.item() > 0
    for one in output:
        assert one.grad is not None
        assert one.grad.isfinite().all()
        assert one.grad.any()


def test_losses_and_targets_that_do_not_fit_are_usage_errors() -> None:
    output, target, weights = maps()
    vectors = (torch.rand(3, 5, 12), torch.rand(3, 5, 16))
    with pytest.raises(UsageError, match="wants maps") as wrong:
        joints_mse(output, vectors, weights)
    assert "simcc-kl" in wrong.value.hint
    with pytest.raises(UsageError, match="wants SimCC vectors") as wrong:
        simcc_kl(output, target, weights)
    assert "joints-mse" in wrong.value.hint
    assert find_loss("ohkm") is ohkm
    with pytest.raises(UsageError, match="no loss 'mse'") as wrong:
        find_loss("mse")
    assert "joints-mse" in wrong.value.hint


def test_losses_are_sums_of_what_numpy_says() -> None:
    output, target, weights = maps()
    square = ((output - target) * weights[..., None, None]).numpy().astype(np.float64) ** 2
    assert joints_mse(output, target, weights).item() == pytest.approx(0.5 * square.mean(), rel=1e-6)


def staged(seed: int, stages: int = 3) -> tuple[list[tuple[torch.Tensor, torch.Tensor]], torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    outputs = [(torch.rand(2, 4, 6, 5, generator=generator), torch.rand(2, 6, 6, 5, generator=generator))
               for _ in range(stages)]  # fmt: skip
    return outputs, (torch.rand(2, 6, 5, generator=generator) > 0.3).float()


def test_staged_losses_add_up_stages_maps_and_fields_inside_the_mask() -> None:
    outputs, mask = staged(0)
    targets, _ = staged(1, stages=1)
    mean = total = 0.0
    for stage in outputs:
        for given, target in zip(stage, targets[0], strict=True):
            for sample in range(2):
                for channel in range(given.shape[1]):
                    square = float((((given - target)[sample, channel] * mask[sample]) ** 2).sum())
                    mean += square / given.numel()
                    total += 0.5 * square / 2
    assert staged_mse(outputs, targets[0], mask).item() == pytest.approx(mean, rel=1e-5)
    assert staged_l2(outputs, targets[0], mask).item() == pytest.approx(total, rel=1e-5)


@pytest.mark.parametrize("name", SCENE_LOSSES)
def test_what_is_masked_does_not_count_and_low_precision_is_raised(name: str) -> None:
    outputs, mask = staged(0)
    targets, _ = staged(1, stages=1)
    spoilt = [tuple(part.masked_fill(mask[:, None] == 0, 1e4) for part in stage) for stage in outputs]
    loss = SCENE_LOSSES[name]
    torch.testing.assert_close(loss(spoilt, targets[0], mask), loss(outputs, targets[0], mask))
    halves = [tuple(part.to(torch.bfloat16) for part in stage) for stage in outputs]
    assert loss(halves, targets[0], mask).dtype == torch.float32
    assert loss(outputs, targets[0], torch.zeros_like(mask)).item() == 0
