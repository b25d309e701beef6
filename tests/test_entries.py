"""Entries of the vocabulary that no document holds: they are read, and move only by what they share with others."""

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import upstream
from accelerate import Accelerator
from small import labelled
from tokenizers import Tokenizer, decoders, models
from transformers import PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import bytes_to_unicode

from pipeline.config import Finetune
from pipeline.transfer import classifier, networks, pieces, training
from pipeline.transfer.bench import open_bench
from pipeline.transfer.entries import shared_parameters, training_entries
from pipeline.transfer.pieces import Pieces, shared_ngrams

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
    monkeypatch.setattr(training, "training_entries", lambda *_: contextlib.nullcontext())
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
    with training_entries(model, {*SEEN, 0}, None):
        assert torch.equal(model(**inputs).logits, logits)
        assert model.get_input_embeddings().weight.shape == (len(SEEN), model.config.hidden_size), "padding stays"
    assert torch.equal(model(**inputs).logits, logits)


def _pieces(vocabulary: int) -> Pieces:
    """5 and 9 keep the same company; 7 and 11 are spelled alike; 13 has neither with any other."""
    company = np.zeros((vocabulary, 8), np.float32)
    company[5], company[9], company[7] = 3 * np.eye(8)[0], np.eye(8)[0], np.eye(8)[1]
    names = ["" if i in (0, 1, 2) else chr(0x4E00 + 3 * i) * 2 for i in range(vocabulary)]
    names[7], names[11] = "_mala", "_malu"
    return Pieces(company, shared_ngrams(names))


def _table_after(folder: Path, pieces: Pieces | None, strategy: str = "full") -> tuple[Any, Any]:
    settings = Finetune(epochs=2, batch_documents=6, precision="fp32", weight_decay=0)
    model, _ = classifier.pretrained(folder, LABELS, 0, settings)
    before = model.get_input_embeddings().weight.detach().clone()
    training.train(Accelerator(cpu=True), model, 0, DATA, DEV, settings, strategy, 0, pieces)
    return before, model.get_input_embeddings().weight.detach()


@pytest.mark.parametrize("family", ["modernbert", "roberta"])
def test_entries_that_no_document_holds_move_by_their_spelling_and_company(family: str, tmp_path: Path) -> None:
    upstream.save_checkpoint(tmp_path, family)
    before, after = _table_after(tmp_path, _pieces(20))
    moved = (after - before).norm(dim=1)
    assert all(moved[entry] > 1e-3 for entry in (5, 7, 9, 11))
    assert not moved[[0, 3, 4, 6, 10, 12, *range(13, len(before))]].any(), "what shares nothing, and padding"
    assert torch.cosine_similarity(after[9] - before[9], after[5] - before[5], dim=0) > 0.5


def test_a_strategy_that_freezes_the_table_shares_nothing(tmp_path: Path) -> None:
    upstream.save_checkpoint(tmp_path, "modernbert")
    before, after = _table_after(tmp_path, _pieces(20), "last_layers")
    assert torch.equal(before, after)


def test_what_is_learned_is_in_the_table_and_nowhere_else(tmp_path: Path) -> None:
    upstream.save_checkpoint(tmp_path, "modernbert")
    model, _ = classifier.pretrained(tmp_path, LABELS, 0)
    names = {*model.state_dict()}
    inputs = {"input_ids": torch.tensor([[1, 9, 5, 11, 2, 0]]), "attention_mask": torch.tensor([[1, 1, 1, 1, 1, 0]])}
    untrained = model.eval()(**inputs).logits
    with training_entries(model, {*SEEN, 0}, _pieces(20)), torch.no_grad():
        assert torch.equal(model(**inputs).logits, untrained), "nothing has been learned yet"
        for name in shared_parameters(model):
            torch.nn.init.normal_(model.get_parameter(name))
        within = model(**inputs).logits
    assert not torch.allclose(within, untrained)
    torch.testing.assert_close(model(**inputs).logits, within)
    assert {*model.state_dict()} == names


def test_n_grams_are_those_that_two_pieces_have() -> None:
    table = shared_ngrams(["", "_ab", "ab", "xy"])
    assert [np.count_nonzero(row) for row in table] == [0, 1, 1, 0]
    assert table[1, 0] == table[2, 0]


def test_n_grams_of_a_byte_level_vocabulary_are_of_characters_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spelled = bytes_to_unicode()
    whole, other, part = (
        "".join(spelled[byte] for byte in text) for text in (" ମାଳା".encode(), "ମାଳୀ".encode(), b"\xe0\xac")
    )
    inner = Tokenizer(models.BPE({piece: i for i, piece in enumerate(["<unk>", whole, other, part])}, []))
    inner.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="<unk>")
    monkeypatch.setattr(pieces, "_company", lambda *_: np.zeros((4, 8), np.float32))
    table = pieces.known_pieces(Accelerator(cpu=True), tokenizer, tmp_path, 8).spelling
    assert [np.count_nonzero(row) for row in table] == [0, 3, 3, 0], "ମା ମାଳ ାଳ; part of a character has none"


def test_the_control_knows_no_company(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = upstream.make_run(tmp_path, "modernbert")
    (tmp_path / "out").mkdir()
    bench, _ = open_bench(run, tmp_path / "out")
    assert bench.pieces.company.any()
    assert bench.pieces.spelling.any()
    given: dict[str, Any] = {}

    def training_none(*all_of: Any) -> list[dict[str, float]]:
        given[all_of[6]] = all_of[8]
        return [{"loss_nats": 1.0, "seconds": 0.0}]

    monkeypatch.setattr(networks, "train", training_none)
    for strategy in ("full", "scratch"):
        networks.learn(networks.Job(strategy, 0, strategy), bench)
    assert given["full"] is bench.pieces
    assert not given["scratch"].company.any()
    assert given["scratch"].spelling is bench.pieces.spelling
    alone = bench._replace(settings=bench.settings.model_copy(update={"share_updates": False}))
    networks.learn(networks.Job("full", 0, "alone"), alone)
    assert given["full"] is None
