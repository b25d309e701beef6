"""The second bar: vectors of words, each the same wherever the word stands, learned from the run's own corpus.

FastText's skip-gram (Bojanowski et al. 2017, arXiv 1607.04606) builds a word of its character n-grams, so that a form
that the corpus lacks has a vector, too: in languages rich in forms many do.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.metrics.decisions import Truth
from pipeline.text.script import words
from pipeline.transfer.linear import stratified

Floats = npt.NDArray[np.float32]

WIDTH = 100
SAMPLE_WORDS = 1_000_000
WORDS_READ = 5_000_000  # over all epochs: half a minute on one core
MOST_EPOCHS = 50  # five, gensim's own choice, leave the vectors of a small corpus as they were drawn
LEAST_COUNT = 3
BUCKETS = 100_000  # rows that character n-grams share; gensim's two million take 800 MB
REGULARISATION = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)


def fasttext_logistic(corpus: Iterable[str], texts: Sequence[str], truth: Truth) -> Any:
    """A fitted scikit-learn pipeline: a text's mean word vector, and logistic regression with C by cross-validation.

    ``corpus``: the documents that the vectors are learned from. One thread and a seed: the same corpus gives the same
    classifier. ``truth``: as in ``linear.choose``. RuntimeError: the corpus has no word.
    """
    from gensim.models import FastText
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, StandardScaler

    paragraphs = [found for text in corpus for paragraph in text.split("\n") if (found := words(paragraph))]
    commonest = max(Counter(chain.from_iterable(paragraphs)).values(), default=0)
    least = LEAST_COUNT if commonest >= LEAST_COUNT else 1  # a corpus of a few sentences has no such word
    shape: dict[str, Any] = {"vector_size": WIDTH, "min_count": least, "min_n": 3, "max_n": 5, "bucket": BUCKETS}
    epochs = min(MOST_EPOCHS, -(-WORDS_READ // max(1, sum(map(len, paragraphs)))))
    fasttext = FastText(paragraphs, sg=1, epochs=epochs, workers=1, seed=0, **shape)
    machine = LogisticRegression(max_iter=1000)
    multi_label = truth.ndim == 2
    search = GridSearchCV(
        OneVsRestClassifier(machine) if multi_label else machine,
        {"estimator__C" if multi_label else "C": REGULARISATION},
        cv=stratified(truth),
    )
    mean_vectors = FunctionTransformer(_mean_vectors, kw_args={"vectors": fasttext.wv})
    return make_pipeline(mean_vectors, StandardScaler(), search).fit(list(texts), truth)


def _mean_vectors(texts: Sequence[str], vectors: Any) -> Floats:
    """The mean over a text's words of their vectors, each of length one: (texts, WIDTH); zeros where none is known."""
    table = np.zeros((len(texts), WIDTH), np.float32)
    for row, text in enumerate(texts):
        found = [word for word in words(text) if word in vectors]
        if found:
            each = np.stack([vectors.get_vector(word) for word in found])
            table[row] = (each / np.maximum(np.linalg.norm(each, axis=1, keepdims=True), 1e-9)).mean(0)
    return table
