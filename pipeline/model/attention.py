"""Which of transformers' implementations of attention suits a device, and what a token may attend to."""

import sys
from typing import Any

import torch
from torch.nn.attention.flex_attention import BlockMask, create_block_mask
from transformers import PreTrainedModel

ALTERNATIVES: dict[str, str] = {"cuda": "flex_attention"}  # tried, and taken where a step is faster with it


def suit_attention(model: PreTrainedModel, device: torch.device, chosen: str = "") -> None:
    """Have ``model`` attend by the implementation that was ``chosen``; else on a CPU by plain matrix products, and
    elsewhere as transformers chose.

    The backward pass of scaled_dot_product_attention is slow on a CPU: on blocks of 128 tokens a training step of
    a 6 × 256 model takes a third less without it, on documents of 40 tokens a seventh.
    """
    implementation = chosen or ("eager" if device.type == "cpu" else "")
    if implementation:
        model.set_attn_implementation(implementation)


def takes_masks(model: PreTrainedModel) -> bool:
    """Whether this family takes a mask of its own for every pair of tokens, as those that build theirs by
    transformers' ``create_bidirectional_mask`` do: ModernBERT, BERT, RoBERTa and most others, but not DeBERTa.

    A model some of whose layers look through a window takes none: transformers would take it in place of the window.
    Longformer's layers all do.
    """
    windows = "sliding_attention" in (getattr(model.config, "layer_types", None) or ())
    windows = windows or hasattr(model.config, "attention_window")
    return not windows and hasattr(sys.modules[type(model).__module__], "create_bidirectional_mask")


def within_documents(model: PreTrainedModel, documents: torch.Tensor, dtype: torch.dtype) -> torch.Tensor | BlockMask:
    """The mask that lets no token of ``model`` look into another document.

    ``documents``: (n, length), the number of each token's document. What to add to the scores of attention, in
    ``dtype``, which they are computed in: (n, 1, length, length). FlexAttention gets a mask of its own kind, by which
    it leaves out what lies apart (Dong et al. 2024, arXiv 2412.05496).
    """
    n, length = documents.shape
    if model.config._attn_implementation == "flex_attention":

        def together(row: Any, _head: Any, query: Any, key: Any) -> Any:
            return documents[row, query] == documents[row, key]

        return create_block_mask(together, n, None, length, length, device=documents.device)
    apart = documents[:, None, :, None] != documents[:, None, None, :]
    return torch.zeros(apart.shape, dtype=dtype, device=apart.device).masked_fill_(apart, torch.finfo(dtype).min)
