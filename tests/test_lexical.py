"""What characters say: features weighed for each class."""

import numpy as np
import pytest
from scipy import sparse

from pipeline.transfer.baseline import tfidf_svm, weighted_svm
from pipeline.transfer.lexical import RatioWeights

ROWS = sparse.csr_matrix([[2.0, 0, 1, 5], [1, 0, 1, 5], [0, 3, 1, 5], [0, 0, 1, 5]])
TRUTH = [1, 1, 0, 0]


def test_a_feature_weighs_as_its_frequencies_in_the_class_and_elsewhere_differ() -> None:
    seen = RatioWeights().fit(ROWS[:, :3], TRUTH).transform(ROWS[:, :3]).toarray()
    p, q = np.array([3, 1, 3]), np.array([1, 2, 3])  # one more than the documents that have it
    weighted = ROWS[:, :3].toarray() * abs(np.log((p / 7) / (q / 6)))
    np.testing.assert_allclose(seen, weighted / np.sqrt((weighted**2).sum(1).mean()))
    assert (seen**2).sum(1).mean() == pytest.approx(1)


def test_features_behind_the_given_columns_stay_as_they_are_and_do_not_count() -> None:
    alone = RatioWeights().fit(ROWS[:, :3], TRUTH)
    beside = RatioWeights(3).fit(ROWS, TRUTH)
    assert beside.scale_.tolist() == [*alone.scale_, 1]
    assert beside.transform(ROWS)[:, 3].toarray().ravel().tolist() == [5] * 4


def test_a_feature_that_all_documents_have_says_nothing_and_one_class_alone_no_nonsense() -> None:
    assert RatioWeights().fit(ROWS[:, 2:], [1, 0, 1, 0]).scale_.tolist() == [0, 0]
    assert np.isfinite(RatioWeights().fit(ROWS, [0] * 4).scale_).all()


@pytest.mark.parametrize("learn", [tfidf_svm, weighted_svm])
def test_both_baselines_take_names_of_classes_and_tables_of_several(learn: object) -> None:
    assert callable(learn)
    texts = ["ଚାଷୀ ଧାନ ରୁଏ", "ଧାନ ଚାଷ ଭଲ", "ଖେଳ ଦେଖିଲେ", "ଭଲ ଖେଳ ହେଲା"] * 3
    names = ["ଚାଷ", "ଚାଷ", "ଖେଳ", "ଖେଳ"] * 3
    assert learn(texts, names).predict(["ଧାନ ଚାଷ", "ଖେଳ"]).tolist() == ["ଚାଷ", "ଖେଳ"]
    table = np.array([[int(name == each) for each in ("ଚାଷ", "ଖେଳ", "ଚାଷ")] for name in names])
    assert learn(texts, table).predict(["ଧାନ ଚାଷ"]).tolist() == [[1, 0, 1]]
    three = learn([*texts, "ନଦୀ ବହେ", "ନଦୀ ଜଳ"], [*names, "ନଦୀ", "ନଦୀ"])
    assert three.predict(["ନଦୀ"]).tolist() == ["ନଦୀ"]
