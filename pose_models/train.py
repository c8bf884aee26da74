"""Training: a store and a configuration in, a run folder with checkpoints, log and pictures out.

Read :func:`run` from top to bottom: store, network, state, then epochs of steps. A step is: batch from the stream,
augmentation and targets on the device, forward, loss, backward, update. Random numbers of a step depend on (seed, step,
rank) alone, so a training that was stopped goes on with the very losses it would have had.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from pose_data.atomic import make_folder, storage_errors, write_file
from pose_data.errors import InterruptedRun, UsageError
from pose_data.evaluation import GroundTruth, Result, evaluate
from pose_data.evaluation.store_truth import ground_truth_from_split
from pose_data.events import Event, Listener, silent
from pose_data.order import Position
from pose_data.reader import open_readable, usual_order
from pose_data.report import report_on_split
from pose_data.store import Store, choose_split, open_store
from pose_models.augment import TrainingBatch
from pose_models.checkpoint import amend_checkpoint, load_checkpoint, mark_best, read_best, save_checkpoint
from pose_models.conventions import conventions_of
from pose_models.devices import Place, any_says, autocast, from_leader, repeatable, taking_part
from pose_models.epoch_progress import EpochProgress
from pose_models.interruption import StopRequest, asking_to_stop
from pose_models.networks.catalogue import find_network
from pose_models.optimisers import MovingAverage, build_optimiser
from pose_models.pretrained import freeze_backbone, load_backbone
from pose_models.resume import Change, FoundRun, chosen_config, look_for_run, refuse_changes, refuse_other_data
from pose_models.run_log import RunLog, remove_run
from pose_models.schedules import Plateau
from pose_models.step_loss import StepLoss, enough_memory, weights_not_finite
from pose_models.step_network import network_of_steps
from pose_models.stream import DeviceBatch, SampleStream
from pose_models.tasks import Judging, SplitFound, task_of
from pose_models.train_config import TrainConfig, to_toml
from pose_models.training_state import TrainingState

__all__ = ["RunReport", "run"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """How a training ended."""

    out: Path
    network: str
    epochs: int
    steps: int
    seconds: float
    loss: float
    numbers: Mapping[str, float]
    """The last evaluation's ten numbers."""
    boxes: str
    """``annotated``, or ``no`` for a network of whole pictures."""
    best_ap: float
    best_step: int
    samples_per_s: float
    wait_share: float
    """The share of the training steps' time spent waiting for data."""
    losses: tuple[float, ...] = field(default=(), repr=False)
    """Of every step of this call, in order."""
    page: Path | None = None
    """The report of the last evaluation."""


def run(
    network: str,
    *,
    data: str | Path,
    out: str | Path,
    config: TrainConfig | None = None,
    device: str = "auto",
    threads: int | None = None,
    resume: bool = False,
    overwrite: bool = False,
    on_event: Listener = silent,
    **options: Any,
) -> RunReport:
    """Train a network on a store; ``options`` change fields of the configuration.

    With ``resume`` the run in ``out`` goes on where it was left, with its own configuration and the same losses as an
    undisturbed one; without a checkpoint in it, it begins. Which options may then be others is the rule of
    :mod:`pose_models.resume`. Raises UsageError (unknown names, ``out`` is there), StoreError and DamageError (the
    store), ResumeMismatchError (options or data that the run cannot go on with), ModelError (store and network do not
    fit, CUDA is absent, the loss is not finite, out of memory, another process is lost), InterruptedRun (stopped by a
    signal; a checkpoint was written).
    """
    if resume and overwrite:
        raise UsageError("option-conflict", "resume goes on with a run, overwrite begins it again", hint="take one")
    folder = Path(out)
    with taking_part(device) as place, repeatable(place.device), asking_to_stop() as stop:
        # The leading process looks for all of them: it also writes, and one that looked later would find that.
        found = from_leader(lambda: look_for_run(folder), place)
        chosen, changes = chosen_config(network, config, options, found if resume else FoundRun(), out=folder)
        begins = not (resume and found.saved)
        if not begins:
            refuse_changes(changes, in_an_epoch=False, out=folder)  # before the store is looked at
        store = open_store(data)
        if found.begun and not resume and not overwrite:
            raise UsageError(
                "output-exists", "there is a run already", where=str(out),
                hint="--resume goes on with it, --overwrite begins again",
            )  # fmt: skip
        with enough_memory(chosen.batch_size):
            log = RunLog(folder, writes=place.leads)
            training = _Training(chosen, store, folder, place, threads, stop, log, on_event, begins=begins)
            if begins:
                training.begin(overwrite=overwrite)
            with log:
                if not begins:
                    training.go_on(changes)
                return training.run()


class _Training:
    def __init__(
        self, config: TrainConfig, store: Store, out: Path, place: Place, threads: int | None, stop: StopRequest,
        log: RunLog, on_event: Listener, *, begins: bool,
    ) -> None:  # fmt: skip
        self._config, self._out, self._place, self._threads = config, out, place, threads
        self._stop, self._log = stop, log
        self._tell: Listener = on_event if place.leads else silent
        facts = find_network(config.network)
        self._split = choose_split(store, config.train_split, "train")
        self._val = choose_split(store, config.val_split, "val")
        self._conventions = conventions_of(facts, config, self._split.recipe, self._split.skeleton)
        conventions_of(facts, config, self._val.recipe, self._val.skeleton)
        self._task = task_of(facts, config, self._conventions)
        self._schedule = config.build_schedule()
        torch.manual_seed(config.seed)
        network = facts.build(self._conventions.skeleton.keypoint_count)
        if config.pretrained and begins:
            load_backbone(network, Path(config.pretrained))
        if config.freeze_backbone:
            freeze_backbone(network)
        self._state = self._fresh_state(network.to(place.device))
        self._state.samples = {"train": open_readable(self._split).samples, "val": open_readable(self._val).samples}
        self._truth: GroundTruth | None = None
        self._judged: Result | None = None
        self._losses: list[float] = []
        self._seconds = 0.0
        self._samples = 0

    # -- before the first step

    def _fresh_state(self, network: nn.Module) -> TrainingState:
        config = self._config
        if config.channels_last:
            network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return TrainingState(
            network=network, optimiser=build_optimiser(config, network),
            scaler=torch.amp.GradScaler(self._place.device.type, enabled=config.amp == "fp16"),
            average=MovingAverage(network, config.ema_decay) if config.ema_decay else None,
        )  # fmt: skip

    def begin(self, *, overwrite: bool) -> None:
        """Make the run's folder; with ``overwrite`` nothing of an earlier run is left in it."""
        if not self._place.leads:
            return
        if overwrite:
            remove_run(self._out)
        with storage_errors("making the run's folder", self._out):
            make_folder(self._out)
        self._write_config()

    def go_on(self, changes: tuple[Change, ...]) -> None:
        """Take up the last checkpoint; refuse options and data that do not fit it, tell and keep the others."""
        found = load_checkpoint(self._out, "last", training=True, say=self._note)
        refuse_changes(changes, in_an_epoch=found.state["position"] is not None, out=self._out)
        refuse_other_data(
            found.conventions, self._conventions, self._state.samples, found.state["samples"], out=self._out
        )
        self._state.load(found)
        best = read_best(self._out)
        self._state.best_ap = best[1] if best else -1.0
        self._note(f"continuing: epoch {self._state.epoch + 1}, step {self._state.step}")
        for change in changes:
            self._note(f"{change}; written to config.toml")
        if changes and self._place.leads:
            self._log.write("options", self._state.step, {change.name: change.now for change in changes})
            self._write_config()

    def _write_config(self) -> None:
        path = self._out / "config.toml"
        with storage_errors("writing the run's configuration", path):
            write_file(path, to_toml(self._config).encode())

    # -- epochs

    def run(self) -> RunReport:
        config, state, place = self._config, self._state, self._place
        stream = SampleStream(
            self._split, batch_size=config.batch_size, device=place.device, rank=place.rank,
            world_size=place.world_size, threads=self._threads,
            arrays=self._task.arrays, most_persons=config.most_persons,
            order=replace(
                usual_order(self._split.recipe), seed=config.seed, shuffle=config.shuffle, window=config.window
            ),
        )  # fmt: skip
        if state.count_steps_per_epoch(max(1, len(stream) // config.accumulate)):
            self._note(f"an epoch has {state.steps_per_epoch:,} updates now: the learning rate goes on at its share")
        self._wrapped = network_of_steps(state.network, config, self._conventions.recipe, place)
        while True:
            if state.unjudged:
                self._judge()
            if state.epoch >= config.epochs:
                return self._report(stream)
            self._train_epoch(stream)
            state.epoch, state.position = state.epoch + 1, None
            state.unjudged = state.epoch % config.evaluate_every == 0 or state.epoch == config.epochs
            self._save()  # before it is judged: an evaluation that is stopped costs no epoch

    def _train_epoch(self, stream: SampleStream) -> None:
        state = self._state
        state.network.train()
        self._tell(Event(kind="stage", stage="train", text=f"epoch {state.epoch + 1} of {self._config.epochs}"))
        read = Position.from_dict(state.position).samples_read if state.position else 0
        progress = EpochProgress(stream, read_before=read)
        last: StepLoss | None = None
        norm: Tensor | None = None
        for batch in stream.epoch(state.epoch, resume=state.position):
            loss, norm = self._step(batch)
            state.step += 1
            state.position = stream.state()
            progress.saw(len(batch.rows) * self._place.world_size)
            if last is not None:
                self._losses.append(last.checked(self._split))
            last = StepLoss(loss, state.step, batch.rows)
            if progress.is_to_be_told():
                self._tell_step(progress, float(loss), norm)
            if self._stopping():
                self._losses.append(last.checked(self._split))
                self._save()
                self._leave()
        if last is not None:
            self._losses.append(last.checked(self._split))
            self._tell_step(progress, self._losses[-1], norm)
        self._seconds += progress.seconds
        self._samples += progress.seen

    def _step(self, batch: DeviceBatch) -> tuple[Tensor, Tensor | None]:
        """Do one step; return its loss, and the gradients' norm where it was computed."""
        config, state = self._config, self._state
        torch.manual_seed(hash((config.seed, state.step, self._place.rank)) & 0x7FFFFFFF)
        sample = self._task.sample(batch, epoch=state.epoch)
        for group in state.optimiser.param_groups:
            group["lr"] = config.learning_rate * self._factor() * group["lr_scale"]
        loss = self._forward_backward(sample)
        return loss, self._update() if (state.step + 1) % config.accumulate == 0 else None

    def _factor(self) -> float:
        factor = self._schedule.factor(self._state.schedule_step, self._state.steps_per_epoch)
        return factor * self._state.plateau.factor if isinstance(self._schedule, Plateau) else factor

    def _forward_backward(self, sample: TrainingBatch) -> Tensor:
        config = self._config
        images = sample.images
        if config.channels_last:
            images = images.to(memory_format=torch.channels_last)
        with autocast(self._place.device, config.amp):
            output = self._wrapped(images)
            loss = self._task.loss(output, sample)
        self._state.scaler.scale(loss / config.accumulate).backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def _update(self) -> Tensor | None:
        config, state = self._config, self._state
        norm = None
        if config.clip_norm:
            state.scaler.unscale_(state.optimiser)
            norm = nn.utils.clip_grad_norm_(state.network.parameters(), config.clip_norm)
        state.scaler.step(state.optimiser)
        state.scaler.update()
        state.optimiser.zero_grad(set_to_none=True)
        if state.average is not None:
            state.average.update(state.network, state.updates)
        state.updates += 1
        state.schedule_step += 1
        return norm

    # -- between epochs

    def _judge(self) -> None:
        """Evaluate the epoch that has ended, and note the result in its checkpoint."""
        state = self._state
        found = self._found()
        if self._truth is None:
            self._truth = ground_truth_from_split(self._val)
        self._judged = evaluate(self._truth, found.detections)
        numbers = dict(self._judged.numbers)
        state.numbers, state.unjudged = numbers, False
        if isinstance(self._schedule, Plateau):
            state.plateau = self._schedule.after_epoch(state.plateau, 1.0 - numbers["AP"])
        if self._place.leads:
            self._note_result()
        self._log.write("val", state.step, numbers)
        self._log.picture(state.epoch, found.sheet)
        self._tell(Event(
            kind="note", stage="evaluate", text=f"epoch {state.epoch}: AP {numbers['AP']:.4f}, AR {numbers['AR']:.4f}",
            data={"epoch": state.epoch, "step": state.step, **numbers},
        ))  # fmt: skip

    def _note_result(self) -> None:
        state = self._state
        if state.numbers["AP"] > state.best_ap:
            state.best_ap = state.numbers["AP"]
            mark_best(self._out, state.step, state.best_ap)
        amend_checkpoint(self._out, state.step, state=state.counters(), numbers=state.numbers)

    def _found(self) -> SplitFound:
        """Return the predictions of the weights that are kept: the moving average where there is one."""
        config, state = self._config, self._state
        average = state.average
        raw = {name: value.clone() for name, value in state.network.state_dict().items()} if average else {}
        if average is not None:
            state.network.load_state_dict(average.weights)
        try:
            return self._task.judge(state.network, self._val, Judging(
                place=self._place, batch_size=config.batch_size, flip_test=config.flip_test, amp=config.amp,
                threads=self._threads, on_event=self._tell, after_batch=self._leave_if_asked,
            ))  # fmt: skip
        finally:
            if average is not None:
                state.network.load_state_dict(raw)

    def _save(self) -> None:
        state = self._state
        # The weights are the same in every process, so each sees what a loss of another one's samples did to them.
        if not state.is_finite():
            raise weights_not_finite(state.step)
        if not self._place.leads:
            return
        place = save_checkpoint(self._out, state.checkpoint(self._config.network, self._conventions))
        self._log.write("checkpoint", state.step, {"epoch": state.epoch})
        self._tell(Event(kind="progress", stage="checkpoint", text=str(place)))

    # -- telling, stopping

    def _stopping(self) -> bool:
        """Return whether any process was asked to stop: then all of them end after the same step."""
        return any_says(bool(self._stop.number), self._place)

    def _leave_if_asked(self) -> None:
        if self._stopping():
            self._leave()

    def _leave(self) -> NoReturn:
        error = InterruptedRun(
            "interrupted", f"stopped after step {self._state.step}; a checkpoint was written", where=str(self._out),
            hint="the same command with --resume continues",
        )  # fmt: skip
        error.exit_code = self._stop.exit_code if self._stop.number else 130
        raise error

    def _tell_step(self, progress: EpochProgress, loss: float, norm: Tensor | None) -> None:
        rate = max(group["lr"] for group in self._state.optimiser.param_groups)
        values = {"epoch": self._state.epoch + 1, "loss": loss, "learning_rate": rate, **progress.rates()}
        if norm is not None:
            values["gradient_norm"] = float(norm)
        self._log.write("train", self._state.step, values)
        ap = {"AP": self._state.numbers["AP"]} if self._state.numbers else {}
        self._tell(Event(
            kind="progress", stage="train", done=progress.done, total=progress.total, data={**values, **ap}
        ))  # fmt: skip

    def _note(self, text: str) -> None:
        self._tell(Event(kind="note", text=text))

    def _report(self, stream: SampleStream) -> RunReport:
        best = read_best(self._out) or (self._state.step, self._state.numbers.get("AP", -1.0))
        stream.close()
        return RunReport(
            out=self._out, network=self._config.network, epochs=self._state.epoch, steps=self._state.step,
            seconds=self._seconds, loss=self._losses[-1] if self._losses else float("nan"),
            numbers=self._state.numbers, boxes=self._boxes,
            best_ap=best[1], best_step=best[0],
            samples_per_s=self._samples / self._seconds if self._seconds else 0.0,
            wait_share=stream.wait_s / self._seconds if self._seconds else 0.0, losses=tuple(self._losses),
            page=self._write_page(),
        )  # fmt: skip

    @property
    def _boxes(self) -> str:
        return "no" if self._conventions.grouping else "annotated"

    def _write_page(self) -> Path | None:
        """Write the report of the last evaluation; a run that was complete before has none to write."""
        if self._judged is None or not self._place.leads or not self._config.report:
            return None
        self._tell(Event(kind="stage", stage="report", text=str(self._out / "report")))
        return report_on_split(
            self._judged, self._val, self._out / "report", boxes=self._boxes,
            results=f"{self._config.network}, step {self._state.step:,}, of {self._out.name}",
        ).page  # fmt: skip
