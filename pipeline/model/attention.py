"""Which of transformers' implementations of attention suits a device, and what a token may attend to."""

import sys

import torch
from transformers import PreTrainedModel


def suit_attention(model: PreTrainedModel, device: torch.device) -> None:
    """Have ``model`` attend by plain matrix products on a CPU; elsewhere what transformers chose stays.

    The backward pass of scaled_dot_product_attention is slow on a CPU: on blocks of 128 tokens a training step of
    a 6 × 256 model takes a third less without it, on documents of 40 tokens a seventh.
    """
    if device.type == "cpu":
        model.set_attn_implementation("eager")


def takes_masks(model: PreTrainedModel) -> bool:
    """Whether this family takes a mask of its own for every pair of tokens, as those that build theirs by
    transformers' ``create_bidirectional_mask`` do: ModernBERT, BERT, RoBERTa and most others, but not DeBERTa.
    """
    return hasattr(sys.modules[type(model).__module__], "create_bidirectional_mask")


def within_documents(documents: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """What to add to the scores of attention so that none reaches into another document: (n, 1, length, length).

    ``documents``: (n, length), the number of each token's document. ``dtype``: what attention computes in.
    """
    apart = documents[:, None, :, None] != documents[:, None, None, :]
    return torch.zeros(apart.shape, dtype=dtype, device=apart.device).masked_fill_(apart, torch.finfo(dtype).min)
