"""What the characters of a document say, without any pretraining."""

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.feature_extraction.text import TfidfVectorizer


def tfidf() -> TfidfVectorizer:
    """TF-IDF of character 2- to 5-grams within words: scikit-learn's words break at combining marks."""
    return TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True)


class RatioWeights(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Weigh each of the first ``columns`` features by how far its frequency in one class is from that in the others.

    The weight is \\|log((p / Σp) / (q / Σq))\\|, p and q being one more than the documents of the class, and of the
    others, that have the feature (Wang and Manning 2012, "Baselines and Bigrams", section 2.3); times what brings the
    documents to a length of one in the mean, so that further features beside them weigh alike for every class.
    """

    def __init__(self, columns: int) -> None:
        self.columns = columns

    def fit(self, rows: sparse.csr_matrix, truth: npt.ArrayLike) -> "RatioWeights":
        """``rows``: (documents, features); ``truth``: 1 for documents of the class, 0 for others."""
        words, of_class = rows[:, : self.columns], np.asarray(truth) == 1
        p, q = (1 + np.asarray((words[side] > 0).sum(0)).ravel() for side in (of_class, ~of_class))
        ratio = np.abs(np.log(p / p.sum()) - np.log(q / q.sum()))
        weighted: Any = words @ sparse.diags(ratio)
        length = np.sqrt(weighted.multiply(weighted).sum(1).mean())
        self.scale_ = np.ones(rows.shape[1])
        self.scale_[: self.columns] = ratio / max(length, 1e-9)
        return self

    def transform(self, rows: sparse.csr_matrix) -> sparse.csr_matrix:
        return sparse.csr_matrix(rows @ sparse.diags(self.scale_))
