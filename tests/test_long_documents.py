"""Documents longer than the network reads at once: the same cut wherever texts become token ids."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import upstream
from accelerate import Accelerator
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from pipeline import config, finetune
from pipeline.artifacts import Run
from pipeline.config import Finetune
from pipeline.errors import UsageError
from pipeline.metrics.calibration import softmax
from pipeline.text.documents import read_jsonl
from pipeline.transfer import classifier, shipped, training
from pipeline.transfer.documents import encode, in_windows
from pipeline.transfer.training import labelled, logits, train

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
    said = logits(Accelerator(cpu=True), network, data.ids, 0)
    with torch.inference_mode():
        each = [network(torch.tensor([window])).logits[0] for window in ([1, 7, 2], first, second, third)]
    torch.testing.assert_close(said, torch.stack([each[0], torch.stack(each[1:]).mean(0)]))
    seen: list[tuple[list[int], int]] = []

    def watched(_accelerator: Any, data: training.Labelled, *_: Any) -> Any:
        seen.extend(zip(data.ids, data.classes(), strict=True))
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "micro_batches", watched)
    with pytest.raises(KeyboardInterrupt):
        train(Accelerator(cpu=True), network, 0, data, None, Finetune(epochs=1), "full", 0)
    assert seen == [([1, 7, 2], 2), (first, 1), (second, 1), (third, 1)]


def test_options_reach_every_network_and_what_is_shipped_says_what_it_said_of_dev(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    upstream.make_run(tmp_path, "modernbert")
    options = ["seeds=1", "epochs=1", "long_documents=windows", "pooling=attention", "reinitialised_layers=1"]
    run = Run(config.load("run.yaml", [f"finetune.{option}" for option in options]), "run.yaml")
    counts = finetune.work(run, tmp_path / "out")
    assert 0 < counts["cut"]["dev"] < 21
    assert any("layers.1" in name for name in counts["transfer"]["new_tensors"])
    for name in ("model", "scratch/seed-0"):
        settings = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out" / name).config
        assert (settings.pooling, settings.window_tokens) == ("attention", 12)
    texts = [row["text"] for row in read_jsonl(run.input("fetch/labelled/dev.jsonl"))]
    said = shipped.classify(Accelerator(cpu=True), shipped.load(tmp_path / "out" / "model"), texts)
    story = json.loads((tmp_path / "out" / "seed-0" / "training.json").read_text("utf-8"))
    expected = softmax(np.asarray(story["unseen_logits"]) / story["temperature"])
    assert said == pytest.approx(expected, abs=1e-5)


def test_windows_with_a_linear_classifier_are_refused(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text("run: a\nlanguage: or\nfinetune: {long_documents: windows}\n", "utf-8")
    with pytest.raises(UsageError, match=r"set finetune\.strategy=full"):
        config.load(str(tmp_path / "run.yaml"))
