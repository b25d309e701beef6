"""Encoding: what is on disk is the text and nothing else, in little room, the same whoever writes it."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models

from pipeline.errors import UsageError
from pipeline.text import encoded
from pipeline.text.documents import write_jsonl
from pipeline.text.encoded import blocks, document_ids, encode, epoch_order, id_type, stream
from pipeline.text.tokenization import count_words, save, train

TEXTS = [f"ଗାଁର ପୋଖରୀରେ  ପଦ୍ମ ଫୁଟେ {i}।\n\nପିଲାମାନେ ଖେଳନ୍ତି [SEP]" for i in range(300)] + ["", " \n "]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train(count_words(TEXTS)[0], "bpe", 500)


def test_documents_come_back_from_the_files_in_order(tokenizer: Tokenizer, tmp_path: Path) -> None:
    counts = encode(TEXTS, tokenizer, tmp_path, "train")
    ids, offsets = stream(tmp_path, "train"), np.load(tmp_path / "train.offsets.npy")
    assert counts["documents"] == len(TEXTS) == len(offsets) - 1
    assert counts["tokens"] == len(ids) == offsets[-1]
    assert counts["words"] == sum(len(text.split()) for text in TEXTS)
    assert counts["bytes"] == sum(len(text.encode()) for text in TEXTS)
    for text, start, end in zip(TEXTS, offsets, offsets[1:], strict=False):
        assert ids[end - 1] == tokenizer.token_to_id("[SEP]")
        assert tokenizer.decode(ids[start : end - 1].tolist(), skip_special_tokens=False) == text
    assert (ids == tokenizer.token_to_id("[SEP]")).sum() == len(TEXTS)  # the text's own "[SEP]" is text


def test_documents_end_with_the_separator_that_the_tokenizer_has(tmp_path: Path) -> None:
    xlm_r = Tokenizer(models.WordLevel({"</s>": 0, "ଗାଁ": 1}))
    encode(["ଗାଁ", "ଗାଁ"], xlm_r, tmp_path, "train", "</s>")
    assert stream(tmp_path, "train").tolist() == [1, 0, 1, 0]


def test_a_token_takes_little_more_than_two_bytes(tokenizer: Tokenizer, tmp_path: Path) -> None:
    counts = encode([" ".join(TEXTS)] * 20, tokenizer, tmp_path, "train")
    assert sum(p.stat().st_size for p in tmp_path.iterdir()) <= 2.2 * counts["tokens"]
    assert [id_type(size).itemsize for size in (65_536, 65_537)] == [2, 4]


@given(st.lists(st.text("aକ୍ \n", max_size=60), min_size=1, max_size=5), st.integers(1, 20))
def test_batches_and_pieces_of_documents_leave_no_trace(
    tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory, texts: list[str], size: int
) -> None:
    whole, parts = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("parts")
    encode(texts, tokenizer, whole, "train")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoded, "_BATCH_CHARACTERS", size)
        encode(texts, tokenizer, parts, "train")
    for name in ("train.tokens.npy", "train.offsets.npy"):
        assert (whole / name).read_bytes() == (parts / name).read_bytes()


def test_the_stage_writes_the_same_bytes_with_any_number_of_threads(tokenizer: Tokenizer, tmp_path: Path) -> None:
    (tmp_path / "runs/t/filter").mkdir(parents=True)
    (tmp_path / "runs/t/tokenizer").mkdir()
    save(tokenizer, tmp_path / "runs/t/tokenizer")
    for split in ("train", "valid"):
        write_jsonl(tmp_path / f"runs/t/filter/{split}.jsonl", ({"id": "a", "text": text} for text in TEXTS))
    code = (
        "import sys; from pathlib import Path; from pipeline import config, encode; "
        "from pipeline.artifacts import Run; out = Path(sys.argv[1]); out.mkdir(); "
        "encode.work(Run(config.load('or', ['run=t', f'encode.workers={out}']), 'or'), out)"
    )
    for threads in ("1", "3"):
        subprocess.run(
            [sys.executable, "-c", code, threads], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True
        )
    written = sorted(p.name for p in (tmp_path / "1").iterdir())
    assert written == ["train.offsets.npy", "train.tokens.npy", "valid.offsets.npy", "valid.tokens.npy"]
    for name in written:
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "3" / name).read_bytes()


def test_blocks_of_any_length_are_views_of_one_stream(tokenizer: Tokenizer, tmp_path: Path) -> None:
    encode(TEXTS, tokenizer, tmp_path, "train")
    ids = stream(tmp_path, "train")
    for length in (8, 100):
        cut = blocks(tmp_path, "train", length)
        assert cut.shape == (len(ids) // length, length)
        assert isinstance(cut.base, np.memmap)
        assert (cut.ravel() == ids[: cut.size]).all()
    with pytest.raises(UsageError, match="fewer than one block"):
        blocks(tmp_path, "train", len(ids) + 1)


def test_document_ids_count_separators_before() -> None:
    block = np.array([[5, 3, 6, 7, 3, 3], [5, 5, 5, 5, 5, 3]])
    assert document_ids(block, 3).tolist() == [[0, 0, 1, 1, 1, 2], [0, 0, 0, 0, 0, 0]]


@given(st.integers(0, 2**32), st.integers(0, 1000), st.integers(0, 500))
def test_the_order_of_an_epoch_is_a_permutation_that_seed_and_epoch_decide(seed: int, epoch: int, n: int) -> None:
    order = epoch_order(seed, epoch, n)
    assert sorted(order) == list(range(n))
    assert (order == epoch_order(seed, epoch, n)).all()
    if n > 50:
        assert (order != epoch_order(seed, epoch + 1, n)).any()
        assert (order != epoch_order(seed + 1, epoch, n)).any()


def test_the_order_never_changes_between_versions() -> None:
    assert epoch_order(7, 2, 8).tolist() == [6, 7, 4, 0, 1, 5, 3, 2]
