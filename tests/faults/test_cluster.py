"""Faults 28 and 31: workers die, the scheduler is lost, never there, without workers, or of other versions."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import psutil
import pytest

from pose_data.errors import StorageError

CULPRIT = "000000000011.jpg"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def process(module, *arguments, environment=None):
    """Run a Dask command; end it, and what it started, afterwards."""
    command = [sys.executable, "-m", f"distributed.cli.dask_{module}", *arguments]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as child:
        try:
            yield child
        finally:
            with_children = [child.pid, *(c.pid for c in psutil.Process(child.pid).children(recursive=True))]
            for pid in with_children:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue


@contextmanager
def scheduler():
    port = free_port()
    with process("scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard") as child:
        yield f"tcp://127.0.0.1:{port}", child


def worker(address, environment=None):
    return process(
        "worker", address, "--nthreads", "1", "--no-dashboard", "--host", "127.0.0.1", "--no-nanny",
        environment=environment,
    )  # fmt: skip


def wait_for_workers(address, count):
    from distributed import Client

    with Client(address, timeout=30, set_as_default=False) as client:
        client.wait_for_workers(count, timeout=30)


# ------------------------------------------------------------------------------------ 31: the cluster


@pytest.mark.serial
def test_nobody_listens(kit, tmp_path):
    address = f"tcp://127.0.0.1:{free_port()}"
    began_s = time.monotonic()
    with pytest.raises(StorageError) as caught:
        kit.prepare(tmp_path / "crops.zarr", scheduler=address, cluster_timeout_s=1.0)
    assert time.monotonic() - began_s < 5
    assert (caught.value.code, caught.value.exit_code) == ("cluster-unreachable", 6)
    assert caught.value.where == address
    assert "1 s" in caught.value.message


def test_no_scheduler_on_the_command_line_is_exit_6_and_resumable(kit, calm, tmp_path):
    out = tmp_path / "crops.zarr"
    done = kit.run(out, "--scheduler", f"tcp://127.0.0.1:{free_port()}", "--cluster-timeout", "1")
    assert done.returncode == 6, done.stderr
    assert "cluster-unreachable" in done.stderr
    assert "Traceback" not in done.stderr
    kit.prepare(out)
    assert kit.tree_digest(out) == calm


@pytest.mark.serial
def test_a_scheduler_without_workers(kit, tmp_path):
    with scheduler() as (address, _):
        time.sleep(1.5)
        began_s = time.monotonic()
        with pytest.raises(StorageError) as caught:
            kit.prepare(tmp_path / "crops.zarr", scheduler=address, cluster_timeout_s=3.0)
        assert time.monotonic() - began_s < 8
    assert (caught.value.code, caught.value.where) == ("cluster-no-workers", address)
    assert f"dask worker {address}" in caught.value.hint


def test_a_real_scheduler_and_two_workers_make_the_same_bytes(kit, calm, tmp_path):
    out = tmp_path / "crops.zarr"
    with scheduler() as (address, _), worker(address), worker(address):
        wait_for_workers(address, 2)
        report = kit.prepare(out, scheduler=address)
    assert report.scheduler == address
    assert kit.tree_digest(out) == calm
    assert kit.leftovers(out) == []


def test_a_worker_with_other_versions_is_refused_before_work(kit, calm, tmp_path):
    out = tmp_path / "crops.zarr"
    with scheduler() as (address, _), worker(address), worker(address, kit.faulty(FAULT_VERSION="0.0.1")):
        wait_for_workers(address, 2)
        with pytest.raises(StorageError) as caught:
            kit.prepare(out, scheduler=address)
    assert caught.value.code == "cluster-versions"
    assert "simplejpeg 0.0.1 (here" in caught.value.message
    assert kit.shard_records(out) == {}
    kit.prepare(out)
    assert kit.tree_digest(out) == calm


@pytest.mark.slow
@pytest.mark.serial
@pytest.mark.parametrize("lost", ["scheduler", "workers"])
def test_the_cluster_is_lost_in_the_middle(kit, calm, tmp_path, lost):
    out = tmp_path / "crops.zarr"
    slow = kit.faulty(FAULT_SLEEP_S="0.1")
    caught = []

    def prepare():
        try:
            kit.prepare(out, scheduler=address, cluster_timeout_s=3.0)
        except StorageError as error:
            caught.append(error)

    with scheduler() as (address, scheduler_child), worker(address, slow) as one, worker(address, slow) as two:
        wait_for_workers(address, 2)
        run = threading.Thread(target=prepare)
        run.start()
        while run.is_alive() and not kit.shard_records(out):
            time.sleep(0.02)
        for child in [scheduler_child] if lost == "scheduler" else [one, two]:
            child.kill()
        began_s = time.monotonic()
        run.join(30)
        assert not run.is_alive()
        assert time.monotonic() - began_s < 15
    (error,) = caught
    assert (error.code, error.exit_code) == ("cluster-lost", 6)
    assert "finished shards are kept" in error.message
    finished = kit.shard_records(out)
    assert finished
    kit.prepare(out)
    records = kit.shard_records(out)
    assert {name: records[name] for name in finished} == finished
    assert kit.tree_digest(out) == calm


# ------------------------------------------------------------------------------------ 28: workers


def worker_processes(pid):
    """Return the worker processes of a local cluster started by this process."""
    return [
        child for child in psutil.Process(pid).children(recursive=True)
        if any("spawn_main" in part for part in child.cmdline())
    ]  # fmt: skip


@pytest.mark.slow
def test_a_worker_of_a_local_cluster_is_killed_from_outside(kit, calm, tmp_path):
    out = tmp_path / "crops.zarr"
    slow = kit.faulty(FAULT_SLEEP_S="0.1")
    command = kit.command(out, "--scheduler", "local", "--json")
    with subprocess.Popen(command, env=slow, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        while child.poll() is None and not list(out.glob("val2017/.posedata/work/started/*")):
            time.sleep(0.02)
        time.sleep(0.5)
        worker_processes(child.pid)[0].kill()
        output, errors = child.communicate(timeout=90)
    assert child.returncode == 0, errors
    assert '"retries":0' not in output.splitlines()[-1].replace(" ", "")
    assert kit.tree_digest(out) == calm
    assert kit.leftovers(out) == []


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["exit-once", "segv-once", "kill-once"])
def test_a_worker_dies_in_a_task(kit, tmp_path, fault):
    coco = tmp_path / "coco"
    shutil.copytree(kit.coco, coco)
    shutil.copytree(kit.site, tmp_path / "site")
    copy = type(kit)(coco=coco, recipe=kit.recipe, options=kit.options, site=tmp_path / "site")
    kit.mark_picture(coco / "val2017" / CULPRIT, fault)
    copy.prepare(tmp_path / "calm.zarr")
    out = tmp_path / "crops.zarr"
    report = kit.report(copy.run(out, "--json", "--scheduler", "local", env=copy.faulty()))
    assert (tmp_path / "site" / f"once-{fault.removesuffix('-once')}").is_file()
    assert report["splits"][0]["retries"] == 1
    assert kit.tree_digest(out) == kit.tree_digest(tmp_path / "calm.zarr")
