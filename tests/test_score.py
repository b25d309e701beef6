import csv
import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import upstream
from accelerate import Accelerator
from conftest import Program

from pipeline import config, finetune, score
from pipeline.artifacts import Run
from pipeline.errors import UsageError
from pipeline.metrics import bootstrap, decisions, scores
from pipeline.metrics.verdict import verdict
from pipeline.predict import find_model
from pipeline.reporting import gather
from pipeline.text.documents import read_jsonl, write_jsonl
from pipeline.transfer.baseline import tfidf_svm, without_body
from pipeline.transfer.shipped import classify, load


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """A run that is finished up to finetune, in the current folder."""
    root, before = tmp_path_factory.mktemp("score"), Path.cwd()
    os.chdir(root)
    run = upstream.make_run(root, "modernbert")
    upstream.finish(run, "finetune", lambda part: finetune.work(run, part))
    yield run
    os.chdir(before)


def test_the_bootstrap_computes_the_figures_that_evaluate_does() -> None:
    rng = np.random.default_rng(1)
    true = rng.integers(0, 4, 90).tolist()  # a fifth class is never true
    predicted = [t if rng.random() < 0.6 else int(rng.integers(0, 5)) for t in true]
    whole = bootstrap.confusions(np.ones((1, 90)), predicted, true, 5)
    assert whole[0].tolist() == scores.measure("confusion_matrix", predicted, true, labels=list(range(5)))
    expected = scores.summary(predicted, true)
    assert not bootstrap.OF_ORDER.keys() & expected.keys()
    expected = scores.summary(predicted, true, ordered=True)
    for name, figure in (bootstrap.FIGURES | bootstrap.OF_ORDER).items():
        assert figure(whole)[0] == pytest.approx(expected[name]), name
    one_class = bootstrap.confusions(np.ones((1, 3)), [0, 0, 0], [0, 1, 1], 2)
    assert bootstrap.mcc(one_class)[0] == 0
    alike = bootstrap.confusions(np.ones((1, 2)), [1, 1], [1, 1], 2)
    assert bootstrap.quadratic_weighted_kappa(alike)[0] == 1
    assert scores.measure("quadratic_weighted_kappa", [1, 1], [1, 1]) == 1
    true, predicted = [0, 0, 3, 3, 1, 0], [0, 1, 3, 3, 3, 0]  # of class 2 there is nothing
    every = np.ones((1, len(true)))
    matrix = bootstrap.confusions(every, predicted, true, 4)
    of_draw = bootstrap.quadratic_weighted_kappa(matrix)[0]
    assert scores.measure("quadratic_weighted_kappa", predicted, true) == pytest.approx(of_draw)


def test_the_interval_is_as_wide_as_theory_says() -> None:
    true = [0] * 400
    predicted = [0] * 280 + [1] * 120
    values = bootstrap.resampled(bootstrap.draws(400, 4000), [predicted], true, 2)["accuracy"]
    low, high = bootstrap.interval(values)
    assert (high - low) / 2 == pytest.approx(1.96 * math.sqrt(0.7 * 0.3 / 400), rel=0.08)
    assert (low + high) / 2 == pytest.approx(0.7, abs=0.005)


def test_scores_and_predictions_hold_what_is_promised(tuned: Run, tmp_path: Path) -> None:
    counts = score.work(tuned, tmp_path)
    largest = next(iter(upstream.WORDS))  # all are as large: the first
    result = json.loads((tmp_path / "scores.json").read_text("utf-8"))
    for system in (result["test"], *result["baselines"].values()):
        for figure in ("accuracy", "macro_f1", "weighted_f1", "mcc"):
            assert system[figure].keys() == {"mean", "sd", "low", "high", "per_seed"}
    assert [*result["baselines"]] == ["tfidf_svm", "lexical", "fasttext_logistic", "scratch", "majority"]
    assert result["largest_class"] == {"label": largest, "share": 20 / 60}
    always = sum(row["label"] == largest for row in read_jsonl(tuned.input("fetch/labelled/test.jsonl"))) / 30
    assert result["baselines"]["majority"]["accuracy"]["mean"] == pytest.approx(always)
    accuracy = result["test"]["accuracy"]
    assert len(accuracy["per_seed"]) == 2
    assert accuracy["mean"] == pytest.approx(sum(accuracy["per_seed"]) / 2)
    assert accuracy["low"] <= accuracy["mean"] <= accuracy["high"]
    assert result["verdict"] == counts["verdict"]
    assert result["offer"] in ("transfer", "tfidf_svm", "lexical", "scratch")
    for name in ("tfidf_svm", "lexical", "scratch"):
        gap = result["evidence"][name]["difference"]
        assert gap["mean"] == pytest.approx(accuracy["mean"] - result["baselines"][name]["accuracy"]["mean"])
        assert gap["low"] <= gap["mean"] <= gap["high"]
        assert 0 < result["evidence"][name]["mcnemar"]["p"] <= 1

    test = list(read_jsonl(tuned.input("fetch/labelled/test.jsonl")))
    rows = list(read_jsonl(tmp_path / "predictions.jsonl"))
    assert [(row["id"], row["label"]) for row in rows] == [(row["id"], row["label"]) for row in test]
    for row in rows:
        assert sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        assert row["predicted"] == max(row["probabilities"], key=row["probabilities"].__getitem__)
    right = sum(row["predicted"] == row["label"] for row in rows) / len(rows)
    assert result["shipped"]["accuracy"] == pytest.approx(right)
    matrix = result["test"]["confusion_matrix"]
    at = matrix["labels"].index
    assert sum(map(sum, matrix["counts"])) == len(test)
    assert matrix["counts"][at("ଚାଷ")][at("ଖେଳ")] == sum(r["label"] == "ଚାଷ" and r["predicted"] == "ଖେଳ" for r in rows)
    assert result["test"]["per_class"]["ଚାଷ"]["documents"] == 10

    assert "network_alone" not in result, "nothing else answers"

    believed = result["calibration"]
    assert (
        believed["temperature"]
        == json.loads(tuned.input("finetune/model/config.json").read_text("utf-8"))["calibration_temperature"]
    )
    assert believed["after"]["confidence"] == pytest.approx(
        sum(max(row["probabilities"].values()) for row in rows) / len(rows), abs=1e-5
    )
    assert (believed["before"]["confidence"] > believed["after"]["confidence"]) == (believed["temperature"] > 1)


@pytest.mark.parametrize("strategy", ["hybrid", "features", "scratch"])
def test_a_network_in_company_is_also_judged_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strategy: str
) -> None:
    monkeypatch.chdir(tmp_path)
    made = upstream.make_run(tmp_path, "modernbert")
    run = Run(config.load(made.argument, [f"finetune.strategy={strategy}", "finetune.epochs=1"]), made.argument)
    upstream.finish(run, "finetune", lambda part: finetune.work(run, part))
    (tmp_path / "out").mkdir()
    if strategy == "hybrid":
        monkeypatch.delattr("pipeline.transfer.linear.choose")  # what finetune has measured, score does not
    score.work(run, tmp_path / "out")
    result = json.loads((tmp_path / "out" / "scores.json").read_text("utf-8"))
    assert ("network_alone" in result) == (strategy == "hybrid")
    assert ("before" in result["calibration"]) == (strategy == "scratch"), "else parts bring their own temperature"
    assert (result["verdict"] is None) == (strategy == "scratch") == ("scratch" not in result["evidence"])
    assert result["story"].startswith("Nothing is transferred here. A net" if strategy == "scratch" else "Transfer is")
    assert run.input("finetune/scratch").exists() == (strategy != "scratch"), "it would be trained twice"
    if strategy == "scratch":
        assert result["baselines"]["scratch"]["accuracy"] == result["test"]["accuracy"]
        chart = gather.finetune_chart(list(read_jsonl(run.input("finetune/metrics.jsonl"))))
        assert chart
        assert len(chart["chart"]["series"]) == 2 + 1, "two seeds and their mean"
        assert {len(line["dots"]) for line in chart["chart"]["series"]} == {1}
    if strategy == "hybrid":
        alone, gap = result["network_alone"], result["network_alone"]["evidence"]["scratch"]["difference"]
        own = result["parts"]["network"]["accuracy"]["mean"]
        assert gap["mean"] == pytest.approx(own - result["baselines"]["scratch"]["accuracy"]["mean"])
        assert "The transferred network is right on" in alone["story"]
        assert "The transferred network together with a linear classifier is right on" in result["story"]


def test_a_linear_classifier_is_only_said_to_read_the_body_if_it_gives_it_weight() -> None:
    choices = [{"linear": {"weights": weights}} for weights in ([0.0, 0.4], [0.4, 0.0], [0.0, 0.0])]
    descriptions = [score.described("linear", choice) for choice in choices]
    assert ["reads the pretrained body" in each for each in descriptions] == [True, False, False]
    assert ["vectors of pieces" in each for each in descriptions] == [False, True, False]


def test_the_hardest_documents_are_what_all_seeds_together_are_surest_and_wrong_about() -> None:
    test = [{"id": str(i), "text": f"t{i}", "label": label} for i, label in enumerate("aabb")]
    one = np.array([[0.2, 0.8], [0.9, 0.1], [0.7, 0.3], [0.1, 0.9]])
    two = np.array([[0.4, 0.6], [0.8, 0.2], [0.99, 0.01], [0.6, 0.4]])
    found = score.hardest(test, [one, two], ["a", "b"])
    assert [(row["id"], row["predicted"], row["label"], row["seeds_wrong"]) for row in found] == [
        ("2", "a", "b", 2),
        ("0", "b", "a", 2),
    ]
    assert [row["probability"] for row in found] == pytest.approx([0.845, 0.7])
    assert [row["probability_of_label"] for row in found] == pytest.approx([0.155, 0.3])


def test_it_leaves_no_cache_behind(tuned: Run, program: Program, tmp_path: Path) -> None:
    (tmp_path / "runs").symlink_to(Path("runs").resolve())
    home, temporary = tmp_path / "home", tmp_path / "tmp"
    home.mkdir()
    temporary.mkdir()
    ended = program("score", str(Path("run.yaml").resolve()), HOME=str(home), TMPDIR=str(temporary))
    assert ended.returncode == 0, ended.stderr
    assert "Transfer is" in ended.stderr
    assert "vocabulary" not in ended.stderr, "what makes word vectors keeps quiet"
    assert not list(home.iterdir())
    assert not list(temporary.iterdir())
    assert not (tmp_path / ".hf").exists()


def test_a_baseline_is_fitted_once_also_where_it_is_the_model_to_use(
    tuned: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted = []

    def watched(*learned: Any) -> Any:
        fitted.append(learned)
        return without_body(*learned)

    monkeypatch.setattr(score, "without_body", watched)
    monkeypatch.setattr(score, "verdict", lambda *given: {**verdict(*given), "offer": "lexical"})
    score.work(tuned, tmp_path)
    assert (tmp_path / "offer" / "linear.skops").exists()
    assert len(fitted) == 1


@pytest.mark.parametrize("multi_label", [False, True])
def test_a_baseline_that_is_the_model_to_use_can_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, multi_label: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    given = upstream.documents("train", 60)
    rows = [{**row, "label": [row["label"]] if multi_label else row["label"]} for row in given]
    labels, asked = sorted(upstream.WORDS), [row["text"] for row in upstream.documents("asked", 30)]
    learned = [str(row["text"]) for row in rows], score.truth(rows, labels)
    fitted = score.baselines(learned)
    for name in ("tfidf_svm", "lexical"):
        assert score.offered(fitted, name, labels, tmp_path) == "score/offer"
        model = load(find_model(str(tmp_path / "offer"))[0])
        probabilities = classify(Accelerator(cpu=True), model, asked)
        decided = decisions.decided(probabilities, multi_label=multi_label)
        assert model.multi_label == multi_label
        if name == "tfidf_svm":
            assert decided.tolist() == tfidf_svm(*learned).predict(asked).tolist()
        elif not multi_label:
            assert probabilities.sum(1) == pytest.approx(1)
        assert {path.name for path in (tmp_path / "offer").iterdir()} == {"classifier.json", "linear.skops"}
    assert score.offered(fitted, "transfer", labels, tmp_path) == "finetune/model"


@pytest.mark.parametrize(
    ("rows", "message"),
    [(None, "labelled.test="), ([{"id": "1", "text": "ଧାନ", "label": "new"}], "`new` is in test")],
)
def test_test_documents_that_cannot_be_scored_are_refused(
    tuned: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: list[dict[str, Any]] | None, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    tuned.input("fetch/labelled").mkdir(parents=True)
    if rows:
        write_jsonl(tuned.input("fetch/labelled/test.jsonl"), rows)
    with pytest.raises(UsageError, match=message):
        score.read_test(tuned, sorted(upstream.WORDS))


def test_the_lexical_baseline_reaches_its_known_accuracy(akshara_data: Path) -> None:
    splits = {}
    for split in ("train", "test"):
        path = akshara_data / "classification" / "sib200" / "ory_Orya" / f"{split}.tsv"
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
        splits[split] = [row["text"] for row in rows], [row["category"] for row in rows]
    predicted = tfidf_svm(*splits["train"]).predict(splits["test"][0])
    right = sum(p == t for p, t in zip(predicted, splits["test"][1], strict=True))
    assert right / 204 == pytest.approx(0.735, abs=0.001)


@pytest.mark.parametrize("multi_label", [False, True])
def test_a_draw_without_a_class_says_nothing_against_a_perfect_classifier(multi_label: bool) -> None:
    classes = np.repeat([0, 1, 2, 3], [20, 20, 20, 1])
    true = np.eye(4, dtype=int)[classes] if multi_label else classes
    values = bootstrap.resampled(bootstrap.draws(61, 200), [true], true, 4)["macro_f1"]
    assert bootstrap.interval(values) == (1, 1)
