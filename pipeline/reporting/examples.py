"""Examples to read, made with a finished model: a training example as the model sees it, and answers on documents."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from transformers import AutoTokenizer

from pipeline.artifacts import Run
from pipeline.text.encoded import blocks
from pipeline.training.masked import MaskedBlocks, beginnings
from pipeline.training.processes import processes
from pipeline.transfer.shipped import classify, load


def masked_example(run: Run, tokens: int) -> tuple[str, list[str]]:
    """The first ``tokens`` of the first training block as the first step hides it; and what stood there, in order.

    A hidden token is shown as ``▁▁``; where the model is given another token in its place, or the same, as ``[token]``.
    """
    settings = run.config.pretrain
    tokenizer = AutoTokenizer.from_pretrained(run.input("tokenizer"), local_files_only=True)
    data = MaskedBlocks(
        blocks(run.input("encode"), "train", settings.length_tokens),
        np.array(tokenizer.all_special_ids),
        tokenizer.mask_token_id,
        len(tokenizer),
        beginnings(settings.masking, tokenizer),
    )
    first = np.array([0])
    batch = data.batch(first, first, rate=settings.mask_rate, seed=settings.seed, step=0)
    seen = batch["input_ids"][0].tolist()[:tokens]
    hidden = {place for place in batch["positions"].tolist() if place < tokens}
    shown, stood = [], []
    for place, (token, piece) in enumerate(
        zip(seen, spelled(tokenizer, data.blocks[0].tolist()[:tokens]), strict=True)
    ):
        if place in hidden:
            stood.append(visible(piece))
            given = "▁▁" if token == tokenizer.mask_token_id else f"[{visible(tokenizer.decode([token]))}]"
            piece = given if piece == piece.lstrip() else f" {given}"
        shown.append(piece)
    return " ".join("".join(shown).split()), stood


def spelled(tokenizer: Any, ids: list[int]) -> list[str]:
    """What each token adds to the text of those before it; the first keeps the space that marks a word's start."""
    before = [tokenizer.sep_token_id]  # decoding drops a space at the very start
    decode = tokenizer.backend_tokenizer.decode
    texts = [decode(before + ids[:n], skip_special_tokens=False) for n in range(len(ids) + 1)]
    return [after[len(text) :] for text, after in pairwise(texts)]


def visible(piece: str) -> str:
    return piece.strip() or ("⏎" if "\n" in piece else "␣")


def answers(model: Path, texts: list[str]) -> list[tuple[str, float]]:
    """The class of each text and its probability."""
    classifier = load(model)
    table = classify(processes(), classifier, texts)
    return [(classifier.labels[int(row.argmax())], float(row.max())) for row in table]
