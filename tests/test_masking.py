"""What is hidden together: words, as any tokenizer marks them, and spans."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import ROOT
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from pipeline import config
from pipeline.pretrain import masked_blocks
from pipeline.text.spelling import word_beginnings
from pipeline.text.tokenization import Algorithm, count_words, train
from pipeline.training.masked import LONGEST_SPAN, VALID_BLOCKS, MaskedBlocks, span_beginnings, validation_blocks

DEMO = " ".join(path.read_text("utf-8") for path in sorted((ROOT / "corpora/demo/source").glob("*.txt")))[:20_000]


@pytest.mark.parametrize("algorithm", ["bpe", "unigram", "wordpiece", "sentencepiece-bpe", "sentencepiece-unigram"])
def test_pieces_join_to_words_and_punctuation_stands_apart(algorithm: Algorithm) -> None:
    inner = train(count_words([DEMO])[0], algorithm, 600)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="[UNK]", sep_token="[SEP]")
    ids = inner.encode("ମହାନଦୀ ଓଡ଼ିଶାର ଢେଙ୍କାନାଳ, 2010 ମସିହାରେ।\nবাংলা Xhosa!", add_special_tokens=False).ids
    begins = word_beginnings(tokenizer)[ids]
    assert len(ids) > 1.5 * begins.sum(), "some words have several pieces"
    words = [inner.decode(word.tolist()).strip() for word in np.split(ids, np.flatnonzero(begins)[1:])]
    assert [word for word in words if word] == [
        *("ମହାନଦୀ", "ଓଡ଼ିଶାର", "ଢେଙ୍କାନାଳ", ",", "2010", "ମସିହାରେ", "।", "বাংলা", "Xhosa", "!")
    ]


@pytest.mark.parametrize(
    ("kind", "pieces", "begin"),
    [
        ("▁", ["▁water", "fall", "s", "<0xE0>", "."], [True, False, False, False, True]),
        ("##", ["water", "##fall", "##s", "."], [True, False, False, True]),
        ("Ġ", ["Ġwater", "fall", "à", "."], [True, False, False, True]),
    ],
)
def test_tokenizers_that_come_with_a_model_mark_words_in_their_own_way(
    kind: str, pieces: list[str], begin: list[bool]
) -> None:
    vocabulary = {piece: i for i, piece in enumerate(["[UNK]", *pieces])}
    if kind == "##":
        inner = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    else:
        inner = Tokenizer(models.BPE(vocabulary, [], unk_token="[UNK]"))
    if kind == "Ġ":
        inner.pre_tokenizer, inner.decoder = pre_tokenizers.ByteLevel(), decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="[UNK]")
    assert word_beginnings(tokenizer).tolist() == [True, *begin]


def _hidden(data: MaskedBlocks, n: int, rate: float) -> np.ndarray:
    """Which tokens of each of ``n`` blocks are hidden: (n, length) bool."""
    rows = np.arange(n)
    hidden = np.zeros(data.blocks.shape, np.bool_)
    hidden.ravel()[data.batch(rows, rows, rate=rate, seed=3, step=5)["positions"].numpy()] = True
    return hidden


def test_words_are_hidden_whole_but_for_the_last_one_of_a_block() -> None:
    ids = np.random.default_rng(0).integers(3, 100, (200, 100)).astype(np.uint16)
    begins = np.arange(100) % 3 == 0
    hidden = _hidden(MaskedBlocks(ids, np.arange(5), 4, 100, lambda ids, _draws: begins[ids]), 200, 0.3)
    assert (hidden.sum(1) == 30).all()
    special = ids < 5
    assert not (hidden & special).any()
    for row, block, never in zip(hidden, begins[ids], special, strict=True):
        words = np.split(np.arange(100), np.flatnonzero(block))
        parts = [row[word[~never[word]]] for word in words]
        assert sum(part.any() and not part.all() for part in parts) <= 1
        assert all((np.diff(part.astype(int)) <= 0).all() for part in parts), "it is hidden from its front"
    assert abs(hidden[~special].mean() - hidden[begins[ids] & ~special].mean()) < 0.02, "long words as often as short"


def test_spans_have_geometric_lengths_and_are_hidden_together() -> None:
    ids = np.random.default_rng(0).integers(5, 100, (500, 128)).astype(np.uint16)
    begins = span_beginnings(ids, np.random.default_rng(1).random(ids.shape, np.float32))
    lengths = np.concatenate([np.diff(np.flatnonzero(row)) for row in begins])
    assert lengths.max() == LONGEST_SPAN
    expected = 0.2 * 0.8 ** np.arange(10) / (1 - 0.8**10)
    assert np.bincount(lengths, minlength=11)[1:] / len(lengths) == pytest.approx(expected, abs=0.02)
    together, alone = (
        _hidden(MaskedBlocks(ids, np.arange(5), 4, 100, how), 500, 0.15) for how in (span_beginnings, None)
    )
    assert (together.sum(1) == round(0.15 * 128)).all()
    runs = [hidden.sum() / (np.diff(hidden.astype(int), axis=1, prepend=0) == 1).sum() for hidden in (together, alone)]
    assert 3.5 < runs[0] < 4.7  # neighbours among the hidden spans make up for the last one, which is cut
    assert runs[1] < 1.3
    assert together.mean(0) == pytest.approx(0.15, abs=0.06), "no place in the block is spared"


def test_an_evaluation_reads_of_every_corpus_as_much_as_it_has() -> None:
    """Documents of the validation text stand corpus by corpus."""
    corpora = np.repeat([0, 1, 2], [60, 500, 1440])[:, None].repeat(8, 1)
    read = validation_blocks(corpora)
    shares = np.bincount(read[:, 0]) / len(read)
    assert len(read) == VALID_BLOCKS
    np.testing.assert_allclose(shares, [0.03, 0.25, 0.72], atol=1 / VALID_BLOCKS)
    np.testing.assert_array_equal(validation_blocks(corpora[:60]), corpora[:60])


def test_the_stage_evaluates_on_all_of_the_validation_text(tmp_path: Path, tokenizer: Any) -> None:
    np.save(tmp_path / "valid.tokens.npy", np.repeat(np.arange(5, 15, dtype=np.uint16), 40 * 128))
    run: Any = SimpleNamespace(input=lambda _: tmp_path, config=config.load("configs/demo.yaml"))
    assert {*masked_blocks(run, "valid", tokenizer).blocks.ravel().tolist()} == {*range(5, 15)}
