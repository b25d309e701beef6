"""A linear classifier on lexical features and a frozen body, and what it and the network each have to say."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import upstream
from accelerate import Accelerator
from transformers import AutoConfig, AutoModel

from pipeline import finetune
from pipeline.artifacts import Run
from pipeline.config import load
from pipeline.errors import UsageError
from pipeline.model.piece_vectors import NEAR, WIDE, piece_vectors
from pipeline.text.documents import read_jsonl
from pipeline.transfer import linear, shipped
from pipeline.transfer.bench import open_bench
from pipeline.transfer.embeddings import Body, embeddings, token_weights
from pipeline.transfer.joining import frozen_body, settle

TEXTS = [row["text"] for row in upstream.documents("train", 60)]
CLASSES = [sorted(upstream.WORDS).index(row["label"]) for row in upstream.documents("train", 60)]


def _vectors(tell: bool) -> np.ndarray[Any, Any]:
    """(documents, 2 layers, 8): chance, and in the second layer the class where it is to ``tell``."""
    vectors = np.random.default_rng(0).normal(size=(len(TEXTS), 2, 8)).astype(np.float32)
    if tell:
        vectors[range(len(TEXTS)), 1, CLASSES] += 9
    return vectors


def test_in_the_mean_over_a_document_a_rare_token_counts_more_and_a_special_one_nothing() -> None:
    stream = np.repeat(np.arange(6, dtype=np.uint16), [0, 0, 100, 9889, 10, 1])
    weights = token_weights(stream, special=[0, 2], vocabulary=7)
    np.testing.assert_allclose(weights, [0, 1, 0, 1e-4 / 0.989, 1e-4 / 0.0011, 0.5, 1], rtol=1e-4)
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 48}
    body = AutoModel.from_config(AutoConfig.for_model("modernbert", vocab_size=7, pad_token_id=0, **shape))
    vectors = np.random.default_rng(0).normal(size=(7, 32)).astype(np.float32)
    read = embeddings(Accelerator(cpu=True), Body(body, vectors, weights), [[2, 5, 3, 2], [2, 6, 2], [2, 2]], 0)
    with torch.inference_mode():
        top = body(input_ids=torch.tensor([[2, 5, 3, 2]])).last_hidden_state[0].numpy()
    for place, (five, three) in enumerate((vectors[[5, 3]], top[[1, 2]])):
        mean = (0.5 * five + weights[3] * three) / (0.5 + weights[3])
        np.testing.assert_allclose(read[0, place], mean, rtol=1e-4, atol=1e-6)
    assert read[1].any(-1).all()
    assert not read[2].any(), "nothing but special tokens"


def test_a_linear_classifier_reads_vectors_of_wide_company(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    bench, _ = open_bench(upstream.make_run(tmp_path), tmp_path / "out")
    corpus, special = np.arange(23)[None], np.array(bench.tokenizer.all_special_ids)
    wide, near = (piece_vectors(corpus, 23, 32, special, 0, window) for window in (WIDE, NEAR))
    np.testing.assert_allclose(frozen_body(bench)[0].piece_vectors, wide, atol=1e-6)
    assert not np.allclose(wide, near)


def test_a_layer_that_tells_gets_weight_and_one_of_chance_none() -> None:
    words = ["ଏକ ଦୁଇ ତିନି"] * len(TEXTS)
    chosen = linear.choose(words, _vectors(tell=True), CLASSES, "svm", lexical=True)
    assert chosen.weights[1] > 0
    assert chosen.accuracy > 0.9
    assert chosen.lexical_accuracy is not None
    assert chosen.lexical_accuracy < 0.5
    chosen = linear.choose(TEXTS, _vectors(tell=False), CLASSES, "svm", lexical=True)
    assert chosen.accuracy > 0.9
    assert chosen.accuracy == chosen.lexical_accuracy


def test_of_long_documents_the_opening_is_read_apart_where_it_tells(tmp_path: Path) -> None:
    rest = [" ".join(TEXTS[(i * step) % len(TEXTS)] for step in range(7, 47)) for i in range(len(TEXTS))]
    long = [f"{text[:80]}\n{other}" for text, other in zip(TEXTS, rest, strict=True)]
    vectors = _vectors(tell=False)
    chosen = linear.choose(long, vectors, CLASSES, "svm", lexical=True)
    assert chosen.opening
    fitted = linear.fit(long, vectors, CLASSES, chosen)
    without = linear.fit(long, vectors, CLASSES, chosen._replace(opening=False))
    unseen = [f"{text}\n{other}" for text, other in zip(TEXTS, rest[::-1], strict=True)]
    right = [(each.probabilities(unseen, vectors).argmax(1) == CLASSES).mean() for each in (fitted, without)]
    assert right[0] > right[1]
    linear.save(fitted, tmp_path)
    np.testing.assert_array_equal(
        linear.load(tmp_path).probabilities(long, vectors), fitted.probabilities(long, vectors)
    )
    assert not linear.choose(TEXTS, vectors, CLASSES, "svm", lexical=True).opening, "of short documents it is not asked"


@pytest.mark.parametrize("machine", ["svm", "logistic", "neighbours"])
@pytest.mark.parametrize("lexical", [True, False])
def test_it_says_the_same_after_it_was_written_and_read(tmp_path: Path, machine: str, lexical: bool) -> None:
    vectors = _vectors(tell=True)
    fitted = linear.fit(TEXTS, vectors, CLASSES, linear.choose(TEXTS, vectors, CLASSES, machine, lexical=lexical))
    probabilities = fitted.probabilities(TEXTS, vectors)
    assert probabilities.shape == (len(TEXTS), 3)
    np.testing.assert_allclose(probabilities.sum(1), 1)
    assert (probabilities.argmax(1) == CLASSES).mean() > 0.9
    linear.save(fitted, tmp_path)
    np.testing.assert_array_equal(linear.load(tmp_path).probabilities(TEXTS, vectors), probabilities)


def test_of_two_classes_both_get_their_probability() -> None:
    two = [min(c, 1) for c in CLASSES]
    vectors = _vectors(tell=True)
    fitted = linear.fit(TEXTS, vectors, two, linear.choose(TEXTS, vectors, two, "svm", lexical=True))
    assert (fitted.probabilities(TEXTS, vectors).argmax(1) == two).mean() > 0.9


def _table(right: float, sure: float, seed: int) -> np.ndarray[Any, Any]:
    """What says the true class 0 with probability ``sure`` for a share of ``right`` of 200 documents."""
    hit = np.random.default_rng(seed).random(200) < right
    return np.where(hit[:, None], [sure, 1 - sure], [1 - sure, sure])


def test_the_answer_is_the_most_accurate_and_the_strategy_can_ask_for_one() -> None:
    truth = [0] * 200
    good, bad = _table(0.9, 0.9, 0), _table(0.5, 0.6, 1)
    assert settle("auto", [bad, bad], good, truth)["answer"] == "linear"
    assert settle("auto", [good, good], bad, truth)["share"] > 0.5
    other = _table(0.9, 0.9, 2)
    both = settle("auto", [good], other, truth)
    assert (
        both["answer"] == "joined" or both["evidence"]["joined"]["accuracy"] <= both["evidence"]["linear"]["accuracy"]
    )
    assert settle("hybrid", [bad], good, truth)["answer"] == "joined"
    assert settle("features", [good], bad, truth)["answer"] == "linear"


@pytest.mark.parametrize(("strategy", "dev"), [("hybrid", True), ("hybrid", False), ("features", True), ("auto", True)])
def test_what_is_shipped_says_what_its_parts_say_in_their_shares(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strategy: str, dev: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    splits = {"train": upstream.documents("train", 60), **({"dev": upstream.documents("dev", 21)} if dev else {})}
    made = upstream.make_run(tmp_path, "modernbert", splits)
    run = Run(load(made.argument, [f"finetune.strategy={strategy}", "finetune.epochs=1"]), made.argument)
    counts = upstream.finish(run, "finetune", lambda part: finetune.work(run, part))
    choice, texts = counts["choice"], [row["text"] for row in splits["train"]]
    folder, accelerator = run.input("finetune"), Accelerator(cpu=True)
    probabilities = shipped.classify(accelerator, shipped.load(folder / "model"), texts)
    linear_probabilities = shipped.classify(accelerator, shipped.load(folder / "linear" / "seed-0"), texts)
    if choice["answer"] == "linear":
        expected = linear_probabilities
    else:
        network_probabilities = shipped.classify(accelerator, shipped.load(folder / counts["shipped"]), texts)
        expected = choice["share"] * network_probabilities + (1 - choice["share"]) * linear_probabilities
    np.testing.assert_allclose(probabilities, expected, atol=1e-9)
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-6)
    assert strategy != "hybrid" or 0 < choice["share"] < 1
    assert (folder / "seed-0").exists() is (strategy != "features")
    rows = list(read_jsonl(folder / "metrics.jsonl"))
    assert {row["strategy"] for row in rows} == {"scratch"} | ({"full"} if strategy != "features" else set())
    json.dumps(counts)


@pytest.mark.parametrize("dev", [True, False])
def test_a_body_that_got_no_weight_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dev: bool) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(linear, "WEIGHTS", (0.0,))
    splits = {"train": upstream.documents("train", 60), **({"dev": upstream.documents("dev", 21)} if dev else {})}
    made = upstream.make_run(tmp_path, "modernbert", splits)
    run = Run(load(made.argument, ["finetune.strategy=auto", "finetune.epochs=1", "finetune.seeds=1"]), made.argument)
    counts = upstream.finish(run, "finetune", lambda part: finetune.work(run, part))
    folder = run.input("finetune/linear/seed-0")
    assert {path.name for path in folder.iterdir()} == {"classifier.json", "linear.skops"}
    told = shipped.classify(Accelerator(cpu=True), shipped.load(folder), TEXTS)
    assert (told.argmax(1) == CLASSES).mean() > 0.9
    assert counts["choice"]["evidence"]["linear"]["accuracy"] > 0.9


@pytest.mark.parametrize("machine", ["svm", "logistic", "neighbours"])
@pytest.mark.parametrize("least", [1, 2])
def test_a_class_of_a_document_or_two_leaves_the_probabilities_of_others_sharp(machine: str, least: int) -> None:
    kept = [i for i, c in enumerate(CLASSES) if c < 2] + [i for i, c in enumerate(CLASSES) if c == 2][:least]
    texts, vectors, truth = [TEXTS[i] for i in kept], _vectors(tell=True)[kept], np.array(CLASSES)[kept]
    chosen = linear.choose(texts, vectors, truth, machine, lexical=True)
    fitted = linear.fit(texts, vectors, truth, chosen)
    probabilities = fitted.probabilities(texts, vectors)
    assert probabilities.shape == (len(kept), 3)
    assert fitted.temperature < 2
    assert probabilities.max(1).mean() > 0.9
    assert chosen.accuracy > 0.9


@pytest.mark.parametrize("every", [False, True], ids=["the class of one document", "the class of all but one"])
def test_who_has_not_met_a_class_gives_it_to_no_document_and_who_met_no_other_to_all(
    tmp_path: Path, every: bool
) -> None:
    truth = np.concatenate([np.eye(3, dtype=int)[CLASSES], np.full((len(CLASSES), 1), every)], axis=1)
    truth[-1, 3] = not every
    vectors = _vectors(tell=True)
    chosen = linear.choose(TEXTS, vectors, truth, "svm", lexical=True)
    fitted = linear.fit(TEXTS[:-1], vectors[:-1], truth[:-1], chosen)
    probabilities = fitted.probabilities(TEXTS, vectors)
    assert ((probabilities[:, 3] >= 0.5) == every).all()
    assert fitted.temperature < 2
    linear.save(fitted, tmp_path)
    np.testing.assert_array_equal(linear.load(tmp_path).probabilities(TEXTS, vectors), probabilities)


def test_where_nothing_can_be_left_out_probabilities_stay_as_they_are() -> None:
    alone, vectors = [0, CLASSES.index(1), CLASSES.index(2)], _vectors(tell=True)
    chosen = linear.choose(TEXTS, vectors, CLASSES, "svm", lexical=True)
    assert linear.fit([TEXTS[i] for i in alone], vectors[alone], [CLASSES[i] for i in alone], chosen).temperature == 1


@pytest.mark.parametrize("counts", [(20, 20, 1), (30, 1), (5, 1)])
def test_without_a_dev_split_the_only_document_of_a_class_is_learned_from_and_not_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counts: tuple[int, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    by_class = [[row for row in upstream.documents("train", 90) if row["label"] == label] for label in upstream.WORDS]
    train = [row for rows, count in zip(by_class, counts, strict=False) for row in rows[:count]]
    made = upstream.make_run(tmp_path, "modernbert", {"train": train, "test": upstream.documents("test", 12)})
    run = Run(load(made.argument, ["finetune.strategy=auto", "finetune.epochs=1", "finetune.seeds=1"]), made.argument)
    counts_told = upstream.finish(run, "finetune", lambda part: finetune.work(run, part))
    assert counts_told["choice"]["evidence"]["linear"]["accuracy"] > 0.9


def test_one_document_of_each_class_is_too_little(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    splits = {"train": upstream.documents("train", 3), "dev": upstream.documents("dev", 9)}
    run = upstream.make_run(tmp_path, "modernbert", splits)
    with pytest.raises(UsageError, match="every class has one training document alone"):
        finetune.work(run, tmp_path)
