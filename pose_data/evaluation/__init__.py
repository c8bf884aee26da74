"""OKS evaluation: equal to COCO's in every bit, from arrays, on NumPy alone."""

from pose_data.evaluation.average_precision import NUMBERS, Result, evaluate
from pose_data.evaluation.matching import EvaluationOptions
from pose_data.evaluation.people import Detections, GroundTruth

__all__ = ["NUMBERS", "Detections", "EvaluationOptions", "GroundTruth", "Result", "evaluate"]
