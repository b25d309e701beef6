"""The bars that a classifier with a pretrained body has to clear: linear ones, of characters alone."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.metrics.decisions import Truth
from pipeline.transfer import linear
from pipeline.transfer.linear import Choice, Linear


def tfidf_svm(texts: Sequence[str], truth: npt.ArrayLike) -> Any:
    """A fitted scikit-learn pipeline: TF-IDF of characters, and a linear SVM.

    ``truth``: a class, of any type, for each text; or 0 and 1 (texts, classes), where each class gets its own SVM.
    """
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import LinearSVC

    from pipeline.transfer.lexical import tfidf

    svm = LinearSVC(random_state=0)
    return make_pipeline(tfidf(), OneVsRestClassifier(svm) if np.ndim(truth) == 2 else svm).fit(list(texts), truth)


def without_body(texts: Sequence[str], truth: Truth, with_body: Choice | None = None) -> Linear:
    """The classifier of ``linear``, fitted without a body: its vectors are ``no_vectors``.

    ``with_body``: what the same documents settled for one with a body, if known. Characters come first there, so what
    is best of them alone need not be measured again, which takes minutes where documents are long.
    """
    learned = no_vectors(texts)
    if with_body and with_body.lexical and with_body.machine == "svm":
        chosen = with_body._replace(weights=())
    else:
        chosen = linear.choose(texts, learned, truth, "svm", lexical=True)
    return linear.fit(texts, learned, truth, chosen)


def as_linear(tfidf_svm: Any, texts: Sequence[str], truth: Truth) -> Linear:
    """A pipeline of that name as what ``without_body`` gives, with probabilities: the same answers.

    ``texts`` and ``truth`` are those that it has learned from, ``truth`` as places of classes.
    """
    from sklearn.base import clone

    lexical, machine = tfidf_svm.named_steps.values()
    temperature = linear.settle_temperature(clone(machine), lexical.transform(texts), truth)
    return Linear(lexical, np.zeros((0, 1)), np.zeros(0), machine, temperature)


def no_vectors(texts: Sequence[str]) -> npt.NDArray[np.float64]:
    """What no body says of ``texts``: (texts, 0, 1)."""
    return np.zeros((len(texts), 0, 1))
