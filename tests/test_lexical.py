"""What characters say: features weighed for each class."""

import numpy as np
import pytest
from scipy import sparse

from pipeline.metrics.decisions import decided
from pipeline.transfer import linear
from pipeline.transfer.baseline import no_vectors, without_body
from pipeline.transfer.lexical import RatioWeights

ROWS = sparse.csr_matrix([[2.0, 0, 1, 5], [1, 0, 1, 5], [0, 3, 1, 5], [0, 0, 1, 5]])
TRUTH = [1, 1, 0, 0]


def test_a_feature_weighs_as_its_frequencies_in_the_class_and_elsewhere_differ() -> None:
    seen = RatioWeights(3).fit(ROWS[:, :3], TRUTH).transform(ROWS[:, :3]).toarray()
    p, q = np.array([3, 1, 3]), np.array([1, 2, 3])  # one more than the documents that have it
    weighted = ROWS[:, :3].toarray() * abs(np.log((p / 7) / (q / 6)))
    np.testing.assert_allclose(seen, weighted / np.sqrt((weighted**2).sum(1).mean()))
    assert (seen**2).sum(1).mean() == pytest.approx(1)


def test_features_behind_the_given_columns_stay_as_they_are_and_do_not_count() -> None:
    alone = RatioWeights(3).fit(ROWS[:, :3], TRUTH)
    beside = RatioWeights(3).fit(ROWS, TRUTH)
    assert beside.scale_.tolist() == [*alone.scale_, 1]
    assert beside.transform(ROWS)[:, 3].toarray().ravel().tolist() == [5] * 4


def test_a_feature_that_all_documents_have_says_nothing_and_one_class_alone_no_nonsense() -> None:
    assert RatioWeights(2).fit(ROWS[:, 2:], [1, 0, 1, 0]).scale_.tolist() == [0, 0]
    assert np.isfinite(RatioWeights(4).fit(ROWS, [0] * 4).scale_).all()


@pytest.mark.parametrize("multi_label", [False, True])
def test_the_linear_classifier_does_without_a_body(multi_label: bool) -> None:
    texts = ["ଚାଷୀ ଧାନ ରୁଏ", "ଧାନ ଚାଷ ଭଲ", "ଖେଳ ଦେଖିଲେ", "ଭଲ ଖେଳ ହେଲା"] * 5
    classes = np.array([0, 0, 1, 1] * 5)
    truth = np.eye(2, dtype=int)[classes] if multi_label else classes
    fitted, asked = without_body(texts, truth), ["ଧାନ ଚାଷ", "ଖେଳ"]
    predicted = decided(fitted.probabilities(asked, no_vectors(asked)), multi_label=multi_label)
    assert predicted.tolist() == ([[1, 0], [0, 1]] if multi_label else [0, 1])


@pytest.mark.parametrize(
    ("machine", "lexical", "known"), [("svm", True, True), ("logistic", True, False), ("svm", False, False)]
)
def test_what_is_best_of_characters_is_not_measured_again_where_it_is_known(
    machine: str, lexical: bool, known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts, truth = ["ଚାଷୀ ଧାନ ରୁଏ", "ଧାନ ଚାଷ ଭଲ", "ଖେଳ ଦେଖିଲେ", "ଭଲ ଖେଳ ହେଲା"] * 5, np.array([0, 0, 1, 1] * 5)
    vectors = np.random.default_rng(0).normal(size=(20, 2, 4))
    with_body = linear.choose(texts, vectors, truth, machine, lexical=lexical)
    anew, none = without_body(texts, truth), no_vectors(texts)
    if known:
        monkeypatch.delattr(linear, "choose")
    fitted = without_body(texts, truth, with_body)
    assert fitted.probabilities(texts, none).tolist() == anew.probabilities(texts, none).tolist()
