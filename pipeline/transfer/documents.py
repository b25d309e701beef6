"""Labelled documents as token ids, and the batches they are trained in."""

import hashlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from tokenizers import Tokenizer

from pipeline.console import progress
from pipeline.errors import UsageError
from pipeline.training.loop import Batch

Ids = list[list[int]]
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")  # what spells a character that the vocabulary lacks
POOL_BATCHES = 8  # batches whose documents are sorted by length together
READING_BATCH = 32


def encode(tokenizer: Any, texts: Sequence[str], length: int) -> tuple[Ids, int]:
    """The token ids of each text, special tokens included; and how many texts have more than ``length`` tokens.

    What becomes of those, says ``long_documents`` in the settings that the tokenizer is saved with: ``head`` keeps the
    beginning, ``head_tail`` the first three quarters of ``length`` and the last one (arXiv 1905.05583). ``windows``
    keeps all, as windows of ``length`` tokens that overlap by a quarter, laid end to end: ``in_windows`` takes them
    apart.
    """
    if not texts:
        return [], 0
    ids: Ids = tokenizer(list(texts))["input_ids"]
    long = [i for i, tokens in enumerate(ids) if len(tokens) > length]
    if long:
        cut = _cut(tokenizer, [texts[i] for i in long], [ids[i] for i in long], length)
        for i, tokens in zip(long, cut, strict=True):
            ids[i] = tokens
    return ids, len(long)


def _cut(tokenizer: Any, texts: list[str], whole: Ids, length: int) -> Ids:
    way = tokenizer.init_kwargs.get("long_documents", "head")
    if way == "head_tail":
        front = length * 3 // 4
        return [tokens[:front] + tokens[front - length :] for tokens in whole]
    if way == "head":
        head: Ids = tokenizer(texts, truncation=True, max_length=length)["input_ids"]
        return head
    found = tokenizer(texts, truncation=True, max_length=length, stride=length // 4, return_overflowing_tokens=True)
    windows: Ids = [[] for _ in texts]
    for window, text in zip(found["input_ids"], found["overflow_to_sample_mapping"], strict=True):
        windows[text] += window
    return windows


def in_windows(ids: Ids, model: Any) -> tuple[Ids, list[int]]:
    """The windows of all documents, and which document each is of. A network that reads none has whole documents."""
    length = getattr(model.config, "window_tokens", None) or max(map(len, ids), default=0)
    starts = [(i, start) for i, tokens in enumerate(ids) for start in range(0, len(tokens), length)]
    return [ids[i][start : start + length] for i, start in starts], [i for i, _ in starts]


def require_vocabulary(ids: Ids, model: Any) -> None:
    """UsageError if a token has no row in the model's embedding table."""
    highest = max(max(tokens) for tokens in ids)
    rows = model.get_input_embeddings().num_embeddings
    if highest >= rows:
        raise UsageError(
            f"the tokenizer gives id {highest} and the model has {rows} embeddings: "
            "they do not belong together; run the pretrain stage again"
        )


def require_same_tokenizer(checkpoint: Path, run: Path) -> None:
    """UsageError if ``checkpoint`` was trained with another tokenizer than the one in the folder ``run``."""
    theirs = checkpoint / "tokenizer.json"
    if theirs.exists() and tokenizer_digest(theirs) != tokenizer_digest(run / "tokenizer.json"):
        raise UsageError(
            f"{checkpoint} was trained with the tokenizer {tokenizer_digest(theirs)}, and {run} holds "
            f"{tokenizer_digest(run / 'tokenizer.json')}: they do not belong together; run the pretrain stage again"
        )


def tokenizer_digest(path: Path) -> str:
    """SHA-256 of what a tokenizer.json says, however it is laid out; truncation and padding are left out of it."""
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return hashlib.sha256(tokenizer.to_str().encode()).hexdigest()


def only_unknown(tokenizer: Any, ids: Ids) -> int:
    """How many documents hold nothing that the tokenizer knows: only unknown tokens, single bytes and space."""
    used = sorted({token for tokens in ids for token in tokens})
    pieces = zip(used, tokenizer.convert_ids_to_tokens(used), strict=True)
    unknown = {*tokenizer.all_special_ids} | {
        token for token, piece in pieces if _BYTE.fullmatch(piece) or not tokenizer.decode([token]).strip("\ufffd \n")
    }
    return sum(unknown.issuperset(tokens) for tokens in ids)


def collate(ids: Ids, pad: int) -> Batch:
    """``input_ids`` and ``attention_mask`` (documents × longest of them), int64."""
    width = max(len(tokens) for tokens in ids)
    input_ids = torch.full((len(ids), width), pad)
    mask = torch.zeros_like(input_ids)
    for row, tokens in enumerate(ids):
        input_ids[row, : len(tokens)] = torch.tensor(tokens)
        mask[row, : len(tokens)] = 1
    return {"input_ids": input_ids, "attention_mask": mask}


def reading_batches(accelerator: Accelerator, ids: Ids, pad: int) -> Iterator[tuple[list[int], Batch]]:
    """This process's share of ``ids``, on its device, each batch with the places of its rows in ``ids``.

    Documents of similar length come together: an order for reading, not for training.
    """
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    batches = [order[start : start + READING_BATCH] for start in range(0, len(order), READING_BATCH)]
    mine = batches[accelerator.process_index :: accelerator.num_processes]
    for indices in progress(mine, desc="reading", unit=" batches"):
        batch = collate([ids[i] for i in indices], pad)
        yield indices, {name: tensor.to(accelerator.device) for name, tensor in batch.items()}


def epoch_batches(lengths: Sequence[int], size: int, seed: int, epoch: int) -> list[list[int]]:
    """The epoch's global batches, as indices of documents: each once, the order a pure function of (seed, epoch).

    Documents are shuffled, sorted by length within pools of some batches, and the batches shuffled again: little
    padding, much chance. Within a batch they lie by length.
    """
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(len(lengths)).tolist()
    pools = (order[start : start + POOL_BATCHES * size] for start in range(0, len(order), POOL_BATCHES * size))
    sorted_pools = [sorted(pool, key=lambda i: lengths[i]) for pool in pools]
    batches = [pool[start : start + size] for pool in sorted_pools for start in range(0, len(pool), size)]
    return [batches[i] for i in rng.permutation(len(batches))]


def all_but(left_out: Sequence[int], count: int) -> list[int]:
    """The other documents of ``count``, by index."""
    return sorted({*range(count)} - {*left_out})


def folds(labels: Sequence[int], count: int) -> list[list[int]]:
    """The documents in ``count`` parts, by index, with each class spread evenly over them."""
    rng = np.random.default_rng(0)
    parts: list[list[int]] = [[] for _ in range(count)]
    dealt = 0
    for label in sorted(set(labels)):
        for i in rng.permutation([i for i, other in enumerate(labels) if other == label]).tolist():
            parts[dealt % count].append(i)
            dealt += 1
    return [sorted(part) for part in parts]
