"""What changes in a training: weights, optimiser, moving average, scaler, counters; to a checkpoint and back."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from pose_data.errors import ModelError
from pose_data.order import Samples
from pose_models.checkpoint import Checkpoint
from pose_models.conventions import Conventions
from pose_models.optimisers import MovingAverage, load_optimiser, optimiser_state
from pose_models.schedules import PlateauState

__all__ = ["TrainingState", "load_weights"]


@dataclass(slots=True, kw_only=True)
class TrainingState:
    """What a training step changes, and where in the epochs it stands."""

    network: nn.Module
    optimiser: torch.optim.Optimizer
    scaler: "torch.amp.GradScaler"
    average: MovingAverage | None
    step: int = 0
    """Batches seen."""
    updates: int = 0
    """Changes of the weights."""
    schedule_step: int = 0
    """Of the learning-rate schedule: ``updates``, unless the number of steps an epoch was changed on the way."""
    steps_per_epoch: int = 0
    epoch: int = 0
    position: dict[str, Any] | None = None
    """Of the stream, within the epoch; None at its beginning."""
    plateau: PlateauState = field(default_factory=PlateauState)
    best_ap: float = -1.0
    unjudged: bool = False
    """Whether the epoch that has ended is still to be evaluated."""
    numbers: dict[str, float] = field(default_factory=dict)
    samples: Mapping[str, Samples] = field(default_factory=dict)
    """What identifies the data, by role: train, val."""

    def usable_weights(self) -> dict[str, Tensor]:
        """Return the weights to evaluate and keep: the moving average where there is one."""
        return dict(self.network.state_dict()) if self.average is None else self.average.weights

    def is_finite(self) -> bool:
        """Return whether weights, moving average and waiting gradients are numbers, all of them.

        Gradients of fp16 that are not are left out: the scaler takes no step with them.
        """
        values = list(self.network.state_dict().values())
        if self.average is not None:
            values += self.average.weights.values()
        if not self.scaler.is_enabled():
            values += self._waiting_gradients().values()
        finite = [value.isfinite().all() for value in values if value.is_floating_point()]
        return bool(torch.stack(finite).all())

    def _waiting_gradients(self) -> dict[str, Tensor]:
        """Return the gradients that wait for an update, where several steps make one, by the weights' names."""
        return {name: value.grad for name, value in self.network.named_parameters() if value.grad is not None}

    def count_steps_per_epoch(self, now: int) -> bool:
        """Take the number of steps an epoch; return whether it was another one before.

        The schedule then goes on at the same share of the training: other batch sizes, other numbers of processes.
        """
        before, self.steps_per_epoch = self.steps_per_epoch, now
        if before in (0, now):
            return False
        self.schedule_step = round(self.schedule_step * now / before)
        return True

    def counters(self) -> dict[str, Any]:
        """Return what is neither a tensor nor a result, JSON-ready."""
        return {
            "updates": self.updates, "schedule_step": self.schedule_step, "steps_per_epoch": self.steps_per_epoch,
            "epoch": self.epoch, "position": self.position, "best_ap": self.best_ap, "unjudged": self.unjudged,
            "plateau": [self.plateau.factor, self.plateau.best, self.plateau.waited_epochs],
            "optimiser": optimiser_state(self.optimiser)[1], "scaler": self.scaler.state_dict(),
            "samples": {role: asdict(samples) for role, samples in self.samples.items()},
        }  # fmt: skip

    def checkpoint(self, network_name: str, conventions: Conventions) -> Checkpoint:
        """Return all of it as a checkpoint."""
        tensors, _ = optimiser_state(self.optimiser)
        if self.average is not None:
            tensors |= {f"raw.{name}": value for name, value in self.network.state_dict().items()}
        tensors |= {f"gradient.{name}": value for name, value in self._waiting_gradients().items()}
        return Checkpoint(
            step=self.step, network=network_name, conventions=conventions, model=self.usable_weights(),
            training=tensors, state=self.counters(), numbers=self.numbers,
        )  # fmt: skip

    def load(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint. Raises ModelError where it does not fit."""
        raw = {name[4:]: value for name, value in checkpoint.training.items() if name.startswith("raw.")}
        load_weights(self.network, raw or checkpoint.model)
        if self.average is not None:
            for name, value in checkpoint.model.items():
                self.average.weights[name].copy_(value)
        state = checkpoint.state
        load_optimiser(self.optimiser, checkpoint.training, state["optimiser"])
        if state["scaler"]:
            self.scaler.load_state_dict(dict(state["scaler"]))
        self._load_gradients(checkpoint.training, saved_scale=state["scaler"].get("scale", 1.0))
        self.step, self.updates, self.epoch = checkpoint.step, state["updates"], state["epoch"]
        self.schedule_step, self.steps_per_epoch = state["schedule_step"], state["steps_per_epoch"]
        self.unjudged = state["unjudged"]
        self.position, self.best_ap, self.numbers = state["position"], state["best_ap"], dict(checkpoint.numbers)
        factor, best, waited = state["plateau"]
        self.plateau = PlateauState(factor=factor, best=best, waited_epochs=waited)

    def _load_gradients(self, tensors: Mapping[str, Tensor], *, saved_scale: float) -> None:
        """Take up gradients that wait for an update: scaled as this scaler has it, which may be another precision's."""
        ratio = self.scaler.get_scale() / saved_scale
        for name, parameter in self.network.named_parameters():
            waiting = tensors.get(f"gradient.{name}")
            # In the parameter's own memory layout, as backward would make it.
            parameter.grad = None if waiting is None else torch.empty_like(parameter).copy_(waiting)
            if parameter.grad is not None and ratio != 1.0:
                parameter.grad.mul_(ratio)


def load_weights(network: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Load weights; every key of both sides must have its place. Raises ModelError naming what has none."""
    own = network.state_dict()
    problems = [f"{key}: not in the network" for key in weights if key not in own]
    problems += [f"{key}: not in the checkpoint" for key in own if key not in weights]
    problems += [
        f"{key}: {tuple(weights[key].shape)} in the checkpoint, {tuple(own[key].shape)} in the network"
        for key in own
        if key in weights and own[key].shape != weights[key].shape
    ]
    if problems:
        more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise ModelError(
            "checkpoint-mismatch", f"the checkpoint does not fit the network: {'; '.join(problems[:5])}{more}",
            hint="another network, or another number of keypoints",
        )  # fmt: skip
    network.load_state_dict(dict(weights))
