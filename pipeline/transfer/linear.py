"""A linear classifier on what the characters of a document say, and the layers of a frozen body.

Both stand side by side: TF-IDF of character n-grams, weighed for each class; and the mean vector of each layer, centred
and of length one, times a weight. Weights and regularisation are those that are right most often in a cross-validation
on the training documents, so a layer that adds nothing gets the weight 0.
"""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import sparse

from pipeline.metrics.decisions import Truth, probabilities, temperature

Floats = npt.NDArray[np.floating[Any]]

FOLDS = 5
WEIGHTS = (0.0, 0.4, 0.8)  # of a layer beside the lexical part, whose length is one, too
REGULARISATION: dict[str, tuple[float, ...]] = {"svm": (1.0, 3.0), "logistic": (10, 100), "neighbours": (5, 10, 20)}
FILE = "linear.skops"


class Choice(NamedTuple):
    """What a cross-validation settles."""

    machine: str
    lexical: bool
    weights: tuple[float, ...]  # one a layer
    regularisation: float  # C, or the number of neighbours
    accuracy: float
    lexical_accuracy: float | None  # without the layers


class Linear(NamedTuple):
    """A fitted classifier of classes 0, 1, …; of each by itself, where a document may have several."""

    lexical: Any  # TfidfVectorizer, or None
    centres: Floats  # (layers, width)
    weights: Floats  # (layers)
    machine: Any  # of scikit-learn
    temperature: float

    def probabilities(self, texts: Sequence[str], vectors: Floats) -> Floats:
        """Of the classes: (documents, classes). ``vectors``: (documents, layers, width)."""
        words = self.lexical.transform(texts) if self.lexical else None
        rows = _joined(words, vectors - self.centres, self.weights)
        method = "decision_function" if hasattr(self.machine, "decision_function") else "predict_proba"
        logits = _logits(getattr(self.machine, method)(rows), method)
        return probabilities(logits / self.temperature, several=self.several)

    @property
    def several(self) -> bool:
        return bool(getattr(self.machine, "multilabel_", False))


def choose(texts: Sequence[str], vectors: Floats, truth: npt.ArrayLike, machine: str, *, lexical: bool) -> Choice:
    """Try every combination on documents with their ``vectors`` (documents, layers, width).

    ``truth``: classes (documents), or 0 and 1 (documents, classes), where each class gets a machine of its own.
    """
    from sklearn.model_selection import cross_val_score

    from pipeline.transfer.lexical import tfidf

    truth = np.asarray(truth)
    words, vectors = tfidf().fit_transform(texts) if lexical else None, vectors - vectors.mean(0)
    accuracy = {
        (weights, regularisation): float(
            cross_val_score(
                _machine(machine, regularisation, truth, words),
                _joined(words, vectors, weights),
                truth,
                cv=stratified(truth),
            ).mean()
        )
        for weights in itertools.product(WEIGHTS, repeat=vectors.shape[1])
        for regularisation in REGULARISATION[machine]
        if lexical or any(weights)
    }
    best = max(accuracy, key=lambda choice: accuracy[choice])
    alone = max((each for (weights, _), each in accuracy.items() if not any(weights)), default=None)
    return Choice(machine, lexical, *best, accuracy[best], alone)


def fit(texts: Sequence[str], vectors: Floats, truth: npt.ArrayLike, choice: Choice) -> Linear:
    """Learn as ``choice`` says. The temperature is fitted on documents that a cross-validation left out."""
    from sklearn.model_selection import cross_val_predict

    from pipeline.transfer.lexical import tfidf

    truth = np.asarray(truth)
    lexical, centres = tfidf() if choice.lexical else None, vectors.mean(0)
    words = lexical.fit_transform(texts) if lexical else None
    rows = _joined(words, vectors - centres, choice.weights)
    machine = _machine(choice.machine, choice.regularisation, truth, words)
    method = "decision_function" if hasattr(machine, "decision_function") else "predict_proba"
    unseen = cross_val_predict(machine, rows, truth, cv=stratified(truth), method=method)
    heat = temperature(_logits(unseen, method), truth)
    return Linear(lexical, centres, np.asarray(choice.weights), machine.fit(rows, truth), heat)


def save(linear: Linear, folder: Path) -> None:
    import skops.io

    skops.io.dump(linear._asdict(), folder / FILE)


def load(folder: Path) -> Linear:
    """What ``save`` wrote. A file that asks for anything but what scikit-learn, numpy and we make is refused."""
    import skops.io

    neighbours_keep = "scipy.sparse._csr.csr_matrix"
    return Linear(**skops.io.load(folder / FILE, trusted=[neighbours_keep, "pipeline.transfer.lexical.RatioWeights"]))


def _machine(name: str, regularisation: float, truth: Truth, words: sparse.csr_matrix | None) -> Any:
    """``words``: the lexical features, which come first in a row, if any."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import LinearSVC

    from pipeline.transfer.lexical import RatioWeights

    if name == "neighbours":
        return KNeighborsClassifier(int(regularisation), metric="cosine", weights="distance")
    machine = LinearSVC(C=regularisation, random_state=0) if name == "svm" else LogisticRegression(C=regularisation)
    if words is not None:
        return OneVsRestClassifier(make_pipeline(RatioWeights(words.shape[1]), machine))
    return OneVsRestClassifier(machine) if truth.ndim == 2 else machine


def stratified(truth: Truth) -> list[Any]:
    """Folds, as many as the rarest class has documents, between two and ``FOLDS``. Of several classes the first one
    counts.
    """
    from sklearn.model_selection import StratifiedKFold

    classes = truth.argmax(1) if truth.ndim == 2 else truth
    rarest = min(np.bincount(classes)[np.unique(classes)])
    folds = StratifiedKFold(max(2, min(FOLDS, int(rarest))), shuffle=True, random_state=0)
    return list(folds.split(classes, classes))


def _joined(words: Any, vectors: Floats, weights: Sequence[float] | Floats) -> sparse.csr_matrix:
    """The lexical part, if any, and every layer with a weight, side by side: (documents, features)."""
    vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)
    layers = [sparse.csr_matrix(weight * vectors[:, layer]) for layer, weight in enumerate(weights) if weight]
    return sparse.hstack([*([] if words is None else [words]), *layers]).tocsr()


def _logits(table: Floats, method: str) -> Floats:
    """What softmax makes probabilities of. Of two classes, ``decision_function`` tells the second's alone."""
    if method == "predict_proba":
        return np.asarray(np.log(np.maximum(table, 1e-3)))
    return np.stack([-table, table], 1) if table.ndim == 1 else table
