"""Stage 3: make every shard that is not finished yet, on whatever scheduler, and count what happens."""

import threading
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass

from pipelines.schedulers import open_runner
from pipelines.splits import BegunSplit
from pipelines.tasks import ShardOutcome, ShardTask, environment, outcome_of
from pose_data.atomic import remove_file, sweep
from pose_data.budget import BadBudget
from pose_data.errors import PROBLEMS, PoseError, ResumeMismatchError
from pose_data.events import Event, Listener
from pose_data.isolated import make_shard_isolated
from pose_data.job import changed_pictures, whole_shards
from pose_data.lock import Holder, require_held
from pose_data.manifest import records_folder

__all__ = ["ShardStage", "StageOptions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StageOptions:
    """How shards are made; none of it changes a byte of them."""

    scheduler: str
    workers: int
    max_bad: float
    picture_timeout_s: float
    cluster_timeout_s: float
    worker_memory_bytes: int


class ShardStage:
    """Make the shards of one split."""

    def __init__(
        self, begun: BegunSplit, holder: Holder, options: StageOptions, stop: threading.Event, on_event: Listener
    ) -> None:
        self._job, self._facts, self._summary, self._holder = begun.job, begun.facts, begun.summary, holder
        self._options, self._stop, self._on_event = options, stop, on_event
        self._rejects: Counter[str] = Counter()
        self._rows = self._pictures = self._size_bytes = self._live_pictures = 0
        self._began_s = time.monotonic()
        self.shards_kept = 0
        self.retries = 0

    def run(self) -> None:
        """Make what is missing. Raises PoseError, or KeyboardInterrupt after letting running shards end."""
        split = self._job.split
        sweep(split.path)
        summary = self._summary
        self._budget = BadBudget(self._options.max_bad, self._facts.annotation_count, summary.pictures, str(split.path))
        self._budget.add(summary.bad)
        missing = self._missing_shards()
        self._on_event(Event(
            kind="stage", split=split.name, stage="shards", done=self._rows, total=self._job.rows, data=self._unit(),
        ))  # fmt: skip
        if missing:
            self._make(missing)
            sweep(split.path)  # what workers left behind that died, or hang, in a shard
        self._progress()

    def _missing_shards(self) -> list[int]:
        finished = whole_shards(self._job)
        changed = [name for record in finished.values() for name in changed_pictures(self._job, record)]
        if changed:
            raise ResumeMismatchError(
                "source-changed",
                f"{len(changed)} pictures differ from those that finished shards were made from; nothing was changed: "
                + ", ".join(changed[:5]),
                where=str(self._job.images_root),
                hint="put the old pictures back, or begin again with --overwrite",
            )
        for record in finished.values():
            self._count(outcome_of(record))
        self.shards_kept = len(finished)
        if finished:
            self._on_event(Event(
                kind="note", split=self._job.split.name,
                text=f"continuing: {len(finished)} of {self._job.shards} shards were finished before",
            ))  # fmt: skip
        return [shard for shard in range(self._job.shards) if shard not in finished]

    def _task(self, shard: int) -> ShardTask:
        split = self._job.split
        return ShardTask(
            split_path=str(split.path.absolute()), shard=shard,
            lock_folder=str(records_folder(split.path.parent).absolute()), token=self._holder.token,
            picture_timeout_s=self._options.picture_timeout_s, environment=environment(),
        )  # fmt: skip

    def _make(self, shards: list[int]) -> None:
        options = self._options
        suspects: list[ShardOutcome] = []
        runner = open_runner(
            options.scheduler, options.workers, stop=self._stop, on_picture=self._on_picture,
            cluster_timeout_s=options.cluster_timeout_s, worker_memory_bytes=options.worker_memory_bytes,
        )  # fmt: skip
        with runner as run, closing(run([self._task(shard) for shard in shards])) as outcomes:
            for outcome in outcomes:
                self._take(outcome, suspects)
        for suspect in suspects:
            self._make_isolated(suspect)

    def _take(self, outcome: ShardOutcome | None, suspects: list[ShardOutcome]) -> None:
        if outcome is None:
            self._progress()
        elif outcome.status == "done":
            if outcome.tries > 1:
                self.retries += 1
                self._on_event(Event(
                    kind="retry", split=self._job.split.name, data={"shard": outcome.shard},
                    text=f"shard {outcome.shard} was made by another worker: one died in it",
                ))  # fmt: skip
            self._count(outcome)
            self._progress()
        elif outcome.status in ("stalled", "suspect"):
            suspects.append(outcome)
        elif outcome.status == "failed":
            raise PoseError.from_fields(outcome.error)
        else:
            # Nobody here asked the task to stop: it found the lock in other hands.
            require_held(records_folder(self._job.split.path.parent), self._holder.token)

    def _make_isolated(self, suspect: ShardOutcome) -> None:
        self.retries += 1
        why = "a picture took too long" if suspect.status == "stalled" else "a worker died in it"
        split = self._job.split
        self._on_event(Event(
            kind="retry", split=split.name, text=f"shard {suspect.shard} is made in a process of its own: {why}",
            data={"shard": suspect.shard},
        ))  # fmt: skip
        record = make_shard_isolated(
            split, suspect.shard, picture_timeout_s=self._options.picture_timeout_s, stop=self._progress
        )
        remove_file(split.started(suspect.shard))
        self._count(outcome_of(record))
        self._progress()

    def _on_picture(self) -> None:
        self._live_pictures += 1

    def _count(self, outcome: ShardOutcome) -> None:
        self._rows += outcome.rows
        self._pictures += outcome.pictures
        self._size_bytes += outcome.size_bytes
        self._rejects.update(outcome.rejects)
        bad = sum(count for code, count in outcome.rejects.items() if PROBLEMS[code].fate == "reject")
        self._budget.add(bad, outcome.bad_pictures, examples=", ".join(outcome.rejects))

    def _unit(self) -> dict[str, str]:
        """Return what the progress counts, where that is not persons."""
        return {"unit": "pictures"} if self._facts.recipe.rows == "scenes" else {}

    def _progress(self) -> None:
        self._on_event(Event(
            kind="progress", split=self._job.split.name, stage="shards", done=self._rows, total=self._job.rows,
            data={
                "pictures": max(self._pictures, self._live_pictures),
                "bytes": self._size_bytes,
                "rejects": dict(self._rejects),
                "seconds": time.monotonic() - self._began_s,
                **self._unit(),
            },
        ))  # fmt: skip
