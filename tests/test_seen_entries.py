"""Entries of the vocabulary that no document holds: they are read, and keep their vectors."""

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import upstream
from accelerate import Accelerator
from small import labelled

from pipeline.config import Finetune
from pipeline.transfer import classifier, training
from pipeline.transfer.seen_entries import training_seen_entries

LABELS = sorted(upstream.WORDS)
SEEN = [1, 2, 5, 7, 8]
DATA = labelled([[1, 5, 2], [1, 7, 2], [1, 8, 5, 2]] * 4, [0, 1, 2] * 4, 3)
DEV = labelled([[1, 9, 2], [1, 7, 11, 2]], [0, 1], 3)  # with entries that train does not hold


@pytest.mark.parametrize("strategy", ["full", "gradual"])
@pytest.mark.parametrize("family", ["modernbert", "bert", "roberta", "distilbert"])
def test_a_network_learns_the_same_and_the_other_entries_keep_their_vectors(
    family: str, strategy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream.save_checkpoint(tmp_path, family)
    settings = Finetune(epochs=2, batch_documents=6, precision="fp32", weight_decay=0)

    def trained() -> tuple[Any, Any, list[Any]]:
        model, _ = classifier.pretrained(tmp_path, LABELS, 0, settings)
        before = model.get_input_embeddings().weight.detach().clone()
        epochs = training.train(Accelerator(cpu=True), model, 0, DATA, DEV, settings, strategy, 0)
        return model, before, [[row[name] for name in ("loss_nats", "dev_nats")] for row in epochs]

    model, before, epochs = trained()
    monkeypatch.setattr(training, "training_seen_entries", lambda _model, _ids: contextlib.nullcontext())
    whole, _, as_whole = trained()
    assert model.state_dict().keys() == whole.state_dict().keys()
    torch.testing.assert_close(model.state_dict(), whole.state_dict(), rtol=1e-4, atol=1e-5)
    assert np.allclose(epochs, as_whole, atol=1e-5)
    after = model.get_input_embeddings().weight
    moved = {row for row in range(len(before)) if not torch.equal(before[row], after[row])}
    assert moved == {*SEEN}


def test_no_more_than_the_rows_of_seen_entries_train(tmp_path: Path) -> None:
    upstream.save_checkpoint(tmp_path, "modernbert")
    model, _ = classifier.pretrained(tmp_path, LABELS, 0)
    inputs = {"input_ids": torch.tensor([[1, 9, 5, 11, 2, 0]]), "attention_mask": torch.tensor([[1, 1, 1, 1, 1, 0]])}
    logits = model.eval()(**inputs).logits
    with training_seen_entries(model, {*SEEN, 0}):
        assert torch.equal(model(**inputs).logits, logits)
        assert model.get_input_embeddings().weight.shape == (len(SEEN), model.config.hidden_size), "padding stays"
    assert torch.equal(model(**inputs).logits, logits)
