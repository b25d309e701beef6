"""The bars that a classifier with a pretrained body has to clear: linear ones, of characters alone."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.metrics.decisions import Truth, decided
from pipeline.transfer import linear


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


def without_body(texts: Sequence[str], truth: Truth, asked: Sequence[str]) -> Truth:
    """What the classifier of ``linear`` decides on ``asked`` that has learned the classes of ``texts`` from no body."""
    learned, unseen = (np.zeros((len(each), 0, 1)) for each in (texts, asked))
    fitted = linear.fit(texts, learned, truth, linear.choose(texts, learned, truth, "svm", lexical=True))
    return decided(fitted.probabilities(asked, unseen), several=fitted.several)
