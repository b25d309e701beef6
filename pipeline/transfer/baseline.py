"""The bar that a neural classifier has to clear."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt


def tfidf_svm(texts: Sequence[str], truth: npt.ArrayLike) -> Any:
    """A fitted scikit-learn pipeline: TF-IDF of character 2- to 5-grams within words, and a linear SVM.

    ``truth``: a class, of any type, for each text; or 0 and 1 (texts, classes), where each class gets its own SVM.
    Characters, since scikit-learn's words break at combining marks.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import LinearSVC

    svm = LinearSVC(random_state=0)
    return make_pipeline(
        TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True),
        OneVsRestClassifier(svm) if np.ndim(truth) == 2 else svm,
    ).fit(list(texts), truth)
