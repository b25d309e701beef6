"""Documents longer than the network reads at once: the same cut wherever texts become token ids."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import upstream
from accelerate import Accelerator
from small import labelled
from transformers import AutoModelForMaskedLM, AutoModelForSequenceClassification, AutoTokenizer

from pipeline import config, finetune
from pipeline.artifacts import Run
from pipeline.config import Finetune
from pipeline.metrics.calibration import softmax
from pipeline.reporting.gather import everything
from pipeline.reporting.page import render
from pipeline.text.documents import read_jsonl
from pipeline.transfer import classifier, linear, shipped, training
from pipeline.transfer.documents import encode, in_windows
from pipeline.transfer.embeddings import Body, embeddings
from pipeline.transfer.training import logits, train

LABELS = sorted(upstream.WORDS)
WORDS = [word for words in upstream.WORDS.values() for word in words]  # of the ids 5 to 16


@pytest.fixture
def network(tmp_path: Path) -> Any:
    """One that reads windows of 8 tokens."""
    upstream.save_checkpoint(tmp_path, "distilbert")
    model, _ = classifier.pretrained(tmp_path, LABELS, 0, Finetune(dropout=0))
    model.config.window_tokens = 8
    return model


@pytest.mark.parametrize(
    ("way", "found"),
    [
        ("head", [1, 5, 6, 7, 8, 9, 10, 2]),
        ("head_tail", [1, 5, 6, 7, 8, 9, 16, 2]),
        ("windows", [1, 5, 6, 7, 8, 9, 10, 2, 1, 9, 10, 11, 12, 13, 14, 2, 1, 13, 14, 15, 16, 2]),
    ],
)
def test_long_texts_are_cut_as_the_saved_tokenizer_says(tmp_path: Path, way: str, found: list[int]) -> None:
    upstream.save_tokenizer(tmp_path / "run")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "run")
    tokenizer.init_kwargs["long_documents"] = way
    tokenizer.save_pretrained(tmp_path / "saved")
    short, long = " ".join(WORDS[:6]), " ".join(WORDS)
    ids, cut = encode(AutoTokenizer.from_pretrained(tmp_path / "saved"), [short, long, short], 8)
    whole = [1, *range(5, 11), 2]
    assert (ids, cut) == ([whole, found, whole], 1)


def test_a_document_gets_the_mean_of_its_windows_and_each_is_trained_with_its_label(
    network: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third = [1, *range(5, 11), 2], [1, *range(9, 15), 2], [1, 13, 2]
    data = labelled([[1, 7, 2], first + second + third], [2, 1], len(LABELS))
    assert in_windows(data.ids, network) == ([[1, 7, 2], first, second, third], [0, 1, 1, 1])
    table = logits(Accelerator(cpu=True), network, data.ids, 0)
    with torch.inference_mode():
        each = [network(torch.tensor([window])).logits[0] for window in ([1, 7, 2], first, second, third)]
    torch.testing.assert_close(table, torch.stack([each[0], torch.stack(each[1:]).mean(0)]))
    seen: list[tuple[list[int], int]] = []
    weights: list[float] = []

    def watched(_accelerator: Any, data: training.Labelled, *_: Any) -> Any:
        seen.extend(zip(data.ids, data.classes(), strict=True))
        weights.extend(data.targets.sum(1))
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "micro_batches", watched)
    with pytest.raises(KeyboardInterrupt):
        train(Accelerator(cpu=True), network, 0, data, None, Finetune(epochs=1, class_weights="balanced"), "full", 0)
    assert seen == [([1, 7, 2], 2), (first, 1), (second, 1), (third, 1)]
    assert weights == pytest.approx([2, 2 / 3, 2 / 3, 2 / 3]), "a class of many windows weighs as much as another"


def test_options_reach_every_network_and_what_is_shipped_says_what_it_said_of_dev(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    caplog.set_level(logging.INFO)
    upstream.make_run(tmp_path, "modernbert")
    options = ["seeds=1", "epochs=1", "long_documents=windows", "pooling=attention", "reinitialised_layers=1"]
    run = Run(config.load("run.yaml", [f"finetune.{option}" for option in options]), "run.yaml")
    counts = finetune.work(run, tmp_path / "out")
    assert 0 < counts["cut"]["dev"] < 21
    assert "longer than 12 tokens and read in windows: " in caplog.text
    shown = {"counts": {"finetune": counts}, "settings": {"finetune.long_documents": "windows"}}
    page = render({**everything(run), **shown, "labelled": {"rows": [], "splits": {}}})
    assert "Longer than 12 tokens and read in windows: " in page
    assert any("layers.1" in name for name in counts["transfer"]["new_tensors"])
    for name in ("model", "scratch/seed-0"):
        settings = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out" / name).config
        assert (settings.pooling, settings.window_tokens) == ("attention", 12)
    texts = [row["text"] for row in read_jsonl(run.input("fetch/labelled/dev.jsonl"))]
    probabilities = shipped.classify(Accelerator(cpu=True), shipped.load(tmp_path / "out" / "model"), texts)
    outcome = json.loads((tmp_path / "out" / "seed-0" / "training.json").read_text("utf-8"))
    expected = softmax(np.asarray(outcome["unseen_logits"]) / outcome["temperature"])
    assert probabilities == pytest.approx(expected, abs=1e-5)


def test_a_frozen_body_tells_the_mean_over_all_windows(tmp_path: Path) -> None:
    upstream.save_checkpoint(tmp_path, "modernbert")
    body = AutoModelForMaskedLM.from_pretrained(tmp_path).base_model.eval()
    body.config.window_tokens = 4
    weights = np.arange(23, dtype=np.float32)
    weights[:5] = 0
    windows = [[1, 5, 6, 2], [1, 6, 9, 2], [1, 7, 2]]
    laid_out = [token for window in windows for token in window]
    read = embeddings(
        Accelerator(cpu=True), Body(body, np.eye(23, 32, dtype=np.float32), weights), [[1, 8, 2], laid_out], 0
    )
    with torch.inference_mode():
        tokens = [body(torch.tensor([window])).last_hidden_state[0].numpy() for window in windows]
    expected = np.average(np.concatenate(tokens), axis=0, weights=weights[laid_out])
    np.testing.assert_allclose(read[1, 1], expected, rtol=1e-4, atol=1e-5)
    counted = np.bincount(laid_out, weights[laid_out], minlength=32)
    np.testing.assert_allclose(read[1, 0], counted / counted.sum(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("strategy", ["features", "hybrid"])
def test_a_linear_classifier_reads_windows_too_and_so_does_what_is_shipped(
    strategy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    upstream.make_run(tmp_path, "modernbert")
    options = [f"strategy={strategy}", "seeds=1", "epochs=1", "long_documents=windows"]
    run = Run(config.load("run.yaml", [f"finetune.{option}" for option in options]), "run.yaml")
    choose = linear.choose  # of documents as easy as these characters tell all, and a body would be left behind
    monkeypatch.setattr(linear, "choose", lambda *given, **more: choose(*given, **more)._replace(weights=(0.4, 0.4)))
    finetune.work(run, tmp_path / "out")
    made = shipped.load(tmp_path / "out" / "model")
    assert made.frozen is not None
    assert made.frozen.body is not None
    network = made.frozen.body.network
    assert network.config.window_tokens == 12
    texts = [" ".join([*WORDS[:10], *end]) for end in ([], WORDS[:4], WORDS[-4:])]  # the first 10 words fill a window
    ids, _ = encode(made.frozen.tokenizer, texts, 12)
    seen = embeddings(Accelerator(cpu=True), made.frozen.body, ids, 0)
    assert not np.allclose(seen[1], seen[2])
    network.config.window_tokens = None
    whole = embeddings(Accelerator(cpu=True), made.frozen.body, ids, 0)
    assert not np.allclose(seen[1:, 1], whole[1:, 1]), "a window looks into no other"
    network.config.window_tokens = 12
    assert np.isfinite(shipped.classify(Accelerator(cpu=True), made, texts)).all()
