"""What a classifier decides, where classes exclude each other and where a document may have several (multi-label).

Truth and decisions are classes (documents) in the one case, and 0 or 1 for each class (documents, classes) in the
other, where a class is given from a probability of a half.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.metrics import calibration

Table = npt.NDArray[np.floating[Any]]
Truth = npt.NDArray[np.integer[Any]]


def probabilities(logits: npt.ArrayLike, *, multi_label: bool) -> Table:
    """(documents, classes), from logits of that shape; rows sum to 1 unless there may be several."""
    table = np.asarray(logits, np.float64)
    if multi_label:
        return calibration.softmax(in_pairs(table))[:, 1].reshape(table.shape)
    return calibration.softmax(table)


def decided(table: npt.NDArray[Any], *, multi_label: bool) -> Truth:
    """The decisions that the probabilities in ``table`` (documents, classes) stand for."""
    return (table >= 0.5).astype(int) if multi_label else np.asarray(table.argmax(-1))


def right(decisions: npt.ArrayLike, truth: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Of which documents all is decided as it should be: (documents)."""
    same = np.asarray(decisions) == np.asarray(truth)
    return np.asarray(same.reshape(len(same), -1).all(1))


def accuracy_and_nats(table: Table, truth: npt.ArrayLike) -> dict[str, float]:
    """Accuracy and loss in nats a document of probabilities (documents, classes)."""
    truth = np.asarray(truth)
    likelihood = of_truth(table, truth)
    return {
        "accuracy": float(right(decided(table, multi_label=truth.ndim == 2), truth).mean()),
        "nats": float(-np.log(np.maximum(likelihood, 1e-12)).reshape(len(truth), -1).sum(1).mean()),
    }


def of_truth(table: Table, truth: Truth) -> Table:
    """The probability of the true class (documents), or of what is true of each class (documents, classes)."""
    return np.where(truth, table, 1 - table) if truth.ndim == 2 else table[np.arange(len(truth)), truth]


def fit_temperature(logits: npt.ArrayLike, truth: Truth) -> float:
    """``calibration.fit_temperature``; where there may be several classes, of each decision by itself."""
    if truth.ndim == 2:
        return calibration.fit_temperature(in_pairs(np.asarray(logits)), truth.ravel().tolist())
    return calibration.fit_temperature(logits, truth.tolist())


def in_pairs(logits: Table) -> Table:
    """Each logit as one of two classes, no and yes: (documents × classes, 2)."""
    return np.stack([np.zeros(logits.size), logits.ravel()], 1)


def names(decision: Any, labels: Sequence[str]) -> str | list[str]:
    """The label that a document's decision stands for, or the list of them."""
    if np.ndim(decision) == 0:
        return labels[int(decision)]
    return [label for label, given in zip(labels, decision, strict=True) if given]
