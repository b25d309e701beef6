"""The learning curve: what each classifier learns from, what it is measured on, and what the curve says."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import upstream

from pipeline import curve
from pipeline.artifacts import Run
from pipeline.config import load
from pipeline.errors import UsageError
from pipeline.metrics.bootstrap import draws
from pipeline.metrics.learning_curve import contrasts, labels_until
from pipeline.reporting import learning
from pipeline.transfer import joining, networks
from pipeline.transfer.subsets import nested_order

SET = ["finetune.epochs=1", "curve.sizes=[6]", "curve.seeds=2", "score.resamples=100"]


def _run(root: Path, *settings: str, splits: dict[str, list[dict[str, Any]]] | None = None) -> Run:
    made = upstream.make_run(root, "bert", splits)
    test = made.input("fetch/labelled/test.jsonl")
    if test.exists():
        test.write_text("whoever reads this fails", "utf-8")
    return Run(load(made.argument, [*SET, *settings]), made.argument)


def test_each_beginning_of_the_order_is_a_stratified_sample_and_no_class_is_left_out() -> None:
    classes = [0] * 60 + [1] * 30 + [2] * 9 + [3]
    for seed in range(5):
        order = nested_order(classes, seed)
        assert sorted(order) == list(range(100))
        for size in (4, 10, 33, 50):
            counts = Counter(classes[i] for i in order[:size])
            assert set(counts) == {0, 1, 2, 3}
            assert all(abs(counts[c] - size * classes.count(c) / 100) <= 2 for c in counts)
    assert nested_order(classes, 0)[:10] != nested_order(classes, 1)[:10]


def test_it_measures_every_point_on_dev_and_goes_on_from_those_that_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = _run(tmp_path, "finetune.strategy=hybrid")
    trained: list[tuple[str, int, int]] = []
    settled_on: list[int] = []

    def counting(job: networks.Job, bench: Any) -> Any:
        if len(trained) == 5:
            raise KeyboardInterrupt
        trained.append((job.strategy, len(bench.splits["train"].ids), job.seed))
        return networks.learn(job, bench)

    def settling(strategy: str, networks: Any, linear: Any, truth: list[int]) -> dict[str, Any]:
        settled_on.append(len(truth))
        return joining.settle(strategy, networks, linear, truth)

    monkeypatch.setattr("pipeline.transfer.subsets.learn", counting)
    monkeypatch.setattr("pipeline.transfer.subsets.settle", settling)
    with pytest.raises(KeyboardInterrupt):
        curve.work(run)
    first = {path: path.read_bytes() for path in (run.folder / "curve/points").iterdir()}
    trained.append(("", 0, 0))
    curve.work(run)
    trained.remove(("", 0, 0))
    assert Counter(trained) == Counter((s, n, seed) for s in ("full", "scratch") for n in (6, 60) for seed in (0, 1))
    assert {path: path.read_bytes() for path in first} == first
    assert set(settled_on) == {16, 17}, "of 21 documents, those of the fifth that is measured left out"

    result = json.loads((run.folder / "curve/curve.json").read_text("utf-8"))
    assert (result["measured_on"], result["documents"]) == ("dev", 21)
    assert {kind: [point["labels"] for point in each] for kind, each in result["curves"].items()} == {
        kind: [6, 60] for kind in ("network", "answer", "scratch", "tfidf_svm")
    }
    assert all(len(point["each"]) == 2 for each in result["curves"].values() for point in each)
    assert result["curves"]["tfidf_svm"][-1]["sd"] == 0  # both draws take all labels
    assert result["curves"]["tfidf_svm"][-1]["mean"] > 0.8
    assert [(each["ours"], each["theirs"]) for each in result["contrasts"]] == [
        (ours, theirs) for ours in ("network", "answer") for theirs in ("scratch", "tfidf_svm")
    ]
    page = (run.folder / "curve/index.html").read_text("utf-8")
    assert page.count("<path") >= 8
    assert all(sentence.replace("+", "&#43;") in page.replace("+", "&#43;") for sentence in learning.story(result))
    assert "http" not in page.split("</style>")[1]

    other = Run(load(run.argument, [*SET, "finetune.strategy=hybrid", "finetune.epochs=2"]), run.argument)
    with pytest.raises(UsageError, match=r"finetune\.epochs: 1 → 2"):
        curve.work(other)


def test_without_dev_a_fifth_of_train_is_held_out_the_same_for_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = ("finetune.strategy=features", "curve.seeds=1", "curve.sizes=[3, 4]")
    run = _run(tmp_path, *settings, splits={"train": upstream.documents("train", 60)})
    curve.work(run)
    result = json.loads((run.folder / "curve/curve.json").read_text("utf-8"))
    assert (result["sizes"], result["documents"]) == ([3, 4, 48], 12)
    assert {kind: [point["labels"] for point in each] for kind, each in result["curves"].items()} == {
        "answer": [4, 48],  # of three classes: to choose settings on, one has to have two documents
        "scratch": [3, 4, 48],
        "tfidf_svm": [3, 4, 48],
    }
    page = (run.folder / "curve/index.html").read_text("utf-8")
    assert not any(said in page for said in ("±", "standard deviation", 'class="band')), "of one draw"
    assert "the linear classifier on the frozen body" in next(learning.story(result))


def test_the_only_document_of_a_class_is_learned_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    train = [*upstream.documents("train", 60), {"id": "alone", "text": "ଓ ଏହା", "label": " first by name"}]
    run = _run(tmp_path, "finetune.strategy=features", "curve.seeds=1", splits={"train": train})
    curve.work(run)
    result = json.loads((run.folder / "curve/curve.json").read_text("utf-8"))
    assert [point["labels"] for point in result["curves"]["answer"]] == [6, 49]
    assert result["documents"] == 12


def test_a_run_that_transfers_nothing_or_has_too_few_documents_has_no_curve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = _run(tmp_path, "curve.sizes=[100]")
    with pytest.raises(UsageError, match=r"60 documents .* curve\.sizes"):
        curve.work(run)
    assert not (run.folder / "curve").exists(), "nothing was begun"
    one = {"train": upstream.documents("train", 60), "dev": upstream.documents("dev", 1)}
    with pytest.raises(UsageError, match="one document of dev"):
        curve.work(_run(tmp_path, splits=one))
    with pytest.raises(UsageError, match="transfers nothing"):
        curve.work(_run(tmp_path, "finetune.strategy=scratch"))


def _right(share: float) -> Any:
    """Whether each of 1000 documents is answered rightly, ``share`` of them, the same first ones for all."""
    return (np.arange(1000) < 1000 * share).astype(float)


def test_contrasts_tell_start_slope_and_end_by_the_documents() -> None:
    ours = {10: _right(0.3), 20: _right(0.5), 40: _right(0.7)}
    theirs = {10: _right(0.5), 20: _right(0.55), 40: _right(0.6), 80: _right(0.9)}
    contrast = contrasts(ours, theirs, draws(1000, 500))
    assert (contrast["from"], contrast["to"]) == (10, 40)
    assert contrast["start"]["mean"] == pytest.approx(-0.2)
    assert contrast["slope"]["mean"] == pytest.approx(0.15)  # 20 points a doubling less 5
    assert contrast["end"]["mean"] == pytest.approx(0.1)
    assert contrast["start"]["high"] < 0 < contrast["slope"]["low"]
    sentence = next(
        learning.story(
            {
                "contrasts": [{"ours": "network", "theirs": "scratch", **contrast}],
                "labels_until": {"accuracy": 0.9, "labels": {}},
                "curves": {"network": [], "scratch": [], "tfidf_svm": [{"labels": 80}]},
            }
        )
    )
    assert "starts lower (with 10 labels −20.0, −22" in sentence
    assert "Against the same network, random start, the transferred network" in sentence
    assert "rises more steeply (+15.0" in sentence
    assert "ends higher (with 40 labels +10.0" in sentence
    same = contrasts(ours, ours, draws(1000, 500))
    assert {same[name]["mean"] for name in ("start", "slope", "end")} == {0}
    gap = np.full(1000, 0.1)
    level = contrasts(dict.fromkeys((10, 25, 75), gap), dict.fromkeys((10, 25, 75), 0 * gap), draws(1000, 500))
    assert level["slope"] == {"mean": 0, "low": 0, "high": 0}, "rounding is no slope"


def test_labels_until_a_height_lie_between_points_or_nowhere() -> None:
    rising = [(10, 0.4), (100, 0.6), (1000, 0.7)]
    assert labels_until(0.5, rising) == pytest.approx(10**1.5)
    assert labels_until(0.6, rising) == pytest.approx(100)
    assert labels_until(0.3, rising) == 10
    assert labels_until(0.71, rising) is None
    assert learning.needed(10, [{"labels": 10}]) == "10 or fewer"
    assert learning.needed(None, [{"labels": 10}]) == "never"
