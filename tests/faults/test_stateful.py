"""Fault 38 and C5.6: random runs that stop anywhere and damage of any file, against the bytes of a calm run."""

import errno
import os
import shutil
import tempfile
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from pose_data.atomic import set_write_hook
from pose_data.errors import InterruptedRun, StorageError


def machine_of(kit, calm):
    class Store(RuleBasedStateMachine):
        """One store, prepared, stopped, failed, damaged, and prepared again."""

        def __init__(self):
            super().__init__()
            self.folder = Path(tempfile.mkdtemp())
            self.out = self.folder / "crops.zarr"
            self.finished = False

        @initialize()
        def begin(self):
            self.stop_after(rows=0, scheduler="sync")

        @rule(rows=st.integers(0, 11), scheduler=st.sampled_from(["sync", "threads"]))
        def stop_after(self, rows, scheduler):
            """Run until some persons are done, then as after Ctrl-C."""

            def stop(event):
                if event.stage == "shards" and event.done >= rows:
                    raise KeyboardInterrupt

            try:
                kit.prepare(self.out, scheduler=scheduler, on_event=stop)
            except InterruptedRun:
                assert not self.finished
            else:
                self.finished = True

        @rule(call=st.integers(1, 300), number=st.sampled_from([errno.ENOSPC, errno.EIO]))
        def fail_at(self, call, number):
            """Run with one failing call of the write door."""
            left = iter(range(call, -(10**9), -1))

            def fail(step, path):
                if next(left) == 0:
                    raise OSError(number, os.strerror(number), str(path))

            set_write_hook(fail)
            try:
                kit.prepare(self.out, scheduler="sync")
            except StorageError:
                pass
            else:
                self.finished = True
            finally:
                set_write_hook(None)

        @precondition(lambda self: self.files())
        @rule(data=st.data(), how=st.sampled_from(["cut", "zero", "delete", "flip", "append"]))
        def damage(self, data, how):
            """Damage a file of the store."""
            path = data.draw(st.sampled_from(self.files()))
            content = path.read_bytes()
            if how == "delete":
                path.unlink()
            elif how == "cut":
                path.write_bytes(content[: len(content) // 2])
            elif how == "zero":
                path.write_bytes(b"\0" * len(content))
            elif how == "append":
                path.write_bytes(content + b"\0")
            elif content:
                place = data.draw(st.integers(0, len(content) - 1))
                path.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])

        @rule(scheduler=st.sampled_from(["sync", "threads"]))
        def finish(self, scheduler):
            """Run to the end: whatever came before, the bytes are those of a calm run."""
            kit.prepare(self.out, scheduler=scheduler)
            self.finished = True
            assert kit.tree_digest(self.out) == calm
            assert kit.leftovers(self.out) == []

        def files(self):
            # A torn lock is not ours to judge: it stays until somebody unlocks the store (see test_busy).
            paths = (path for path in self.out.rglob("*") if "runs" not in path.parts and path.name != "lock")
            return sorted(path for path in paths if path.is_file())

        def teardown(self):
            kit.prepare(self.out)
            assert kit.tree_digest(self.out) == calm
            shutil.rmtree(self.folder)

    return Store


@pytest.mark.parametrize("examples", [8, pytest.param(80, marks=pytest.mark.slow)])
def test_whatever_happens_the_same_command_ends_in_the_same_bytes(small_kit, small_calm, examples):
    run_state_machine_as_test(
        machine_of(small_kit, small_calm),
        settings=settings(
            max_examples=examples, stateful_step_count=8, deadline=None, database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )  # fmt: skip
