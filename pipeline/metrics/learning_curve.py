"""Accuracy against the number of labels: how two curves differ, and where one reaches a height."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from pipeline.metrics.bootstrap import DIGITS, Floats, interval


def contrasts(ours: Mapping[int, Floats], theirs: Mapping[int, Floats], drawn: Floats) -> dict[str, Any]:
    """By how much our curve starts higher, rises more steeply and ends higher than theirs, in shares of 1.

    A curve holds, by number of labels, the share of seeds that are right on each document (documents). ``drawn``: how
    often each draw takes every document (resamples, documents). The slope is that of a straight line through accuracy
    against the logarithm of the labels, in shares a doubling. Each figure comes with ``low`` and ``high``, the ends of
    the 95 % interval of a paired bootstrap over documents. Both curves are read where both have been measured.
    """
    labels = sorted(ours.keys() & theirs.keys())
    gaps = np.stack([ours[count] - theirs[count] for count in labels])
    doublings = np.log2(labels) - np.log2(labels).mean()
    figures = {"start": gaps[0], "slope": doublings @ gaps / (doublings @ doublings), "end": gaps[-1]}
    found: dict[str, Any] = {"from": labels[0], "to": labels[-1]}
    for name, figure in figures.items():
        each = figure.round(DIGITS)
        low, high = interval(drawn @ each / len(each))
        found[name] = {"mean": float(each.mean()), "low": low, "high": high}
    return found


def labels_until(accuracy: float, curve: Sequence[tuple[int, float]]) -> float | None:
    """How many labels it takes to reach ``accuracy``; None where no point of ``curve`` does.

    Between two points, (labels, accuracy), the curve is straight over the logarithm of the labels. One that is there at
    its first point may have been before.
    """
    if curve[0][1] >= accuracy:
        return curve[0][0]
    for (labels, low), (more, high) in pairwise(curve):
        if low < accuracy <= high:
            return labels * math.exp(math.log(more / labels) * (accuracy - low) / (high - low))
    return None
