"""How the keys of a weights file and of a network fit together, and which networks a file's keys look like."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn

from pose_models.checkpoint_formats import CheckpointFormat, Exempt, formats_of
from pose_models.networks.catalogue import NETWORKS
from pose_models.networks.network import Network

__all__ = ["Fit", "best_fit", "looks_like"]

_ALIKE = 0.5
"""A file looks like a network when it has more than this share of the network's keys, and no more others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """A file's tensors, sorted into a network; it is perfect when there are no ``problems``."""

    row: CheckpointFormat
    keypoints: int
    """What the file's head is for; the network's own number where the head is not there."""
    module: nn.Module
    """The network for that many keypoints, on the ``meta`` device."""
    taken: Mapping[str, Tensor]
    """By the network's keys."""
    left_out: Mapping[str, str]
    """Keys of the file -> why they are not needed."""
    absent: Mapping[str, str]
    """Keys of the network -> why the file need not have them."""
    notes: tuple[str, ...]
    """What was done to the file's tensors."""
    problems: tuple[str, ...]
    """One for each key that has no place or another shape."""


def best_fit(tensors: Mapping[str, Tensor], network: Network, rows: Sequence[CheckpointFormat]) -> Fit:
    """Return how the tensors fit the network when read as the kind of file that suits them best."""
    return min((_fit(tensors, network, row) for row in rows), key=lambda fit: len(fit.problems))


def looks_like(tensors: Mapping[str, Tensor]) -> str:
    """Return what a file's keys and shapes are most like, as a part of a sentence; empty when they are like nothing."""
    share, form = 0.0, ""
    names: list[str] = []
    for network in NETWORKS.values():
        for row in formats_of(network):
            found = _share(tensors, network, row)
            if found > share:
                share, names, form = found, [], row.name
            if found == share and found > _ALIKE and row.name == form:
                names.append(network.name)
    if not names:
        return ""
    listed = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
    return f"{'all' if share == 1.0 else f'{share:.0%}'} of its keys fit {listed} (files of the kind {form})"


def _fit(tensors: Mapping[str, Tensor], network: Network, row: CheckpointFormat) -> Fit:
    ours, left_out, problems = _renamed(tensors, row)
    ours, notes = _prepared(ours, network, row)
    keypoints = _keypoints(ours, network)
    module = _hollow(network, keypoints)
    own = module.state_dict()
    absent: dict[str, str] = {}
    for key, (theirs, value) in ours.items():
        if key not in own:
            problems.append(f"{theirs}: in the file only")
        elif value.shape != own[key].shape:
            problems.append(f"{theirs}: {tuple(value.shape)} in the file, {tuple(own[key].shape)} in the network")
        elif value.is_floating_point() != own[key].is_floating_point() or value.layout is not torch.strided:
            kind = f"{value.dtype}, {value.layout}".replace("torch.", "")
            problems.append(f"{theirs}: numbers of another kind in the file ({kind})")
    for key in own.keys() - ours.keys():
        reason = _reason(key, row.absent)
        if reason:
            absent[key] = reason
        else:
            problems.append(f"{key}: in the network only")
    return Fit(
        row=row, keypoints=keypoints, module=module, taken={key: value for key, (_, value) in ours.items()},
        left_out=left_out, absent=absent, notes=notes, problems=tuple(sorted(problems)),
    )  # fmt: skip


def _renamed(
    tensors: Mapping[str, Tensor], row: CheckpointFormat
) -> tuple[dict[str, tuple[str, Tensor]], dict[str, str], list[str]]:
    """Return (theirs, tensor) by our keys, the keys that are left out, and what cannot be renamed."""
    ours: dict[str, tuple[str, Tensor]] = {}
    left_out: dict[str, str] = {}
    problems: list[str] = []
    for theirs, value in tensors.items():
        reason = _reason(theirs, row.left_out)
        key = row.ours(theirs)
        if reason:
            left_out[theirs] = reason
        elif key is None:
            problems.append(f"{theirs}: not a key of such files")
        elif key in ours:
            problems.append(f"{theirs}: stands for the same as {ours[key][0]}")
        else:
            ours[key] = (theirs, value)
    return ours, left_out, problems


def _prepared(
    ours: Mapping[str, tuple[str, Tensor]], network: Network, row: CheckpointFormat
) -> tuple[dict[str, tuple[str, Tensor]], tuple[str, ...]]:
    if row.prepare is None:
        return dict(ours), ()
    values = {key: value for key, (_, value) in ours.items()}
    notes = row.prepare(values, network)
    return {key: (ours[key][0], value) for key, value in values.items()}, notes


def _reason(key: str, exempt: Sequence[Exempt]) -> str:
    return next((one.reason for one in exempt if one.covers(key)), "")


def _keypoints(ours: Mapping[str, tuple[str, Tensor]], network: Network) -> int:
    """Return the number of keypoints that the file's head is for.

    Built for one keypoint more, the network shows which of its sizes count keypoints, and how many for each.
    """
    count = network.keypoints
    own, more = _shapes(network, count), _shapes(network, count + 1)
    for key, shape in own.items():
        theirs = tuple(ours[key][1].shape) if key in ours else ()
        for size, size_of_more, here in zip(shape, more[key], theirs, strict=False):
            if size != size_of_more:
                more_keypoints, rest = divmod(here - size, size_of_more - size)
                return count if rest else max(1, count + more_keypoints)
    return count


def _hollow(network: Network, keypoints: int) -> nn.Module:
    with torch.device("meta"):
        return network.build(keypoints)


def _shapes(network: Network, keypoints: int) -> Mapping[str, tuple[int, ...]]:
    return _shapes_of(_Build(network, keypoints))


class _Build:
    """A network for a number of keypoints; equal to another one that is built alike, for another input size."""

    __slots__ = ("keypoints", "network")

    def __init__(self, network: Network, keypoints: int) -> None:
        self.network, self.keypoints = network, keypoints

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Build) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[str, int]:
        return repr(self.network.build), self.keypoints


@lru_cache(maxsize=256)
def _shapes_of(build: _Build) -> Mapping[str, tuple[int, ...]]:
    module = _hollow(build.network, build.keypoints)
    return {key: tuple(value.shape) for key, value in module.state_dict().items()}


def _share(tensors: Mapping[str, Tensor], network: Network, row: CheckpointFormat) -> float:
    """Return the share of keys that the file and the network have in common with the same shape, of all of both."""
    ours, left_out, _ = _renamed(tensors, row)
    ours, _ = _prepared(ours, network, row)
    if len(ours.keys() & _shapes(network, network.keypoints).keys()) <= _ALIKE * len(tensors):
        return 0.0
    own = _shapes(network, _keypoints(ours, network))
    same = sum(1 for key, (_, value) in ours.items() if own.get(key) == value.shape)
    needed = sum(1 for key in own if key in ours or not _reason(key, row.absent))
    return same / max(1, len(tensors) - len(left_out), needed)
