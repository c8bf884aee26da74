"""Reports of evaluations: all that is known about a run's results, as a page for people and files for machines."""

from pose_data.report.judgement import Judgement, judge
from pose_data.report.write import ReportFiles, report_on_split, write_report

__all__ = ["Judgement", "ReportFiles", "judge", "report_on_split", "write_report"]
