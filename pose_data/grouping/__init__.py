"""Persons from confidence maps and part affinity fields: peaks, limbs, assignment, assembly. NumPy only."""

from pose_data.grouping.options import GROUPINGS, GroupingOptions, find_grouping
from pose_data.grouping.persons import Persons, group_persons

__all__ = ["GROUPINGS", "GroupingOptions", "Persons", "find_grouping", "group_persons"]
