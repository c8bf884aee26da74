"""Learning-rate schedules: frozen descriptions with a pure function from the step to a factor.

A step is one update of the weights, counted from 0 over the whole training; the factor multiplies the base
learning rate. Nothing here has state, so a training resumes by its step alone; :class:`Plateau`, which looks
at results, keeps its state in a value of its own.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any, Protocol

from pose_data.errors import UsageError

__all__ = [
    "SCHEDULES",
    "Constant",
    "CyclicTriangle",
    "DoublingWarmUp",
    "FlatCosine",
    "Plateau",
    "PlateauState",
    "Schedule",
    "Step",
    "WarmUpCosine",
    "build_schedule",
]


class Schedule(Protocol):
    """What every schedule can do."""

    def factor(self, step: int, steps_per_epoch: int) -> float:
        """Return what the base learning rate is multiplied by at a step (from 0)."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Constant:
    """The same learning rate throughout."""

    def factor(self, step: int, steps_per_epoch: int) -> float:
        """Return 1."""
        return 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Multiply by ``gamma`` at each of some epochs (from 0), after a linear warm-up.

    SimpleBaseline 90 and 120 of 140, HRNet 170 and 200 of 210 without a warm-up; mmpose the latter with 500 steps.
    """

    milestones_epochs: tuple[int, ...] = (170, 200)
    gamma: float = 0.1
    warm_up_steps: int = 0
    warm_up_from: float = 0.001

    def factor(self, step: int, steps_per_epoch: int) -> float:
        """Return the factor at a step."""
        passed = sum(epoch * steps_per_epoch <= step for epoch in self.milestones_epochs)
        return self.gamma**passed * _warm_up(step, self.warm_up_steps, self.warm_up_from)


@dataclass(frozen=True, slots=True, kw_only=True)
class CyclicTriangle:
    """Rise from ``lowest`` to 1 in ``levels`` values and fall back in as many, each held for ``hold_steps``; repeat.

    Eleven levels make the 22-step cycle of borarak/human-pose-estimation (2.5e-6 to 2.5e-4 and back, moved every
    700 steps); the highest and the lowest value come twice in a row, as there.
    """

    lowest: float = 0.01
    levels: int = 11
    hold_steps: int = 700

    def factor(self, step: int, steps_per_epoch: int) -> float:
        """Return the factor at a step."""
        place = step // self.hold_steps % (2 * self.levels)
        level = min(place, 2 * self.levels - 1 - place)
        return self.lowest + (1.0 - self.lowest) * level / (self.levels - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class DoublingWarmUp:
    """Begin at ``start`` and double every ``every_steps`` until 1. Source: borarak/human-pose-estimation."""

    start: float = 0.01
    every_steps: int = 100

    def factor(self, step: int, steps_per_epoch: int) -> float:
        """Return the factor at a step."""
        doublings = step // self.every_steps
        # Doublings beyond those that reach 1 would only overflow.
        return 1.0 if doublings >= -math.log2(self.start) else self.start * 2.0**doublings


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmUpCosine:
    """Rise linearly, then fall along half a cosine to ``final`` at the end of ``epochs``, step by step."""

    epochs: int = 210
    warm_up_steps: int = 1000
    warm_up_from: float = 0.001
    final: float = 0.0

    def factor(self, step: int, steps_per_epoch: int) -> float:
        """Return the factor at a step."""
        first, last = self.warm_up_steps, self.epochs * steps_per_epoch
        return _cosine(step, first, last, self.final) * _warm_up(step, self.warm_up_steps, self.warm_up_from)


@dataclass(frozen=True, slots=True, kw_only=True)
class FlatCosine:
    """Rise linearly, stay at 1 for ``flat_share`` of the epochs, then fall along half a cosine to ``final``.

    Source: RTMPose (mmpose, projects/rtmpose): 420 epochs, 1,000 steps from 1e-5, half flat, to 0.05.
    """

    epochs: int = 420
    flat_share: float = 0.5
    warm_up_steps: int = 1000
    warm_up_from: float = 1e-5
    final: float = 0.05

    def factor(self, step: int, steps_per_epoch: int) -> float:
        """Return the factor at a step."""
        first = round(self.epochs * self.flat_share) * steps_per_epoch
        cosine = _cosine(step, first, self.epochs * steps_per_epoch, self.final)
        return cosine * _warm_up(step, self.warm_up_steps, self.warm_up_from)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlateauState:
    """Where a plateau schedule stands: its factor now, the best value yet, and epochs since without a better one."""

    factor: float = 1.0
    best: float | None = None
    waited_epochs: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plateau:
    """Multiply by ``gamma`` after more than ``patience_epochs`` epochs without a better value.

    Better is lower (a loss) or, with ``higher_is_better``, higher (an AP), by more than the relative ``threshold``:
    the rule of torch.optim.lr_scheduler.ReduceLROnPlateau. The defaults are SebastianKyle/Pose-Estimation's.
    The factor lives in the state: multiply by :attr:`PlateauState.factor`, too.
    """

    gamma: float = 0.5
    patience_epochs: int = 3
    threshold: float = 1e-4
    higher_is_better: bool = False
    warm_up_steps: int = 0
    warm_up_from: float = 0.001

    def factor(self, step: int, steps_per_epoch: int) -> float:
        """Return the warm-up's factor at a step; the plateau's own is in the state."""
        return _warm_up(step, self.warm_up_steps, self.warm_up_from)

    def after_epoch(self, state: PlateauState, value: float) -> PlateauState:
        """Return the state after an epoch with this result; NaN is never better."""
        if self._is_better(value, state.best):
            return PlateauState(factor=state.factor, best=value)
        if state.waited_epochs < self.patience_epochs:
            return PlateauState(factor=state.factor, best=state.best, waited_epochs=state.waited_epochs + 1)
        return PlateauState(factor=state.factor * self.gamma, best=state.best)

    def _is_better(self, value: float, best: float | None) -> bool:
        if best is None:
            return not math.isnan(value)
        if self.higher_is_better:
            return value > best * (1.0 + self.threshold)
        return value < best * (1.0 - self.threshold)


SCHEDULES: Mapping[str, type[Schedule]] = MappingProxyType(
    {
        "constant": Constant,
        "step": Step,
        "cyclic-triangle": CyclicTriangle,
        "doubling-warm-up": DoublingWarmUp,
        "warm-up-cosine": WarmUpCosine,
        "flat-cosine": FlatCosine,
        "plateau": Plateau,
    }
)
"""Every schedule by the name that a training's configuration gives it."""

_RANGES: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "gamma": (0.0, 1.0),
        "warm_up_steps": (0, 10**9),
        "warm_up_from": (0.0, 1.0),
        "lowest": (0.0, 1.0),
        "levels": (2, 10**6),
        "hold_steps": (1, 10**9),
        "start": (1e-12, 1.0),
        "every_steps": (1, 10**9),
        "epochs": (1, 10**6),
        "final": (0.0, 1.0),
        "flat_share": (0.0, 1.0),
        "patience_epochs": (0, 10**6),
        "threshold": (0.0, 1.0),
    }
)


def build_schedule(name: str, **options: Any) -> Schedule:
    """Return the named schedule with its options; a list of milestones may be a list.

    Raises UsageError for an unknown name or option, or a value out of range.
    """
    if name not in SCHEDULES:
        raise UsageError("schedule-unknown", f"there is no schedule {name!r}", hint=f"known: {', '.join(SCHEDULES)}")
    kind = SCHEDULES[name]
    known = {field.name: field.default for field in fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise UsageError(
            "option-unknown", f"the schedule {name} has no option {', '.join(unknown)}",
            hint=f"known: {', '.join(known) or 'none'}",
        )  # fmt: skip
    return kind(**{key: _checked(key, value, known[key]) for key, value in options.items()})


def _checked(name: str, value: Any, default: Any) -> Any:
    if isinstance(default, tuple):
        if not isinstance(value, (list, tuple)) or any(type(item) is not int or item < 0 for item in value):
            raise UsageError("option-value", f"{name} is {value!r}", hint="a list of whole numbers of epochs")
        return tuple(value)
    kinds = (int, float) if isinstance(default, float) else (type(default),)
    if type(value) not in kinds:
        raise UsageError("option-value", f"{name} is {value!r}", hint=f"of type {type(default).__name__}")
    low, high = _RANGES.get(name, (-math.inf, math.inf))
    if not low <= value <= high:
        raise UsageError("option-value", f"{name} is {value!r}", hint=f"between {low:g} and {high:g}")
    return value


def _warm_up(step: int, steps: int, start: float) -> float:
    """Return a line from ``start`` at step 0 to 1 at the last of ``steps`` (as mmengine's LinearLR), then 1."""
    if steps <= 1 or step >= steps - 1:
        return 1.0
    return start + (1.0 - start) * step / (steps - 1)


def _cosine(step: int, first: int, last: int, final: float) -> float:
    share = min(max((step - first) / max(last - first, 1), 0.0), 1.0)
    return final + (1.0 - final) * 0.5 * (1.0 + math.cos(math.pi * share))
