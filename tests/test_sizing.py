"""`model.size=auto`: the largest model that the budget and the corpus are enough for."""

import json
from pathlib import Path
from typing import Any

import pytest
from accelerate import Accelerator
from transformers import PreTrainedTokenizerFast

from pipeline.config import Model, Pretrain
from pipeline.training import sizing
from pipeline.training.sizing import affordable, settle_size

MILLIONS = {"tiny": 0.3, "mini": 2.2, "small": 3.3, "base": 60}


@pytest.mark.parametrize(
    ("trained_on", "corpus", "size"),
    [
        ((0.1, 0.1, 0.1, 0.1), 2, "tiny"),  # too little for any
        ((200, 40, 30, 2), 2, "small"),  # an hour of two cores
        ((9e3, 4e3, 3e3, 500), 2, "small"),  # a GPU, but hardly any text
        ((9e3, 4e3, 3e3, 500), 30, "base"),
        ((9e3, 4e3, 3e3, 500), 0.1, "tiny"),
    ],
)
def test_the_largest_that_there_is_enough_for_is_taken(trained_on: Any, corpus: float, size: str) -> None:
    given = {
        name: (tokens * 1e6, int(count * 1e6))
        for (name, count), tokens in zip(MILLIONS.items(), trained_on, strict=True)
    }
    assert affordable(given, int(corpus * 1e6)) == size


@pytest.mark.parametrize("family", ["modernbert", "bert", "deberta-v2"])
@pytest.mark.parametrize(
    ("budget", "size"),
    [({"max_minutes": 0.25}, "small"), ({"max_minutes": 60}, "base"), ({"max_steps": 1}, "tiny")],
)
def test_a_budget_counts_in_tokens_and_the_answer_outlives_a_slower_hour(
    family: str,
    budget: dict[str, float],
    size: str,
    tokenizer: PreTrainedTokenizerFast,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path, model = tmp_path / "size.json", Model(size="auto", type=family)
    for rate in (100e12, 1.0):
        monkeypatch.setattr(sizing, "product_rate", lambda *_, rate=rate: rate)
        settings = Pretrain(**budget, precision="fp32")
        found = settle_size(model, settings, Accelerator(cpu=True), tokenizer, 50_000_000, path)
        assert (found.size, found.type) == (size, family)
    assert json.loads(path.read_text("utf-8")) == {"size": size}


def test_a_size_that_is_given_is_taken_and_nothing_measured(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    path = tmp_path / "size.json"
    assert settle_size(Model(size="mini"), Pretrain(), Accelerator(cpu=True), tokenizer, 10, path).size == "mini"
    assert not path.exists()
