"""One row for every annotated person and every detection that took part, as Parquet."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pose_data.evaluation.groups import person_oks
from pose_data.evaluation.localisation import Kind
from pose_data.report.judgement import Judgement

__all__ = ["persons_parquet", "persons_table"]

_KINDS = ["good", "jitter", "inversion", "swap", "miss"]


def persons_table(judgement: Judgement) -> pa.Table:
    """Return the table: persons first, in the annotations' order, then detections in the results' order.

    ``fate`` of a person: found, missed, ignored. Of a detection: found, duplicate, background, ignored. ``kinds`` and
    ``similarities`` have a value for each keypoint of a detection that found a counted person.
    """
    return pa.concat_tables([_persons(judgement), _detections(judgement)])


def persons_parquet(judgement: Judgement) -> bytes:
    """Return the table as the bytes of a Parquet file."""
    file = io.BytesIO()
    pq.write_table(persons_table(judgement), file, compression="zstd")
    return file.getvalue()


_SCHEMA = pa.schema(
    [
        ("role", pa.string()), ("fate", pa.string()), ("image_id", pa.int64()), ("annotation_id", pa.int64()),
        ("detection", pa.int64()), ("score", pa.float64()), ("oks", pa.float64()), ("area", pa.float64()),
        ("labelled_keypoints", pa.int64()), ("kinds", pa.list_(pa.string())), ("similarities", pa.list_(pa.float64())),
    ]
)  # fmt: skip


def _persons(judgement: Judgement) -> pa.Table:
    truth, found = judgement.result.truth, judgement.found
    fate = np.where(truth.ignored, "ignored", "found").astype(object)
    fate[found.missed] = "missed"
    detection = np.full(len(truth.area), -1)
    detection[found.person] = found.detection
    oks = person_oks(truth, found)
    empty = pa.nulls(len(fate), pa.list_(pa.string())), pa.nulls(len(fate), pa.list_(pa.float64()))
    return pa.table(
        [
            pa.array(["person"] * len(fate), pa.string()), pa.array(fate.tolist(), pa.string()),
            pa.array(truth.image_id), pa.array(truth.annotation_id), _or_null(detection),
            pa.nulls(len(fate), pa.float64()), pa.array(oks, mask=truth.ignored), pa.array(truth.area),
            pa.array((truth.keypoints[..., 2] > 0).sum(axis=1)), *empty,
        ],
        schema=_SCHEMA,
    )  # fmt: skip


def _detections(judgement: Judgement) -> pa.Table:
    truth, detections, found = judgement.result.truth, judgement.result.detections, judgement.found
    rows = np.sort(found.matching.detection)
    fate = np.full(len(detections), "ignored", object)
    fate[found.detection], fate[found.duplicate], fate[found.background] = "found", "duplicate", "background"
    place = np.full(len(detections), -1)
    place[found.detection] = np.arange(len(found.detection))
    places = place[rows]
    matched = places >= 0
    annotation, oks = np.full(len(rows), -1), np.full(len(rows), np.nan)
    if matched.any():
        annotation[matched] = truth.annotation_id[found.person[places[matched]]]
        oks[matched] = found.oks[places[matched]]
    return pa.table(
        [
            pa.array(["detection"] * len(rows), pa.string()), pa.array(fate[rows].tolist(), pa.string()),
            pa.array(detections.image_id[rows]), pa.array(annotation, mask=~matched), pa.array(rows.astype(np.int64)),
            pa.array(detections.score[rows]), pa.array(oks, mask=~matched), pa.nulls(len(rows), pa.float64()),
            pa.nulls(len(rows), pa.int64()), _kinds(judgement, places), _similarities(judgement, places),
        ],
        schema=_SCHEMA,
    )  # fmt: skip


def _kinds(judgement: Judgement, places: "np.ndarray[tuple[int], np.dtype[np.int64]]") -> pa.Array:
    kind = judgement.found.kind
    names = {int(value): None if value == Kind.UNLABELLED else value.name.lower() for value in Kind}
    lists = [[names[value] for value in kind[place].tolist()] if place >= 0 else None for place in places.tolist()]
    return pa.array(lists, pa.list_(pa.string()))


def _similarities(judgement: Judgement, places: "np.ndarray[tuple[int], np.dtype[np.int64]]") -> pa.Array:
    similarity = judgement.found.similarity
    lists = [
        [None if value != value else value for value in similarity[place].tolist()] if place >= 0 else None
        for place in places.tolist()
    ]
    return pa.array(lists, pa.list_(pa.float64()))


def _or_null(values: "np.ndarray[tuple[int], np.dtype[np.int64]]") -> pa.Array:
    return pa.array(values.astype(np.int64), mask=values < 0)
