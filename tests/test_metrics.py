"""The figures that say how far a score, a difference and a probability can be believed."""

import math
import tracemalloc
from typing import Any

import numpy as np
import pytest

from pipeline.metrics import bootstrap, calibration, comparison
from pipeline.metrics.verdict import verdict


def certain(documents: int, classes: int = 4, seed: int = 0) -> tuple[calibration.Floats, list[int]]:
    """Logits whose probabilities are exactly right, and classes drawn from them."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(documents, classes))
    shares = calibration.at_temperature(np.exp(logits) / np.exp(logits).sum(-1, keepdims=True), 1)
    return logits, [int(rng.choice(classes, p=row)) for row in shares]


def test_mcnemar_throws_a_coin_for_each_document_that_one_gets_right() -> None:
    true = [0] * 30
    ours, theirs = [0] * 10 + [1] * 2 + [0] * 18, [1] * 10 + [0] * 2 + [0] * 18
    tails = sum(math.comb(12, k) for k in (0, 1, 2)) / 2**12
    found = comparison.mcnemar(ours, theirs, true)
    assert (found["only_ours_right"], found["only_theirs_right"]) == (10, 2)
    assert found["p"] == pytest.approx(2 * tails)
    assert comparison.mcnemar(ours, ours, true)["p"] == 1


def test_the_paired_test_sees_what_two_intervals_apart_do_not() -> None:
    true = [0] * 100
    ours, theirs = [0] * 60 + [1] * 40, [0] * 52 + [1] * 48  # the same documents right, and eight more
    drawn = bootstrap.draws(100, 2000)
    ours_drawn, theirs_drawn = (bootstrap.resampled(drawn, [one], true, 2)["accuracy"] for one in (ours, theirs))
    assert bootstrap.interval(ours_drawn)[0] < bootstrap.interval(theirs_drawn)[1]
    found = comparison.paired(ours_drawn, theirs_drawn)
    assert 0 < found["low"] < 0.08 < found["high"]
    assert 0 < found["p"] < 0.01
    assert comparison.paired(np.array([1.0] * 94 + [-1] * 5), np.zeros(99))["p"] == pytest.approx(2 * 6 / 100)
    nothing = comparison.paired(ours_drawn, ours_drawn)
    assert nothing == {"low": 0, "high": 0, "p": 1}


def test_rounding_is_no_difference() -> None:
    true, drawn = [0, 1] * 15, bootstrap.draws(30, 200)
    six, one = (bootstrap.resampled(drawn, [true] * seeds, true, 2)["accuracy"] for seeds in (6, 1))
    assert bootstrap.interval(six) == (1, 1)
    assert comparison.paired(six - 2**-53, one) == {"low": 0, "high": 0, "p": 1}


def test_the_temperature_undoes_overconfidence_and_changes_no_answer() -> None:
    logits, true = certain(4000)
    assert calibration.fit_temperature(3 * logits, true) == pytest.approx(3, rel=0.08)
    assert calibration.fit_temperature(logits / 3, true) == pytest.approx(1 / 3, rel=0.08)
    right = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    hot = calibration.at_temperature(right, 1 / 3)
    assert (hot.argmax(-1) == right.argmax(-1)).all()
    assert np.allclose(calibration.at_temperature(hot, 3), right)
    assert calibration.reliability(hot, true)["ece"] > 0.2
    assert calibration.reliability(right, true)["ece"] < 0.03
    assert calibration.reliability(hot, true)["nats"] > calibration.reliability(right, true)["nats"]


def test_a_few_documents_that_are_all_right_leave_the_temperature_finite() -> None:
    assert 1 < calibration.fit_temperature(np.eye(3) * 5, [0, 1, 2]) < 10


def test_the_calibration_error_is_the_gap_in_each_bin_weighted_by_its_documents() -> None:
    table = [[0.75, 0.25]] * 4 + [[0.0, 1.0]] * 2
    found = calibration.reliability(table, [0, 0, 1, 1, 1, 0])
    assert [(b["documents"], b["confidence"], b["accuracy"]) for b in found["bins"]] == [(4, 0.75, 0.5), (2, 1, 0.5)]
    assert [(b["from"], b["to"]) for b in found["bins"]] == [(0.7, 0.8), (0.9, 1.0)]
    assert found["ece"] == pytest.approx((4 * 0.25 + 2 * 0.5) / 6)
    assert math.isfinite(found["nats"])


NAMES = {"tfidf_svm": "TF-IDF", "scratch": "random weights"}


def control(accuracy: float, low: float, high: float) -> dict[str, Any]:
    gap = {"mean": 0.7 - accuracy, "low": low, "high": high, "p": 0.01}
    ours, theirs = (15, 4) if low > 0 else (4, 15) if high < 0 else (9, 5)
    coins = {"only_ours_right": ours, "only_theirs_right": theirs, "p": 0.42 if ours == 9 else 0.019}
    return {"accuracy": accuracy, "difference": gap, "mcnemar": coins}


@pytest.mark.parametrize(
    ("linear", "scratch", "word", "offer", "sentence"),
    [
        ((0.6, 0.02, 0.2), (0.5, 0.1, 0.3), "positive", "transfer", "worth it"),
        ((0.8, -0.2, -0.02), (0.5, 0.1, 0.3), "negative", "tfidf_svm", "The linear baseline wins"),
        ((0.6, 0.02, 0.2), (0.75, -0.1, -0.01), "negative", "scratch", "Random weights is more accurate than the net"),
        ((0.76, -0.07, 0.05), (0.75, -0.1, -0.01), "negative", "tfidf_svm", "simpler and no less accurate"),
        ((0.6, 0.02, 0.2), (0.69, -0.05, 0.07), "neutral", "transfer", "not shown to be better than random weights."),
        ((0.69, -0.05, 0.07), (0.5, 0.1, 0.3), "neutral", "transfer", "not shown to be better than TF-IDF."),
        ((0.71, -0.07, 0.05), (0.5, 0.1, 0.3), "neutral", "tfidf_svm", "simpler and no less accurate"),
        ((0.7, -0.06, 0.06), (0.5, 0.1, 0.3), "neutral", "tfidf_svm", "simpler and no less accurate"),
    ],
)
def test_the_verdict_weighs_both_controls_and_offers_the_better_model(
    linear: tuple[float, float, float], scratch: tuple[float, float, float], word: str, offer: str, sentence: str
) -> None:
    evidence = {"tfidf_svm": control(*linear), "scratch": control(*scratch)}
    result = verdict(0.7, evidence, 204, NAMES, "the network")
    assert (result["verdict"], result["offer"]) == (word, offer)
    assert result["evidence"] == evidence
    assert result["against"] == ("tfidf_svm" if linear[0] > scratch[0] else "scratch")
    assert f"Transfer is {word}" in result["story"]
    assert sentence in result["story"]
    assert "The network is right on 70.0 % of the 204 test documents" in result["story"]
    assert result["story"].count("McNemar") == 2
    assert result["story"].endswith(f"take {(NAMES | {'transfer': 'the network'})[offer]}.")


@pytest.mark.parametrize("side", [1, -1])
def test_a_few_documents_all_on_one_side_decide_nothing(side: int) -> None:
    true, four = np.zeros(100, int), np.zeros(100, int)
    four[:4] = 1
    ours, theirs = (true, four)[::side]
    drawn = bootstrap.draws(100, 2000)
    figures = [bootstrap.resampled(drawn, [one], true, 2)["accuracy"] for one in (ours, theirs)]
    each: dict[str, Any] = {
        "accuracy": float((theirs == 0).mean()),
        "difference": {"mean": side * 0.04, **comparison.paired(*figures)},
        "mcnemar": comparison.mcnemar(ours, theirs, true),
    }
    assert each["difference"]["low"] * each["difference"]["high"] > 0, "the interval holds no zero"
    result = verdict(float((ours == 0).mean()), {"tfidf_svm": each, "scratch": each}, 100, NAMES, "the network")
    assert result["verdict"] == "neutral"
    assert result["story"].count("which chance alone could explain") == 2
    known = {**each, "mcnemar": {**each["mcnemar"], "p": 0.01}}
    result = verdict(float((ours == 0).mean()), {"tfidf_svm": known, "scratch": known}, 100, NAMES, "the network")
    assert result["verdict"] == ("positive" if side > 0 else "negative")


def test_what_transfers_nothing_gets_no_word_on_transfer() -> None:
    result = verdict(0.7, {"tfidf_svm": control(0.6, 0.02, 0.2)}, 204, NAMES, "a network from random weights")
    assert (result["verdict"], result["offer"]) == (None, "transfer")
    assert result["story"].startswith("Nothing is transferred here. A network from random weights is right on 70.0 %")
    assert "Transfer is" not in result["story"]
    assert result["story"].endswith("Of a network from random weights and TF-IDF, take a network from random weights.")


def test_the_better_of_two_linear_controls_is_offered() -> None:
    evidence = {"tfidf_svm": control(0.6, 0.02, 0.2), "lexical": control(0.72, -0.08, 0.04)}
    evidence["scratch"] = control(0.5, 0.1, 0.3)
    result = verdict(0.7, evidence, 204, NAMES | {"lexical": "weighted TF-IDF"}, "the network")
    assert (result["verdict"], result["offer"], result["against"]) == ("neutral", "lexical", "lexical")
    assert "not shown to be better than weighted TF-IDF, which is simpler" in result["story"]
    assert result["story"].endswith("Of the network and weighted TF-IDF, take weighted TF-IDF.")
    assert result["story"].count("McNemar") == 3


def test_a_control_that_is_right_on_the_same_documents_is_not_measured_against() -> None:
    same = {
        "accuracy": 0.7,
        "difference": {"mean": 0.0, "low": 0.0, "high": 0.0, "p": 1.0},
        "mcnemar": {"only_ours_right": 0, "only_theirs_right": 0, "p": 1.0},
    }
    result = verdict(0.7, {"tfidf_svm": same, "scratch": control(0.5, 0.1, 0.3)}, 204, NAMES, "the network")
    assert "It is right on the same documents as TF-IDF. It is 20.0 points ahead of random weights" in result["story"]
    assert (result["verdict"], result["offer"]) == ("neutral", "tfidf_svm")


def test_draws_take_no_more_memory_than_they_fill() -> None:
    tracemalloc.start()
    drawn = bootstrap.draws(1000, 1050)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1.2 * drawn.nbytes
    at_once = np.random.default_rng(0).multinomial(1000, [1 / 1000] * 1000, 1050)
    np.testing.assert_array_equal(drawn, at_once)
