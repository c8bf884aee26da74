"""Run shard tasks on Dask: in this process, on a local cluster, or on a cluster that exists.

On one machine threads are faster (OpenCV and the codecs release the interpreter lock); processes
are for data sets large enough to pay for their start, and clusters for many machines.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, cast

from pipelines.tasks import ShardOutcome, ShardTask, Slots, environment, run_remote_task, run_task
from pose_data.errors import StorageError, UsageError

__all__ = ["Runner", "check_scheduler_name", "open_runner", "spare_threads"]

Outcomes = Generator[ShardOutcome | None, None, None]
Runner = Callable[[Sequence[ShardTask]], Outcomes]
"""Takes tasks, yields each one's outcome as it ends, and None in between: ten times a second while nothing ends.

Raises errors of the program itself, and StorageError where a cluster is lost. Closing what it gives stops the tasks
that are left, and waits a little for those that run."""

_POLL_S = 0.1
_GATHER_S = 2.0
_DRAIN_S = 4.0
# One computes beside the workers, since threads wait for the interpreter's lock a fifth of the time; one more takes
# the slot of a thread that waits for the disk. A third would be no faster, and each has buffers of its own.
_COMPUTING_SPARE, _WAITING_SPARE = 1, 1
_LOOK_S = 1.0
# glibc gives freed memory back at once under distributed's own setting, so that every decoded picture
# is mapped and faulted in afresh; with these two, workers are about 1.4 times as fast.
_WORKER_ENVIRONMENT = {"MALLOC_TRIM_THRESHOLD_": "1073741824", "MALLOC_MMAP_THRESHOLD_": "33554432"}


def check_scheduler_name(name: str) -> None:
    """Raise UsageError for a scheduler that does not exist."""
    if name not in ("auto", "sync", "threads", "local") and "://" not in name:
        raise UsageError(
            "scheduler-unknown", f"there is no scheduler {name!r}",
            hint="auto, sync, threads, local, or the address of a Dask scheduler such as tcp://host:8786",
        )  # fmt: skip


def spare_threads(scheduler: str) -> int:
    """Return how many threads hold a shard beside the workers, waiting for the disk or for the interpreter."""
    return _COMPUTING_SPARE + _WAITING_SPARE if scheduler == "threads" else 0


@contextmanager
def open_runner(
    scheduler: str, workers: int, *, stop: threading.Event, on_picture: Callable[[], None], cluster_timeout_s: float,
    worker_memory_bytes: int,
) -> Iterator[Runner]:  # fmt: skip
    """Yield a runner on ``sync``, ``threads``, ``local`` or a Dask scheduler's address.

    Raises StorageError when a cluster does not start or answer, or its workers run other code.
    """
    if scheduler in ("sync", "threads"):
        yield _in_process(1 if scheduler == "sync" else workers, scheduler, stop, on_picture)
    elif scheduler == "local":
        with _local_cluster(workers, worker_memory_bytes) as client:
            yield _on_cluster(client, stop, cluster_timeout_s)
    else:
        with _existing_cluster(scheduler, cluster_timeout_s) as client:
            yield _on_cluster(client, stop, cluster_timeout_s)


def _in_process(workers: int, scheduler: str, stop: threading.Event, on_picture: Callable[[], None]) -> Runner:
    def run(tasks: Sequence[ShardTask]) -> Outcomes:
        outcomes: queue.SimpleQueue[ShardOutcome | BaseException] = queue.SimpleQueue()
        slots = Slots(workers + (_COMPUTING_SPARE if scheduler == "threads" else 0))

        def one(task: ShardTask) -> None:
            if stop.is_set():
                outcomes.put(ShardOutcome(shard=task.shard, status="stopped"))
            else:
                outcomes.put(run_task(task, should_stop=stop.is_set, on_picture=on_picture, slots=slots))

        def drive() -> None:
            import dask.local
            import dask.threaded

            # Dask takes the ready task that it ordered first from the end; names keep the shards' order.
            graph = {("shard", task.shard): (one, task) for task in tasks}
            try:
                if scheduler == "sync":
                    dask.local.get_sync(graph, list(graph))
                else:
                    dask.threaded.get(graph, list(graph), num_workers=workers + spare_threads(scheduler))
            except BaseException as error:  # noqa: BLE001 - handed to the consumer below, which raises it
                outcomes.put(error)

        driver = threading.Thread(target=drive, name="dask-driver", daemon=True)
        driver.start()
        left = len(tasks)
        try:
            while left:
                try:
                    outcome = outcomes.get(timeout=_POLL_S)
                except queue.Empty:
                    yield None
                    continue
                if isinstance(outcome, BaseException):
                    raise outcome
                left -= 1
                yield outcome
        finally:
            if left:
                stop.set()
            driver.join(_DRAIN_S)

    return run


@contextmanager
def _local_cluster(workers: int, worker_memory_bytes: int) -> Iterator[Any]:
    import dask
    from distributed import Client, LocalCluster

    settings = {
        "distributed.nanny.pre-spawn-environ": _WORKER_ENVIRONMENT,
        # A worker that decodes does not answer for a moment; that is no reason for a warning.
        "distributed.admin.tick.limit": "30s",
        "distributed.worker.memory.spill": False,
        "distributed.worker.memory.target": False,
    }
    with dask.config.set(settings):
        try:
            cluster = LocalCluster(
                n_workers=workers, threads_per_worker=1, dashboard_address=":0", memory_limit=worker_memory_bytes,
                silence_logs=50, host="127.0.0.1", worker_dashboard_address=None,
            )  # fmt: skip
        except (OSError, TimeoutError, RuntimeError) as error:
            raise StorageError(
                "cluster-start", f"the local cluster did not start: {error}", hint="try --scheduler threads"
            ) from error
        with cluster, Client(cluster, set_as_default=False) as client:
            yield client


@contextmanager
def _existing_cluster(address: str, timeout_s: float) -> Iterator[Any]:
    from distributed.utils import silence_logging_cmgr

    # Its loggers print traces of connections that break; that one broke is told once, by name.
    with silence_logging_cmgr(logging.CRITICAL), _client(address, timeout_s) as client:
        yield client


@contextmanager
def _client(address: str, timeout_s: float) -> Iterator[Any]:
    from distributed import Client

    try:
        client = Client(address, timeout=timeout_s, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise StorageError(
            "cluster-unreachable", f"no Dask scheduler answered within {timeout_s:g} s: {error}", where=address,
            hint="start one with `dask scheduler`, or use --scheduler local",
        ) from error  # fmt: skip
    with client:
        try:
            client.wait_for_workers(1, timeout=timeout_s)
        except TimeoutError:
            raise StorageError(
                "cluster-no-workers", f"the scheduler had no worker within {timeout_s:g} s", where=address,
                hint=f"start workers with `dask worker {address}`",
            ) from None  # fmt: skip
        _check_versions(client, address)
        yield client


def _check_versions(client: Any, address: str) -> None:
    mine = environment()
    try:
        answers: dict[str, dict[str, str]] = client.run(environment)
    except (ImportError, ModuleNotFoundError, AttributeError) as error:
        raise StorageError(
            "cluster-versions", f"a worker cannot load posedata: {error}", where=address,
            hint="install the same posedata on every worker",
        ) from error  # fmt: skip
    for worker, theirs in answers.items():
        differing = [f"{name} {theirs.get(name)} (here {version})" for name, version in mine.items()
                     if theirs.get(name) != version]  # fmt: skip
        if differing:
            raise StorageError(
                "cluster-versions", f"a worker runs other versions: {'; '.join(differing)}; no shard was made",
                where=worker, hint="install the same versions on every worker: bytes depend on them",
            )  # fmt: skip


def _on_cluster(client: Any, stop: threading.Event, timeout_s: float) -> Runner:
    def run(tasks: Sequence[ShardTask]) -> Outcomes:
        by_key = {f"posedata-shard-{task.token}-{task.shard}": task for task in tasks}
        with _named_when_lost():
            futures = {
                key: client.submit(run_remote_task, task, key=key, pure=False, retries=0)
                for key, task in by_key.items()
            }
        watch = _ClusterWatch(client, timeout_s)
        try:
            while futures and not stop.is_set():
                # "lost": the worker that held the result died; the scheduler lets another do the task again.
                ended = [key for key, future in futures.items() if future.status not in ("pending", "lost")]
                collected = 0
                for key in ended:
                    with _named_when_lost():
                        outcome = _collect(by_key[key].shard, futures[key])
                    if outcome is not None:
                        collected += 1
                        del futures[key]
                        yield outcome
                if not collected:
                    with _named_when_lost():
                        watch.look()
                    time.sleep(_POLL_S)
                    yield None
        finally:
            if futures and client.status == "running":
                with suppress(OSError, TimeoutError):
                    client.cancel(list(futures.values()), force=True)

    return run


@contextmanager
def _named_when_lost() -> Iterator[None]:
    try:
        yield
    except (OSError, TimeoutError) as error:  # what Dask raises for connections that broke or never came
        raise _cluster_lost(f"the connection to the cluster broke: {error}") from error


class _ClusterWatch:
    """Notices that the scheduler, or every worker, has been gone for longer than the limit."""

    def __init__(self, client: Any, timeout_s: float) -> None:
        self._client, self._timeout_s = client, timeout_s
        self._looked_s = self._well_s = time.monotonic()

    def look(self) -> None:
        """Look once a second. Raises StorageError."""
        now_s = time.monotonic()
        if now_s - self._looked_s < _LOOK_S:
            return
        self._looked_s = now_s
        connected = self._client.status == "running"
        if connected and self._client.scheduler_info()["workers"]:
            self._well_s = now_s
        elif now_s - self._well_s > self._timeout_s:
            raise _cluster_lost("the scheduler lost all its workers" if connected else "the scheduler was lost")


def _cluster_lost(what: str) -> StorageError:
    return StorageError("cluster-lost", f"{what}; finished shards are kept",
                        hint="start the cluster again and run the same command; it continues")  # fmt: skip


def _collect(shard: int, future: Any) -> ShardOutcome | None:
    """Return what became of a shard, None while a result cannot be had: its worker died with it a moment ago."""
    from distributed import KilledWorker
    from distributed.client import FutureCancelledError

    if future.status == "cancelled":
        raise _cluster_lost("the scheduler was lost")
    try:
        return cast("ShardOutcome", future.result(timeout=_GATHER_S))
    except TimeoutError:
        return None
    except KilledWorker:
        # The shard killed as many workers as Dask allows: it is looked at picture by picture.
        return ShardOutcome(shard=shard, status="suspect")
    except FutureCancelledError:
        raise _cluster_lost("the scheduler was lost") from None
