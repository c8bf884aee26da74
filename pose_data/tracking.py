"""Persons followed over the frames of a video, by object keypoint similarity, with ids that stay.

A track expects its person where a constant speed would bring it. Pairs of track and detection whose similarity reaches
a floor are matched, the best first; a track that finds nobody is kept for a while, a detection that finds no track
begins one. Ids count from 1 and are never used again.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pose_data.errors import UsageError
from pose_data.evaluation.oks import variances
from pose_data.smoothing import OneEuro, Smoothing

__all__ = ["Tracker", "Tracking", "similarity_matrix"]

_Float = npt.NDArray[np.float64]
_PLAIN_SIGMA = 0.08
"""For skeletons that have no sigmas: about the mean of COCO's large joints."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracking:
    """When a person of one frame is taken for a person of the frames before."""

    least_similarity: float = 0.2
    """Of a match, 0 to 1."""
    kept_s: float = 1.0
    """How long a person may be out of sight."""
    least_score: float = 0.2
    """Keypoints below it are not compared."""
    smoothing: Smoothing | None = field(default_factory=Smoothing)
    """None leaves positions as they are."""

    def __post_init__(self) -> None:
        if not 0.0 < self.least_similarity <= 1.0 or self.kept_s < 0.0:
            raise UsageError("option-value", f"{self}: a similarity is above 0 and up to 1, a time not below 0")


class _Track:
    def __init__(self, number: int, smoothing: Smoothing | None) -> None:
        self.number = number
        self.keypoints: _Float = np.zeros((0, 3))
        self.area, self.time_s = 0.0, 0.0
        self.velocity: _Float = np.zeros(2)
        self._filter = OneEuro(smoothing) if smoothing else None

    def expected(self, time_s: float) -> _Float:
        moved = self.keypoints.copy()
        moved[:, :2] += self.velocity * (time_s - self.time_s)
        return moved

    def take(self, keypoints: _Float, area: float, time_s: float, least_score: float) -> _Float:
        """Accept what was detected; return the keypoints to show."""
        if len(self.keypoints) and time_s > self.time_s:
            both = (self.keypoints[:, 2] >= least_score) & (keypoints[:, 2] >= least_score)
            chosen = both if both.any() else np.ones(len(keypoints), bool)
            step = np.median(keypoints[chosen, :2] - self.keypoints[chosen, :2], axis=0) / (time_s - self.time_s)
            self.velocity = 0.5 * self.velocity + 0.5 * step
        self.keypoints, self.area, self.time_s = keypoints.copy(), area, time_s
        if self._filter is None:
            return keypoints
        shown = keypoints.copy()
        shown[:, :2] = self._filter.filtered(keypoints[:, :2], time_s, float(np.sqrt(area)))
        return shown


class Tracker:
    """Gives the persons of each frame their ids; make one for each video."""

    def __init__(self, options: Tracking, sigmas: tuple[float, ...], *, first_id: int = 1) -> None:
        self._options, self._sigmas = options, sigmas
        self.next_id = first_id
        self._tracks: list[_Track] = []

    def follow(self, keypoints: _Float, area: _Float, time_s: float) -> tuple[npt.NDArray[np.int64], _Float]:
        """Return ids (D,) and keypoints (D, K, 3), smoothed, of a frame's persons.

        ``keypoints`` (D, K, 3) x, y, score in the picture, ``area`` (D,) square pixels, ``time_s`` never going back.
        """
        options = self._options
        self._tracks = [track for track in self._tracks if time_s - track.time_s <= options.kept_s]
        owner = self._owners(keypoints, area, time_s)
        ids, shown = np.zeros(len(keypoints), np.int64), keypoints.copy()
        for person, track in enumerate(owner):
            if track is None:
                track = _Track(self.next_id, options.smoothing)
                self.next_id += 1
                self._tracks.append(track)
            ids[person] = track.number
            shown[person] = track.take(keypoints[person], float(area[person]), time_s, options.least_score)
        return ids, shown

    def _owners(self, keypoints: _Float, area: _Float, time_s: float) -> list[_Track | None]:
        owner: list[_Track | None] = [None] * len(keypoints)
        if not self._tracks or not len(keypoints):
            return owner
        expected = np.stack([track.expected(time_s) for track in self._tracks])
        areas = np.array([track.area for track in self._tracks])
        similarity = similarity_matrix(expected, areas, keypoints, area, self._sigmas, least=self._options.least_score)
        free = np.ones(len(self._tracks), bool)
        for place in np.argsort(-similarity, axis=None, kind="stable").tolist():
            track, person = divmod(place, len(keypoints))
            if similarity[track, person] < self._options.least_similarity:
                break
            if free[track] and owner[person] is None:
                owner[person], free[track] = self._tracks[track], False
        return owner


def similarity_matrix(
    first: _Float, first_area: _Float, second: _Float, second_area: _Float, sigmas: tuple[float, ...], *, least: float
) -> _Float:
    """Return (A, B) similarities of persons (A, K, 3) and (B, K, 3): OKS with the mean of both areas.

    Keypoints count where both scores reach ``least``; where none do, all of them count.
    """
    count = first.shape[1]
    spread = variances(sigmas if len(sigmas) == count else (_PLAIN_SIGMA,) * count)
    square = ((first[:, None, :, :2] - second[None, :, :, :2]) ** 2).sum(axis=3)
    area = (first_area[:, None] + second_area[None, :]) / 2.0
    values = np.exp(-square / spread / np.maximum(area, 1.0)[..., None] / 2.0)
    counted = (first[:, None, :, 2] >= least) & (second[None, :, :, 2] >= least)
    counted |= ~counted.any(axis=2, keepdims=True)
    similarity: _Float = (values * counted).sum(axis=2) / counted.sum(axis=2)
    return similarity
