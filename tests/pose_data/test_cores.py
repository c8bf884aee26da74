"""Cores that this process may use."""

import os

from pose_data.cores import usable_cores


def test_cores_are_those_that_the_system_lets_us_run_on(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {1, 4, 6}, raising=False)
    assert usable_cores() == 3


def test_where_the_system_does_not_say_all_cores_count(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 5)
    assert usable_cores() == 5
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert usable_cores() == 1
