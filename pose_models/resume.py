"""Going on with a run: what is in its folder, and which options may differ from those it was begun with.

A run goes on with the options in its own ``config.toml``. Options that are given and differ are of three kinds: those
that the weights or the optimiser's state depend on are refused, those that the order of an epoch depends on are refused
within an epoch, and all others take effect, are told, and are written to ``config.toml``.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pose_data.atomic import storage_errors
from pose_data.errors import ModelError, ResumeMismatchError
from pose_data.order import Samples
from pose_models.checkpoint import checkpoint_steps
from pose_models.conventions import Conventions
from pose_models.train_config import TrainConfig, changed, default_config

__all__ = [
    "Change",
    "FoundRun",
    "chosen_config",
    "look_for_run",
    "refuse_changes",
    "refuse_other_data",
]

_FIXED: Mapping[str, str] = MappingProxyType(
    {
        "network": "the weights are another network's",
        "optimiser": "its state fits no other one",
        "decay_all": "the optimiser's state belongs to its groups of weights",
        "layer_decay": "the optimiser's state belongs to its groups of weights",
        "encoding": "the network has learned other targets",
        "sigma": "the network has learned other targets",
        "pretrained": "it is read before the first step only",
    }
)
_FIXED_IN_AN_EPOCH = ("seed", "shuffle", "window", "accumulate", "most_persons")
_TARGETS = (
    "geometry", "encoding", "sigma", "crop_width_px", "crop_height_px", "map_width", "map_height", "split_ratio",
    "limbs", "map_overlap", "field_overlap", "limb_region", "limb_half_width",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundRun:
    """What is in a run's folder: whether a run was begun, whether it has a checkpoint, and its ``config.toml``."""

    begun: bool = False
    saved: bool = False
    config_text: str | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """An option that is no longer what it was."""

    name: str
    before: Any
    now: Any

    def __str__(self) -> str:
        return f"{self.name} was {self.before!r} and is {self.now!r}"


def look_for_run(out: Path) -> FoundRun:
    """Return what is in a run's folder. Raises StorageError."""
    path = out / "config.toml"
    text = None
    with storage_errors("reading the run's configuration", path):
        if path.exists():
            text = path.read_text(encoding="utf-8")
    saved = bool(checkpoint_steps(out))
    return FoundRun(begun=saved or text is not None, saved=saved, config_text=text)


def chosen_config(
    network: str, config: TrainConfig | None, options: Mapping[str, Any], found: FoundRun, *, out: Path
) -> tuple[TrainConfig, tuple[Change, ...]]:
    """Return the configuration to train with, and what differs in it from the run that goes on.

    ``found`` is an empty one for a run that begins: then the network's defaults, or ``config``, are changed by
    ``options``. A run that goes on begins from its own configuration; each field of ``config``, where there is one,
    counts as given. Raises UsageError, and ModelError where the run's configuration is missing or damaged.
    """
    given = {**(asdict(config) if config is not None else {}), "network": network, **options}
    if not found.begun:
        return changed(default_config(network), given), ()
    before = _own_config(found, out)
    now = changed(before, given)
    old, new = asdict(before), asdict(now)
    return now, tuple(Change(name, old[name], new[name]) for name in old if _plain(old[name]) != _plain(new[name]))


def refuse_changes(changes: tuple[Change, ...], *, in_an_epoch: bool, out: Path) -> None:
    """Raise ResumeMismatchError for changes that a run cannot go on with, naming each."""
    problems, hint = [], "leave the option out, or begin another run with it: --out another folder"
    for change in changes:
        if change.name in _FIXED:
            problems.append(f"{change}, but {_FIXED[change.name]}")
        elif change.name == "ema_decay" and bool(change.before) != bool(change.now):
            problems.append(f"{change}, but the moving average is kept from the first step on or not at all")
        elif change.name in _FIXED_IN_AN_EPOCH and in_an_epoch:
            problems.append(f"{change}, in the middle of an epoch")
            hint = "leave the option out until the epoch has ended, or begin another run with it"
    if problems:
        raise ResumeMismatchError(
            "run-mismatch", f"the run cannot go on with other options: {'; '.join(problems)}", where=str(out), hint=hint
        )


def refuse_other_data(
    before: Conventions, now: Conventions, samples: Mapping[str, Samples], saved: Mapping[str, Any], *, out: Path
) -> None:
    """Raise ResumeMismatchError unless the store has the geometry, skeleton and samples that the run was begun with.

    ``samples`` are those of the store's splits by role (train, val), ``saved`` the checkpoint's.
    """
    problems = [
        f"{name} was {getattr(before.recipe, name)!r} and is {getattr(now.recipe, name)!r}"
        for name in _TARGETS
        if getattr(before.recipe, name) != getattr(now.recipe, name)
    ]
    if before.skeleton != now.skeleton:
        problems.append("the skeleton is another one")
    for role, found in samples.items():
        was = Samples(**saved[role])
        if was.count != found.count:
            problems.append(f"the {role} split had {was.count:,} samples and has {found.count:,}")
        elif was.checksum != found.checksum:
            problems.append(f"the {role} split has other samples, though as many")
    if problems:
        raise ResumeMismatchError(
            "run-mismatch", f"the run cannot go on with other data: {'; '.join(problems)}", where=str(out),
            hint="give the store (--data) and the splits that the run was begun with, or begin another run",
        )  # fmt: skip


def _own_config(found: FoundRun, out: Path) -> TrainConfig:
    where, hint = str(out / "config.toml"), "put it back, or begin again with --overwrite"
    if found.config_text is None:
        raise ModelError(
            "run-config", "the run's own configuration is missing; one of imported weights has none", where=where,
            hint=hint,
        )  # fmt: skip
    try:
        values = tomllib.loads(found.config_text)
        return changed(default_config(str(values["network"])), values)
    except (tomllib.TOMLDecodeError, KeyError) as error:
        raise ModelError(
            "run-config", f"the run's own configuration is not readable: {error}", where=where, hint=hint
        ) from error


def _plain(value: Any) -> Any:
    """Return the value with tuples as lists, as TOML has them."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value
