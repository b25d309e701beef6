"""What the characters of a document say, without any pretraining."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import FunctionTransformer

OPENING = 100  # characters: a headline, or about the first sentence
LONG = 5 * OPENING


def tfidf() -> TfidfVectorizer:
    """TF-IDF of character 2- to 5-grams within words: scikit-learn's words break at combining marks."""
    return TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True)


def features(*, opening: bool) -> TfidfVectorizer | FeatureUnion:
    """``tfidf`` of whole documents; and beside it, as heavy, of their openings: what a text is about is said first."""
    apart = make_pipeline(FunctionTransformer(openings), tfidf())
    return FeatureUnion([("document", tfidf()), ("opening", apart)]) if opening else tfidf()


def openings(texts: Sequence[str]) -> list[str]:
    return [text[:OPENING] for text in texts]


def are_long(texts: Sequence[str]) -> bool:
    """Whether an opening is a small part of most documents."""
    return bool(np.median([len(text) for text in texts]) > LONG)


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
        lexical, of_class = rows[:, : self.columns], np.asarray(truth) == 1
        p, q = (1 + np.asarray((lexical[side] > 0).sum(0)).ravel() for side in (of_class, ~of_class))
        ratio = np.abs(np.log(p / p.sum()) - np.log(q / q.sum()))
        weighted: Any = lexical @ sparse.diags(ratio)
        length = np.sqrt(weighted.multiply(weighted).sum(1).mean())
        self.scale_ = np.ones(rows.shape[1])
        self.scale_[: self.columns] = ratio / max(length, 1e-9)
        return self

    def transform(self, rows: sparse.csr_matrix) -> sparse.csr_matrix:
        return sparse.csr_matrix(rows @ sparse.diags(self.scale_))
