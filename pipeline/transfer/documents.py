"""Labelled documents as token ids, and the batches they are trained in."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from pipeline.errors import UsageError
from pipeline.training.loop import Batch

Ids = list[list[int]]
POOL_BATCHES = 8  # batches whose documents are sorted by length together


def longest_input(model: Any, wanted: int) -> int:
    """``wanted`` tokens, or as many as the model has positions for."""
    positions = getattr(model.config, "max_position_embeddings", None) or wanted
    table = getattr(getattr(model.base_model, "embeddings", None), "position_embeddings", None)
    padding = getattr(table, "padding_idx", None)  # RoBERTa counts positions from there
    return int(min(wanted, positions if padding is None else positions - padding - 1))


def encode(tokenizer: Any, texts: Sequence[str], length: int) -> tuple[Ids, int]:
    """The token ids of each text, special tokens included, at most ``length`` of them; and how many texts were cut."""
    if not texts:
        return [], 0
    ids: Ids = tokenizer(list(texts))["input_ids"]
    long = [i for i, tokens in enumerate(ids) if len(tokens) > length]
    if long:
        cut = tokenizer([texts[i] for i in long], truncation=True, max_length=length)["input_ids"]
        for i, tokens in zip(long, cut, strict=True):
            ids[i] = tokens
    return ids, len(long)


def require_vocabulary(ids: Ids, model: Any) -> None:
    """UsageError if a token has no row in the model's embedding table."""
    highest = max(max(tokens) for tokens in ids)
    rows = model.get_input_embeddings().num_embeddings
    if highest >= rows:
        raise UsageError(
            f"the tokenizer gives id {highest} and the model has {rows} embeddings: "
            "they do not belong together; run the pretrain stage again"
        )


def collate(ids: Ids, pad: int) -> Batch:
    """``input_ids`` and ``attention_mask`` (documents × longest of them), int64."""
    width = max(len(tokens) for tokens in ids)
    input_ids = torch.full((len(ids), width), pad)
    mask = torch.zeros_like(input_ids)
    for row, tokens in enumerate(ids):
        input_ids[row, : len(tokens)] = torch.tensor(tokens)
        mask[row, : len(tokens)] = 1
    return {"input_ids": input_ids, "attention_mask": mask}


def by_length(ids: Ids, size: int) -> list[list[int]]:
    """All documents, by index, in batches of similar length: an order for reading, not for training."""
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    return [order[start : start + size] for start in range(0, len(order), size)]


def epoch_batches(lengths: Sequence[int], size: int, seed: int, epoch: int) -> list[list[int]]:
    """The epoch's global batches, as indices of documents: each once, the order a pure function of (seed, epoch).

    Documents are shuffled, sorted by length within pools of some batches, and the batches shuffled again: little
    padding, much chance. Within a batch they lie by length.
    """
    chance = np.random.default_rng([seed, epoch])
    order = chance.permutation(len(lengths)).tolist()
    pools = (order[start : start + POOL_BATCHES * size] for start in range(0, len(order), POOL_BATCHES * size))
    sorted_pools = [sorted(pool, key=lambda i: lengths[i]) for pool in pools]
    batches = [pool[start : start + size] for pool in sorted_pools for start in range(0, len(pool), size)]
    return [batches[i] for i in chance.permutation(len(batches))]


def folds(labels: Sequence[int], count: int) -> list[list[int]]:
    """The documents in ``count`` parts, by index, with each class spread evenly over them."""
    chance = np.random.default_rng(0)
    parts: list[list[int]] = [[] for _ in range(count)]
    dealt = 0
    for label in sorted(set(labels)):
        for i in chance.permutation([i for i, other in enumerate(labels) if other == label]).tolist():
            parts[dealt % count].append(i)
            dealt += 1
    return [sorted(part) for part in parts]
