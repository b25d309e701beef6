"""Word vectors of the run's own corpus, and a linear classifier on them."""

import numpy as np
import upstream

from pipeline.transfer.static import fasttext_logistic

CORPUS = [row["text"] for row in upstream.documents("corpus", 90)]
TRAIN = upstream.documents("train", 60)
TEXTS, CLASSES = [row["text"] for row in TRAIN], np.unique([row["label"] for row in TRAIN], return_inverse=True)[1]


def test_words_by_the_company_they_keep_tell_the_classes_and_the_same_each_time() -> None:
    one, two = (fasttext_logistic(CORPUS, TEXTS, CLASSES) for _ in range(2))
    test = upstream.documents("test", 30)
    probabilities = one.predict_proba([row["text"] for row in test])
    assert (probabilities.argmax(1) == [sorted(upstream.WORDS).index(row["label"]) for row in test]).mean() > 0.8
    np.testing.assert_array_equal(probabilities, two.predict_proba([row["text"] for row in test]))


def test_a_corpus_that_repeats_no_word_is_learned_from_as_it_is() -> None:
    fitted = fasttext_logistic(["ଆମ ଗାଁ ସୁନ୍ଦର", "ବଲ୍ ଖେଳ"], TEXTS, CLASSES)
    assert {*fitted[0].kw_args["vectors"].key_to_index} == {"ଆମ", "ଗାଁ", "ସୁନ୍ଦର", "ବଲ୍", "ଖେଳ"}


def test_a_word_keeps_its_marks_and_one_that_the_corpus_lacks_has_a_vector() -> None:
    fitted = fasttext_logistic(CORPUS, TEXTS, CLASSES)
    known = fitted[0].kw_args["vectors"]
    assert {"ଖେଳାଳି", "ଡାକ୍ତର", "ଗୋଲ୍"} <= {*known.key_to_index}
    table = fitted[0].transform(["ଡାକ୍ତର", "ଡାକ୍ତରଙ୍କ", "ବିଲ", "?!", ""])
    assert np.linalg.norm(table[0]) > 0.99
    assert table[1] @ table[0] > table[2] @ table[0], "an unseen form is near the word that it is of"
    assert not table[3:].any()
