"""A generated sample data set in COCO's format: drawn persons with exact keypoints, masks and boxes.

It needs no download and is the same for everybody: every byte follows from the seed. Pictures are drawn from
articulated bodies (``figure``), clothed (``wardrobe``, ``materials``), cast to depth and normals (``surfaces``) and
shaded (``rendering``), in front of painted places (``background``, ``objects``, ``canvas``), composed by ``scene``,
labelled by ``annotation`` and written by ``generate``.
"""

from pose_data.sample.generate import SampleSummary, generate_sample
from pose_data.sample.plan import PicturePlan, plan_pictures

__all__ = ["PicturePlan", "SampleSummary", "generate_sample", "plan_pictures"]
