"""Whether a probability of 0.8 is right in eight cases of ten, and the one number that mends it: a temperature.

Guo et al. 2017, On Calibration of Modern Neural Networks (arXiv 1706.04599): dividing the logits by a temperature,
fitted where the model did not train, changes no answer and takes away most of a network's overconfidence.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

BINS = 10  # of equal width: with a few hundred documents more of them would hold chance alone
MAX_TEMPERATURE = 20.0  # the least is its inverse


def fit_temperature(logits: npt.ArrayLike, true: Sequence[int]) -> float:
    """The temperature at which ``logits`` (documents, classes) give the ``true`` classes the least loss.

    One more document, of all classes in equal parts, keeps it finite where every answer is right.
    """
    from scipy.optimize import minimize_scalar

    table, rows = np.asarray(logits, np.float64), np.arange(len(true))

    def loss(log_temperature: float) -> float:
        nats = -_log_softmax(table / np.exp(log_temperature))
        return float(nats[rows, true].sum() + nats.mean())

    limit = np.log(MAX_TEMPERATURE)
    return float(np.exp(minimize_scalar(loss, bounds=(-limit, limit), method="bounded").x))


def at_temperature(probabilities: npt.ArrayLike, temperature: float) -> Floats:
    """``probabilities`` (documents, classes) as they would be with their logits divided by ``temperature``."""
    logs = np.log(np.maximum(np.asarray(probabilities, np.float64), np.finfo(np.float64).tiny))
    return np.asarray(np.exp(_log_softmax(logs / temperature)))


def reliability(probabilities: npt.ArrayLike, true: Sequence[int]) -> dict[str, Any]:
    """How far ``probabilities`` (documents, classes) can be believed.

    ``ece``: expected calibration error, the mean gap between the probability of the answer and the share of right
    answers, over ``bins`` of that probability, weighted by documents; ``nats``: the mean loss of the true class.
    """
    table = np.asarray(probabilities, np.float64)
    confidence, correct = table.max(-1), table.argmax(-1) == np.asarray(true)
    bin_of = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    bins = [
        {
            "from": bin / BINS,
            "to": (bin + 1) / BINS,
            "documents": int(inside.sum()),
            "confidence": float(confidence[inside].mean()),
            "accuracy": float(correct[inside].mean()),
        }
        for bin in range(BINS)
        if (inside := bin_of == bin).any()
    ]
    tiny = np.finfo(np.float64).tiny
    return {
        "ece": sum(b["documents"] * abs(b["confidence"] - b["accuracy"]) for b in bins) / len(confidence),
        "nats": float(-np.log(np.maximum(table[np.arange(len(confidence)), true], tiny)).mean()),
        "confidence": float(confidence.mean()),
        "bins": bins,
    }


def before_and_after(
    probabilities: npt.NDArray[Any], true: npt.NDArray[np.integer[Any]], temperature: float | None
) -> dict[str, Any]:
    """``reliability`` of ``probabilities`` (documents, classes) at ``temperature``, and as they were without it.

    ``true``: classes (documents), or 0 and 1 (documents, classes) where a document may have several: each decision then
    counts by itself. Without a temperature there is no before.
    """
    if true.ndim == 2:
        probabilities, true = np.stack([1 - probabilities.ravel(), probabilities.ravel()], 1), true.ravel()
    after = {"after": reliability(probabilities, true.tolist())}
    if temperature is None:
        return after
    before = reliability(at_temperature(probabilities, 1 / temperature), true.tolist())
    return {"temperature": temperature, "before": before, **after}


def softmax(table: npt.ArrayLike) -> Floats:
    """Probabilities from logits (documents, classes)."""
    return np.asarray(np.exp(_log_softmax(np.asarray(table, np.float64))))


def _log_softmax(table: Floats) -> Floats:
    table = table - table.max(-1, keepdims=True)
    return np.asarray(table - np.log(np.exp(table).sum(-1, keepdims=True)))
