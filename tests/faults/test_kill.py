"""Fault 29: killed at any moment, the same command finishes, with the bytes of a calm run."""

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

KILLS = 10
LONGEST_RUN_S = 1.6

# A server that forks a child for each call of the write door: the child dies right before that call. Syncing only
# matters when the power goes, and the dead process' writes stay; without it, hundreds of runs need not wait.
FORKER = """
import json, os, sys
from pathlib import Path
from pipelines.prepare import prepare
from pose_data.atomic import set_write_hook
from pose_data.recipes import build_recipe

os.fsync = lambda descriptor: None
order = json.loads(sys.argv[1])
recipe = build_recipe(**order["recipe"])

def run(out, die_at):
    calls = 0
    def hook(step, path):
        nonlocal calls
        calls += 1
        if calls == die_at:
            os._exit(77)
    set_write_hook(hook)
    prepare(out, root=Path(order["coco"]), recipe=recipe, scheduler="sync")

def forked(out, die_at):
    child = os.fork()
    if child == 0:
        run(out, die_at)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

for call in order["calls"]:
    out = os.path.join(order["folder"], f"{call}.zarr")
    print(json.dumps([call, forked(out, call), forked(out, 0)]), flush=True)
"""


def was_killed(kit, out, seconds):
    """Run the command; kill its whole process group after so many seconds, unless it has ended."""
    with subprocess.Popen(
        kit.command(out), start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            _, errors = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return True
    assert process.returncode == 0, errors
    return False


def test_ten_kills_of_the_process_group_at_random_moments(kit, calm, tmp_path):
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")  # noqa: T201 - shown when the test fails
    moments = random.Random(seed)
    kills = stores = 0
    while kills < KILLS:
        stores += 1
        out = tmp_path / f"{stores}.zarr"
        finished = {}
        while was_killed(kit, out, moments.uniform(0.2, LONGEST_RUN_S) if kills < KILLS else 60):
            kills += 1
            finished |= kit.shard_records(out)
        records = kit.shard_records(out)
        assert {name: records[name] for name in finished} == finished  # none was made again
        assert kit.tree_digest(out) == calm
        assert kit.leftovers(out) == []


def test_finished_shards_are_not_made_again_after_a_kill(kit, calm, tmp_path):
    out = tmp_path / "crops.zarr"
    slow = kit.faulty(FAULT_SLEEP_S="0.03")
    with subprocess.Popen(kit.command(out), start_new_session=True, env=slow) as process:
        while len(kit.shard_records(out)) < 2:
            assert process.poll() is None
        os.killpg(process.pid, signal.SIGKILL)
    before = kit.shard_records(out)
    assert kit.leftovers(out)
    report = kit.report(kit.run(out, "--json"))
    after = kit.shard_records(out)
    assert 2 <= len(before) < len(after) == 4
    assert {name: after[name] for name in before} == before
    assert report["splits"][0]["shards_kept"] == len(before)
    assert kit.tree_digest(out) == calm
    assert kit.leftovers(out) == []


def die_and_resume(kit, calls, folder):
    """Die before each of these calls, in two servers side by side, and continue; return the exit codes by call."""
    recipe = {key: value for key, value in kit.recipe.as_dict().items() if key != "name"}
    servers = []
    for part in (calls[0::2], calls[1::2]):
        order = {"coco": str(kit.coco), "recipe": recipe, "folder": str(folder), "calls": part}
        servers.append(subprocess.Popen(
            [sys.executable, "-c", FORKER, json.dumps(order)], stdout=subprocess.PIPE, text=True
        ))  # fmt: skip
    codes = {}
    for server in servers:
        with server:
            for line in server.stdout:
                call, died, resumed = json.loads(line)
                codes[call] = (died, resumed)
        assert server.returncode == 0
    return codes


def check_deaths(kit, calm, calls, folder):
    codes = die_and_resume(kit, calls, folder)
    assert codes == dict.fromkeys(calls, (77, 0))
    for call in calls:
        out = Path(folder) / f"{call}.zarr"
        assert (call, kit.tree_digest(out)) == (call, calm)
        assert (call, kit.leftovers(out)) == (call, [])


def test_death_before_a_call_of_the_write_door(small_kit, small_calm, tmp_path):
    steps = small_kit.write_steps(tmp_path / "counted.zarr")
    calls = list(range(1, len(steps) + 1, -(-len(steps) // 24)))
    check_deaths(small_kit, small_calm, calls, tmp_path)


@pytest.mark.slow
def test_death_before_every_call_of_the_write_door_but_writes_into_partial_files(small_kit, small_calm, tmp_path):
    # What was written into a file that has not got its name is swept away, whatever it is: some of these calls will do.
    steps = small_kit.write_steps(tmp_path / "counted.zarr")
    calls = [number for number, step in enumerate(steps, 1) if step != "write" or number % 20 == 0]
    check_deaths(small_kit, small_calm, calls, tmp_path)
