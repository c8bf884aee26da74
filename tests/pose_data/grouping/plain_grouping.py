"""Grouping written for reading: loops over single numbers, as the definitions go. Slow, and the tests' measure."""

import itertools
import math

import numpy as np


def peaks_of_map(values, options):
    """Return [x, y, score] of the peaks of one enlarged map, in the order of x, then y."""
    height, width = values.shape
    found = []
    for x in range(width):
        for y in range(height):
            here = values[y, x]
            if here < options.minimum_peak:
                continue
            before = [values[y, x - 1]] if x else []
            before += [values[y - 1, x]] if y else []
            after = [values[y, x + 1]] if x + 1 < width else []
            after += [values[y + 1, x]] if y + 1 < height else []
            if all(here > value for value in before) and all(here >= value for value in after):
                found.append([x, y, float(here)])
    strongest = sorted(found, key=lambda peak: -peak[2])[: options.maximum_peaks]
    found = [refined(values, peak) if options.refine else peak for peak in strongest]
    found.sort(key=lambda peak: (peak[0], peak[1]))
    if options.peak_priority == "strongest":
        found.sort(key=lambda peak: -peak[2])
    kept = []
    for peak in found:
        near = options.peak_distance_cells * options.upsample
        if all((peak[0] - other[0]) ** 2 + (peak[1] - other[1]) ** 2 >= near * near for other in kept):
            kept.append(peak)
    kept.sort(key=lambda peak: (peak[0], peak[1]))
    return kept


def refined(values, peak):
    """Return the peak moved to the top of the parabolas through the logarithms."""
    x, y, _ = peak

    def log_at(column, row):
        return math.log(max(float(values[row, column]), 1e-3))

    moved, top = [float(x), float(y)], log_at(x, y)
    for axis, (cell, size) in enumerate(((x, values.shape[1]), (y, values.shape[0]))):
        if not 0 < cell < size - 1:
            continue
        before, after = (log_at(x + dx, y) if axis == 0 else log_at(x, y + dx) for dx in (-1, 1))
        bend = 2 * log_at(x, y) - before - after
        if bend > 1e-12:
            step = min(max((after - before) / 2 / bend, -0.5), 0.5)
            moved[axis] = cell + step
            top += step * (after - before) / 2 - step * step * bend / 2
    return [*moved, math.exp(top)]


def sample(field, x, y, options):
    """Return the vector of one limb's field (2, h, w) at a place."""
    _, height, width = field.shape
    x, y = (value + options.field_offset_cells * options.upsample for value in (x, y))
    if options.sampling == "nearest":
        return field[:, min(round(y), height - 1), min(round(x), width - 1)].astype(float)
    left, above = math.floor(x), math.floor(y)
    total = np.zeros(2)
    for dx in (0, 1):
        for dy in (0, 1):
            weight = (1 - abs(x - left - dx)) * (1 - abs(y - above - dy))
            total += weight * field[:, min(above + dy, height - 1), min(left + dx, width - 1)]
    return total


def limb_score(field, start, end, options):
    """Return the score of one pair of peaks, or None when it cannot be a limb."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    length = math.hypot(dx, dy)
    if length == 0:
        return None
    passed = []
    for place in range(options.sample_count):
        x = start[0] + place * (dx / (options.sample_count - 1))
        y = start[1] + place * (dy / (options.sample_count - 1))
        vector = sample(field, x, y, options)
        along = vector[0] * dx / length + vector[1] * dy / length
        if along > options.minimum_field:
            passed.append(along)
    if not passed or not len(passed) / options.sample_count > options.minimum_share:
        return None
    score = sum(passed) / len(passed)
    if options.penalise_length:
        score += min(field.shape[1] // 2 / length - 1, 0)
    return score if score > 0 else None


def greedy(pairs):
    """Return the pairs (start, end, score) that are left when the best take their peaks."""
    kept = []
    for start, end, score in sorted(pairs, key=lambda pair: -pair[2]):
        if all(start != other[0] and end != other[1] for other in kept):
            kept.append((start, end, score))
    return kept


def best_total(pairs):
    """Return the greatest sum of scores of pairs that share no peak, by trying all."""
    if not pairs:
        return 0.0
    (start, end, score), *others = pairs
    free = [pair for pair in others if pair[0] != start and pair[1] != end]
    return max(best_total(others), score + best_total(free))


def persons(maps, fields, table, options):
    """Return [({keypoint: peak}, score, count)] of one picture's enlarged maps and fields, greedily assigned."""
    peaks = [peaks_of_map(values, options) for values in maps]
    found: list[dict] = []
    for limb, near, far, closing in table.steps():
        start, end = table.limbs[limb]
        pairs = [
            (i, j, score)
            for i, one in enumerate(peaks[start])
            for j, other in enumerate(peaks[end])
            if (score := limb_score(fields[2 * limb : 2 * limb + 2], one, other, options)) is not None
        ]
        for i, j, score in greedy(pairs):
            ends = {start: i, end: j}
            if closing and options.closing == "copy":
                for person in found:
                    has_near, has_far = (person["has"].get(k) for k in (near, far))
                    if has_near == ends[near] and has_far is None:
                        person["has"][far] = ends[far]
                    elif has_far == ends[far] and has_near is None:
                        person["has"][near] = ends[near]
            elif closing:
                merge(found, ends, near, far, score, peaks)
            else:
                grow(found, ends, near, far, score, peaks)
    whole = [one for one in found if one["has"]]
    return [
        ({k: peaks[k][i] for k, i in one["has"].items()}, one["score"], one["count"])
        for one in whole
        if one["count"] >= options.minimum_joints and one["score"] >= options.minimum_mean_score * one["count"]
    ]


def has_ties(maps, fields, table, options):
    """Return whether two pairs of one limb have the same score but for rounding: then nothing says which is better.

    It happens where places of two lines fall into the same cells, as they do with few and large cells.
    """
    if options.sampling != "nearest":
        return False
    peaks = [peaks_of_map(values, options) for values in maps]
    for limb, (start, end) in enumerate(table.limbs):
        field = fields[2 * limb : 2 * limb + 2]
        pairs = ((one, other) for one in peaks[start] for other in peaks[end])
        scores = sorted(score for pair in pairs if (score := limb_score(field, *pair, options)) is not None)
        if any(after - before < 1e-9 for before, after in itertools.pairwise(scores)):
            return True
    return False


def grow(found, ends, near, far, score, peaks):
    """Give the person of the nearer peak the farther one, or begin a person."""
    for person in found:
        if person["has"].get(near) == ends[near]:
            break
    else:
        person = {"has": {near: ends[near]}, "score": peaks[near][ends[near]][2], "count": 1}
        found.append(person)
    person["has"][far] = ends[far]
    person["score"] += peaks[far][ends[far]][2] + score
    person["count"] += 1


def merge(found, ends, near, far, score, peaks):
    """Join the persons at both ends, or give one of them the free peak."""
    holders = [next((one for one in found if one["has"].get(k) == ends[k]), None) for k in (near, far)]
    if holders[0] is holders[1]:
        return
    if None not in holders:
        first, second = sorted(holders, key=found.index)
        if not set(first["has"]) & set(second["has"]):
            first["has"].update(second["has"])
            first["score"] += second["score"] + score
            first["count"] += second["count"]
            second["has"] = {}
        return
    one, missing = (holders[0], far) if holders[0] else (holders[1], near)
    if missing not in one["has"]:
        one["has"][missing] = ends[missing]
        one["score"] += peaks[missing][ends[missing]][2] + score
        one["count"] += 1
