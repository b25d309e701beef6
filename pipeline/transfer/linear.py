"""A linear classifier on what the characters of a document say, its pieces' vectors, and a frozen body's top layer.

All stand side by side: TF-IDF of character n-grams, weighed for each class or as it is, of long documents with their
openings apart or not; and the mean vectors of ``embeddings``, called layers, each centred and of length one, times a
weight. What is right most often in a cross-validation on the training documents is taken, so a layer that adds nothing
gets the weight 0.
"""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import sparse

from pipeline.metrics.decisions import Truth, fit_temperature, probabilities

Floats = npt.NDArray[np.floating[Any]]

FOLDS = 5
WEIGHTS = (0.0, 0.4, 0.8)  # of a layer beside the lexical part, whose length is one, too
REGULARISATION: dict[str, tuple[float, ...]] = {"svm": (0.3, 1, 3), "logistic": (10, 100), "neighbours": (5, 10, 20)}
CERTAIN = 10.0  # a logit, where those of documents lie around 1
FILE = "linear.skops"


class Choice(NamedTuple):
    """What a cross-validation settles."""

    machine: str
    lexical: bool
    opening: bool  # whether the lexical part reads the opening of a document apart, too
    by_class: bool  # whether the lexical part is weighed for each class
    regularisation: float  # C, or the number of neighbours
    weights: tuple[float, ...]  # one a layer
    accuracy: float
    lexical_accuracy: float | None  # without the layers


class Linear(NamedTuple):
    """A fitted classifier of classes 0, 1, …; of each by itself, where a document may have several."""

    lexical: Any  # what makes features of texts, or None
    centres: Floats  # (layers, width)
    weights: Floats  # (layers)
    machine: Any  # of scikit-learn
    temperature: float

    def probabilities(self, texts: Sequence[str], vectors: Floats) -> Floats:
        """Of the classes: (documents, classes). ``vectors``: (documents, layers, width)."""
        lexical_rows = self.lexical.transform(texts) if self.lexical else None
        rows = _joined(lexical_rows, vectors - self.centres, self.weights)
        return probabilities(_logits(self.machine, rows) / self.temperature, multi_label=self.multi_label)

    @property
    def multi_label(self) -> bool:
        return bool(getattr(self.machine, "multilabel_", False))


def choose(texts: Sequence[str], vectors: Floats, truth: npt.ArrayLike, machine: str, *, lexical: bool) -> Choice:
    """Cross-validate on documents with their ``vectors`` (documents, layers, width): the lexical part by itself, then
    the weights of layers beside the best of it; or, without it, every combination. Of short documents the opening
    is not asked apart: it is most of them.

    ``truth``: classes (documents), or 0 and 1 (documents, classes), where each class gets a machine of its own.
    """
    from sklearn.model_selection import cross_val_score

    from pipeline.transfer.lexical import are_long, features

    truth, vectors = np.asarray(truth), vectors - vectors.mean(0)
    kinds = (False, True) if lexical and are_long(texts) else (False,)
    lexical_rows = {opening: features(opening=opening).fit_transform(texts) if lexical else None for opening in kinds}
    nothing, *every = itertools.product(WEIGHTS, repeat=vectors.shape[1])
    forms = itertools.product(
        kinds, (False, True) if lexical and machine != "neighbours" else (False,), REGULARISATION[machine]
    )

    def right(opening: bool, by_class: bool, regularisation: float, weights: tuple[float, ...]) -> float:
        untrained = _machine(machine, regularisation, truth, lexical_rows[opening] if by_class else None)
        rows = _joined(lexical_rows[opening], vectors, weights)
        return float(cross_val_score(untrained, rows, truth, cv=stratified(truth), error_score="raise").mean())

    alone = {(*form, nothing): right(*form, nothing) for form in forms} if lexical else {}
    kept = [max(alone, key=lambda form: alone[form])[:-1]] if lexical else list(forms)
    accuracy = alone | {(*form, weights): right(*form, weights) for form in kept for weights in every}
    best = max(accuracy, key=lambda choice: accuracy[choice])
    return Choice(machine, lexical, *best, accuracy[best], max(alone.values(), default=None))


def fit(texts: Sequence[str], vectors: Floats, truth: npt.ArrayLike, choice: Choice) -> Linear:
    """Learn as ``choice`` says. The temperature is fitted on documents that a cross-validation left out."""
    from pipeline.transfer.lexical import features

    truth = np.asarray(truth)
    lexical, centres = features(opening=choice.opening) if choice.lexical else None, vectors.mean(0)
    lexical_rows = lexical.fit_transform(texts) if lexical else None
    rows = _joined(lexical_rows, vectors - centres, choice.weights)
    machine = _machine(choice.machine, choice.regularisation, truth, lexical_rows if choice.by_class else None)
    temperature = settle_temperature(machine, rows, truth)
    return Linear(lexical, centres, np.asarray(choice.weights), machine.fit(rows, truth), temperature)


def settle_temperature(machine: Any, rows: sparse.csr_matrix, truth: Truth) -> float:
    """Of what ``machine``, not fitted, says of the rows that a cross-validation left out; 1 where there are none."""
    from sklearn.base import clone

    tables, truths = [], []
    for kept, left_out in stratified(truth):
        logits, wanted = _logits(clone(machine).fit(rows[kept], truth[kept]), rows[left_out]), truth[left_out]
        if truth.ndim == 2:  # of a class that all or none of ``kept`` have, there was nothing to learn
            learned = truth[kept].any(0) & ~truth[kept].all(0)
            logits, wanted = logits[:, learned].reshape(-1, 1), wanted[:, learned].reshape(-1, 1)
        tables.append(logits)
        truths.append(wanted)
    return fit_temperature(np.concatenate(tables), np.concatenate(truths)) if tables else 1.0


def save(linear: Linear, folder: Path) -> None:
    import skops.io

    skops.io.dump(linear._asdict(), folder / FILE)


def load(folder: Path) -> Linear:
    """What ``save`` wrote. A file that asks for anything but what scikit-learn, numpy and we make is refused."""
    import skops.io

    neighbours_keep, class_of_all = "scipy.sparse._csr.csr_matrix", "sklearn.multiclass._ConstantPredictor"
    ours = [f"pipeline.transfer.lexical.{name}" for name in ("RatioWeights", "openings")]
    trusted = [neighbours_keep, class_of_all, *ours]
    return Linear(**skops.io.load(folder / FILE, trusted=trusted))


def _machine(name: str, regularisation: float, truth: Truth, lexical_rows: sparse.csr_matrix | None) -> Any:
    """``lexical_rows``: the features that are weighed for each class, if any; they come first in a row."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import LinearSVC

    from pipeline.transfer.lexical import RatioWeights

    if name == "neighbours":
        fewest = max(1, len(truth) // 2)  # documents in a training part of a cross-validation
        return KNeighborsClassifier(min(int(regularisation), fewest), metric="cosine", weights="distance")
    kind = LinearSVC if name == "svm" else LogisticRegression
    machine = kind(C=regularisation, class_weight="balanced", random_state=0)
    if lexical_rows is not None:
        return OneVsRestClassifier(make_pipeline(RatioWeights(lexical_rows.shape[1]), machine))
    return OneVsRestClassifier(machine) if truth.ndim == 2 else machine


def stratified(truth: Truth) -> list[Any]:
    """Folds of single classes, as many as the rarest has documents, between two and ``FOLDS``; of documents that may
    have several, ``FOLDS`` by chance.

    The only document of a class is learned from in each fold and left out of none, so that whoever learns knows all
    classes. Where every class has one document alone, there are no folds.
    """
    from sklearn.model_selection import KFold, StratifiedKFold

    if truth.ndim == 2:
        return list(KFold(min(FOLDS, len(truth)), shuffle=True, random_state=0).split(truth))
    counts = np.bincount(truth)
    alone, others = (np.flatnonzero((counts[truth] == 1) == is_alone) for is_alone in (True, False))
    if not len(others):
        return []
    folds = StratifiedKFold(min(FOLDS, int(counts[counts > 1].min())), shuffle=True, random_state=0)
    parts = folds.split(others, truth[others])
    return [(np.sort(np.concatenate([others[kept], alone])), others[left_out]) for kept, left_out in parts]


def _joined(lexical_rows: Any, vectors: Floats, weights: Sequence[float] | Floats) -> sparse.csr_matrix:
    """The lexical part, if any, and every layer with a weight, side by side: (documents, features)."""
    vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)
    layers = [sparse.csr_matrix(weight * vectors[:, layer]) for layer, weight in enumerate(weights) if weight]
    return sparse.hstack([*([] if lexical_rows is None else [lexical_rows]), *layers]).tocsr()


def _logits(machine: Any, rows: sparse.csr_matrix) -> Floats:
    """What softmax makes probabilities of, (documents, classes); each by itself, where there may be several.

    Of two classes, ``decision_function`` tells the second's alone. Of a class that all or none of its documents had,
    scikit-learn's OneVsRestClassifier tells 0 or 1 in place of a logit: no document, or every one, has it.
    """
    if not hasattr(machine, "decision_function"):
        return np.asarray(np.log(np.maximum(machine.predict_proba(rows), 1e-3)))
    table = machine.decision_function(rows)
    if getattr(machine, "multilabel_", False):
        constant = [not hasattr(each, "classes_") for each in machine.estimators_]
        table = np.where(constant, np.where(table > 0, CERTAIN, -CERTAIN), table)
    return np.stack([-table, table], 1) if table.ndim == 1 else np.asarray(table)
