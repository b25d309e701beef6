"""The bars that a neural classifier has to clear: linear classifiers of characters, which need no pretraining."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt


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


def weighted_svm(texts: Sequence[str], truth: npt.ArrayLike) -> Any:
    """The same with features weighted for each class, as in ``linear``: what that is worth without a body."""
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import LinearSVC

    from pipeline.transfer.lexical import RatioWeights, tfidf

    of_class = make_pipeline(RatioWeights(), LinearSVC(random_state=0))
    return make_pipeline(tfidf(), OneVsRestClassifier(of_class)).fit(list(texts), truth)
