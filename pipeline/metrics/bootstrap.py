"""How sure a score is, with so few test documents: bootstrap over documents.

Documents are drawn with replacement, and every figure is computed anew from the draw; the middle 95 % of its values
is the interval (percentile method: Efron and Tibshirani 1993, An Introduction to the Bootstrap, ch. 13). Two systems
are compared on the same draws (paired: Koehn 2004, aclanthology.org/W04-3250).
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
CHUNK = 100  # draws at once, for memory
DIGITS = 12  # of a difference: those beyond are rounding's, and could lie on either side of zero


def draws(documents: int, resamples: int) -> Floats:
    """How often each document is drawn: (resamples, documents), float64, each row adding up to ``documents``.

    The same numbers give the same draws.
    """
    rng, drawn = np.random.default_rng(0), np.empty((resamples, documents))
    for start in range(0, resamples, CHUNK):  # in whole numbers, they would all be held twice
        part = drawn[start : start + CHUNK]
        part[:] = rng.multinomial(documents, [1 / documents] * documents, len(part))
    return drawn


def confusions(drawn: Floats, predicted: npt.ArrayLike, true: npt.ArrayLike, classes: int) -> Floats:
    """The confusion matrix of each draw: (resamples, classes true, classes predicted)."""
    cells = np.asarray(true) * classes + np.asarray(predicted)
    counts = [np.bincount(cells, weights=draw, minlength=classes**2) for draw in drawn]
    return np.stack(counts).astype(float).reshape(-1, classes, classes)


def accuracy(matrices: Floats) -> Floats:
    """(…, classes, classes) → (…)"""
    return np.asarray(np.trace(matrices, axis1=-2, axis2=-1) / matrices.sum((-2, -1)))


def macro_f1(matrices: Floats) -> Floats:
    """The mean over the classes that documents of the draw are of."""
    return _mean_of(_f1(matrices), matrices.sum(-1) > 0)


def weighted_f1(matrices: Floats) -> Floats:
    true = matrices.sum(-1)
    return np.asarray((_f1(matrices) * true).sum(-1) / true.sum(-1))


def mcc(matrices: Floats) -> Floats:
    total, true, predicted = matrices.sum((-2, -1)), matrices.sum(-1), matrices.sum(-2)
    covariance = np.trace(matrices, axis1=-2, axis2=-1) * total - (true * predicted).sum(-1)
    spread = np.sqrt((total**2 - (predicted**2).sum(-1)) * (total**2 - (true**2).sum(-1)))
    return np.asarray(np.divide(covariance, spread, out=np.zeros_like(covariance), where=spread > 0))


def _f1(matrices: Floats) -> Floats:
    hits = np.diagonal(matrices, axis1=-2, axis2=-1)
    both = matrices.sum(-1) + matrices.sum(-2)
    return _share(2 * hits, both)


def _mean_of(figures: Floats, counted: npt.NDArray[np.bool_]) -> Floats:
    """The mean along the last axis, over what is ``counted``; 0 where nothing is."""
    return _share((figures * counted).sum(-1), counted.sum(-1, dtype=float))


def _share(part: Floats, whole: Floats) -> Floats:
    """0 where there is nothing to have a share of."""
    return np.asarray(np.divide(part, whole, out=np.zeros_like(part), where=whole > 0))


def mean_absolute_error(matrices: Floats) -> Floats:
    """The mean distance of the predicted class from the true one, in places."""
    return np.asarray((matrices * _distances(matrices)).sum((-2, -1)) / matrices.sum((-2, -1)))


def quadratic_weighted_kappa(matrices: Floats) -> Floats:
    """One less the squared distances that there are over those that chance would leave; 1 where there are none."""
    weights, total = _distances(matrices) ** 2, matrices.sum((-2, -1))
    chance = matrices.sum(-1)[..., :, None] * matrices.sum(-2)[..., None, :]
    found, expected = (matrices * weights).sum((-2, -1)) * total, (chance * weights).sum((-2, -1))
    return 1 - np.asarray(np.divide(found, expected, out=np.zeros_like(found), where=expected > 0))


def _distances(matrices: Floats) -> Floats:
    places = np.arange(matrices.shape[-1], dtype=float)
    return np.abs(places[:, None] - places)


FIGURES: dict[str, Callable[[Floats], Floats]] = {
    "accuracy": accuracy,
    "macro_f1": macro_f1,
    "weighted_f1": weighted_f1,
    "mcc": mcc,
}
OF_ORDER = {"mean_absolute_error": mean_absolute_error, "quadratic_weighted_kappa": quadratic_weighted_kappa}


def resampled(
    drawn: Floats, seeds: Sequence[npt.ArrayLike], true: npt.ArrayLike, classes: int, *, ordered: bool = False
) -> dict[str, Floats]:
    """Every figure of every draw (resamples), averaged over the ``seeds``' predicted classes."""
    table = np.asarray(true)
    if table.ndim == 2:
        return _resampled_multi_label(drawn, seeds, table)
    figures = FIGURES | OF_ORDER if ordered else FIGURES
    sums = {name: np.zeros(len(drawn)) for name in figures}
    for predicted in seeds:
        for start in range(0, len(drawn), CHUNK):
            part = slice(start, start + CHUNK)
            matrices = confusions(drawn[part], predicted, true, classes)
            for name, figure in figures.items():
                sums[name][part] += figure(matrices)
    return {name: total / len(seeds) for name, total in sums.items()}


def _resampled_multi_label(drawn: Floats, seeds: Sequence[npt.ArrayLike], true: npt.NDArray[Any]) -> dict[str, Floats]:
    """``resampled`` where ``seeds`` and ``true`` hold 0 or 1 for each class: (documents, classes)."""
    sums = {name: np.zeros(len(drawn)) for name in ("accuracy", "micro_f1", "macro_f1")}
    occurring = drawn @ true > 0
    for predicted in map(np.asarray, seeds):
        hits, both = drawn @ (predicted & true), drawn @ (predicted + true)
        sums["accuracy"] += drawn @ (predicted == true).all(1) / drawn.sum(1)
        sums["micro_f1"] += _share(2 * hits.sum(1), both.sum(1))
        sums["macro_f1"] += _mean_of(_share(2 * hits, both), occurring)
    return {name: total / len(seeds) for name, total in sums.items()}


def interval(values: Floats) -> tuple[float, float]:
    """The ends of the middle 95 %."""
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)
