"""Pretraining that goes on from a masked language model that exists, with its own tokenizer or another."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from transformers import AutoModelForMaskedLM, PreTrainedModel, PreTrainedTokenizerBase

from pipeline.errors import UsageError
from pipeline.model.checkpoints import files_of, load_tokenizer
from pipeline.model.masked_lm import longest_input
from pipeline.model.new_vocabulary import mixture, with_vocabulary


def continued(
    folder: Path,
    tokenizer: PreTrainedTokenizerBase,
    length_tokens: int,
    vectors: Callable[[int], npt.NDArray[np.float32]] | None = None,
) -> tuple[Callable[[], PreTrainedModel], dict[str, int]]:
    """A function that makes the model in ``folder``, in float32 and for ``tokenizer``; and how many of its pieces are
    copied, composed and new.

    With the checkpoint's own vocabulary the weights are the checkpoint's, bit by bit. With another, pieces that have
    nothing to be made from start from ``vectors(width)`` in place of random rows. UsageError: no whole masked
    language model, in safetensors, with a tokenizer; or one that has no positions for ``length_tokens``.
    """
    old, model = load_tokenizer(folder), _load(folder)
    places = longest_input(model, length_tokens)
    if places < length_tokens:
        raise UsageError(f"{folder} has positions for {places} tokens: set pretrain.length_tokens to {places} or less")
    if old.get_vocab() == tokenizer.get_vocab():
        return lambda: _load(folder), {"copied": len(tokenizer), "composed": 0, "new": 0}
    rows, width = model.get_input_embeddings().weight.shape
    weights, counts = mixture(old, tokenizer, rows)
    start = torch.from_numpy(vectors(width)) if vectors else None
    return lambda: with_vocabulary(_load(folder), tokenizer, weights, start), counts


def _load(folder: Path) -> PreTrainedModel:
    if not files_of(folder, ("*.safetensors",)):
        raise UsageError(f"{folder} holds no .safetensors file, and pickled weights are not read: convert it first")
    model, info = AutoModelForMaskedLM.from_pretrained(
        folder, dtype=torch.float32, use_safetensors=True, local_files_only=True, output_loading_info=True
    )
    if info["missing_keys"]:
        raise UsageError(f"{folder} is no masked language model: {sorted(info['missing_keys'])[0]} is missing")
    return model
