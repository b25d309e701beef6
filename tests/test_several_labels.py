"""Documents with several labels each, all along the line."""

import json
import random
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import upstream
from accelerate import Accelerator
from transformers import pipeline as transformers_pipeline

from pipeline import curve, finetune, predict, score
from pipeline.artifacts import Run
from pipeline.config import Finetune, load
from pipeline.errors import UsageError
from pipeline.metrics import bootstrap, comparison, decisions, scores
from pipeline.reporting import gather
from pipeline.reporting.page import render
from pipeline.text import labelled, labelled_checks
from pipeline.transfer import classifier, training
from pipeline.transfer.training import Labelled

LABELS = sorted(upstream.WORDS)


def documents(split: str, count: int) -> list[dict[str, Any]]:
    """Documents with words of one class or of two."""
    rng, rows = random.Random(split), []
    for i in range(count):
        own = rng.sample(LABELS, rng.choice([1, 2]))
        words = [word for label in own for word in rng.choices(upstream.WORDS[label], k=4)]
        rows.append({"id": f"{split}-{i}", "text": " ".join(words), "label": own})
    return rows


def made(root: Path, *settings: str, dev: bool = True) -> Run:
    sizes = {"train": 60, "test": 30} | ({"dev": 24} if dev else {})
    first = upstream.make_run(root, "bert", {split: documents(split, count) for split, count in sizes.items()})
    return Run(
        load(first.argument, ["score.resamples=200", *(f"finetune.{each}" for each in settings)]), first.argument
    )


@pytest.mark.parametrize(("strategy", "dev"), [("full", True), ("hybrid", False)])
def test_they_are_learned_scored_reported_and_predicted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], strategy: str, dev: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    run = made(tmp_path, f"strategy={strategy}", f"epochs={8 if dev else 2}", "learning_rate=5e-3", "seeds=1", dev=dev)
    counts = upstream.finish(run, "finetune", lambda part: finetune.work(run, part))
    assert counts["labels"]["train"].keys() == {*LABELS}
    upstream.finish(run, "score", lambda part: score.work(run, part))
    result = json.loads(run.input("score/scores.json").read_text("utf-8"))
    assert result["test"]["micro_f1"]["mean"] > 0.8
    assert 0 < result["baselines"]["majority"]["accuracy"]["mean"] < result["test"]["accuracy"]["mean"]
    for system in (result["test"], *result["baselines"].values()):
        assert system["accuracy"]["mean"] <= system["micro_f1"]["mean"] + 1e-9
    rows = [json.loads(line) for line in run.input("score/predictions.jsonl").read_text("utf-8").splitlines()]
    for row in rows:
        assert row["predicted"] == [label for label in LABELS if row["probabilities"][label] >= 0.5]
    right = np.mean([sorted(row["label"]) == row["predicted"] for row in rows])
    assert result["shipped"]["accuracy"] == pytest.approx(right)
    assert sum(bin["documents"] for bin in result["calibration"]["after"]["bins"]) == 30 * 3
    for row in map(json.loads, run.input("score/hardest.jsonl").read_text("utf-8").splitlines()):
        assert row["predicted"] != sorted(row["label"])
    page = render(gather.everything(run))
    assert "micro F1" in page
    assert 'id="classes"' in page
    assert ("temperature fitted on" in page) == (strategy == "full")
    assert "nats a decision" in page

    several = next(row for row in rows if len(row["predicted"]) == 2)
    both = next(row["text"] for row in documents("test", 30) if row["id"] == several["id"])
    monkeypatch.setattr(sys, "argv", ["predict", run.argument, "--text", both])
    capsys.readouterr()
    with pytest.raises(SystemExit):
        predict.main()
    predicted, sure, _ = capsys.readouterr().out.split("\t")
    assert predicted == "|".join(several["predicted"])
    assert min(map(float, sure.split("|"))) >= 0.5
    if strategy == "full":  # plain transformers decides on each label by itself, too
        classify = transformers_pipeline("text-classification", str(run.input("finetune/model")), top_k=None)
        (plain,) = classify([both], truncation=True)
        assert {each["label"] for each in plain if each["score"] >= 0.5} == {*several["predicted"]}


def test_the_loss_is_that_of_each_class_by_itself(tmp_path: Path) -> None:
    upstream.save_checkpoint(tmp_path, "distilbert")
    settings = Finetune(epochs=1, dropout=0)
    model, _ = classifier.pretrained(tmp_path, LABELS, 0, settings)
    table = np.array([[1, 0, 1], [0, 1, 0], [0, 1, 1]], np.float32)
    data = Labelled([[1, 5, 2], [1, 6, 2], [1, 7, 2]], table, multi_label=True)
    logits = training.logits(Accelerator(cpu=True), model, data.ids, 0)
    each = torch.nn.functional.binary_cross_entropy_with_logits(logits, torch.from_numpy(table), reduction="none")
    assert training.evaluation(logits, data)["dev_nats"] == pytest.approx(float(each.sum(1).mean()), abs=1e-5)
    rows = training.train(Accelerator(cpu=True), model, 0, data, None, settings, "full", 0)
    assert rows[0]["loss_nats"] == pytest.approx(float(each.sum(1).mean()), abs=1e-4)


def test_decisions_are_from_a_half_and_right_where_all_are() -> None:
    logits = np.array([[2.0, -1.0], [0.5, 0.5], [-3.0, 1.0]])
    table = decisions.probabilities(logits, multi_label=True)
    assert table == pytest.approx(1 / (1 + np.exp(-logits)))
    found, truth = decisions.decided(table, multi_label=True), np.array([[1, 0], [1, 0], [0, 1]])
    assert found.tolist() == [[1, 0], [1, 1], [0, 1]]
    assert decisions.right(found, truth).tolist() == [True, False, True]
    nats = -np.log(np.where(truth, table, 1 - table)).sum(1).mean()
    assert decisions.accuracy_and_nats(table, truth) == pytest.approx({"accuracy": 2 / 3, "nats": nats})
    assert comparison.mcnemar(found, truth, truth)["only_theirs_right"] == 1
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(3000, 2))
    truth = (rng.random((3000, 2)) < 1 / (1 + np.exp(-logits))).astype(int)
    assert decisions.fit_temperature(3 * logits, truth) == pytest.approx(3, rel=0.1)


def test_the_bootstrap_computes_the_figures_that_evaluate_does() -> None:
    rng = np.random.default_rng(1)
    true, predicted = (rng.random((40, 4)) < 0.4).astype(int), (rng.random((40, 4)) < 0.4).astype(int)
    true[:, 3] = 0  # never true
    whole = bootstrap.resampled(np.ones((1, 40)), [predicted, true], true, 4)
    for name, expected in scores.summary(predicted, true).items():
        assert whole[name][0] == pytest.approx((expected + 1) / 2), name


def test_a_list_and_a_separator_give_the_same_labels(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("text\tcategory\nx\tsport| news \ny\tnews\n", "utf-8")
    rows = [{"text": "x", "category": ["sport", " news ", "news"]}, {"text": "y", "category": ["news"]}]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)), "utf-8")
    for file, separator in (("a.tsv", "|"), ("a.jsonl", None)):
        read = labelled.parted(labelled.read(str(tmp_path / file), "train", "text", "category"), separator)
        test = [{"id": "1", "text": "z", "label": "news"}]
        splits, faults = labelled_checks.checked(labelled.alike({"train": read, "test": test}), remove_leaked=True)
        assert splits["test"][0]["label"] == ["news"]
        assert [row["label"] for row in splits["train"]] == [["sport", "news"], ["news"]]
        assert faults["spaced_labels"] == 1
        assert not faults["conflicts"]["texts"]
    whole = labelled.read(str(tmp_path / "a.tsv"), "train", "text", "category")
    assert labelled.alike({"train": labelled.parted(whole, None)}) == {"train": whole}


def test_what_wants_one_label_each_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = made(tmp_path)
    for setting in ("machine=neighbours", "class_weights=balanced", "label_smoothing=0.1"):
        asking = Run(load(run.argument, [f"finetune.{setting}"]), run.argument)
        with pytest.raises(UsageError, match="documents with one label each"):
            finetune.work(asking, tmp_path / "out")
    with pytest.raises(UsageError, match="documents with one label each"):
        curve.work(run)
