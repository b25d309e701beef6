"""The bar that a neural classifier has to clear."""

from collections.abc import Sequence
from typing import Any


def tfidf_svm(texts: Sequence[str], labels: Sequence[str]) -> Any:
    """A fitted scikit-learn pipeline: TF-IDF of character 2- to 5-grams within words, and a linear SVM.

    Characters, since scikit-learn's words break at combining marks.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import LinearSVC

    return make_pipeline(
        TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True), LinearSVC(random_state=0)
    ).fit(list(texts), list(labels))
