"""Muon beside AdamW, for pretraining."""

import torch
from transformers import PreTrainedModel

from pipeline.model.masked_lm import layers
from pipeline.training.loop import adamw

# Muon's over AdamW's (docs/ablations.md). At rate × 10 and decay × 1 matrices grew fifteenfold within 1,700 steps:
# the loss went on falling, and a classifier learned less from that body than from random weights.
HIDDEN_RATE, HIDDEN_DECAY = 2.5, 40


def muon_and_adamw(model: PreTrainedModel, rate: float, weight_decay: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the encoder's layers, AdamW for embeddings, norms, biases and head.

    Muon (Jordan 2024, https://kellerjordan.github.io/posts/muon) makes each update of a matrix orthogonal, and here
    scales it to the size of AdamW's (arXiv 2502.16982, section 2.2).
    """
    hidden = [parameter for parameter in layers(model).parameters() if parameter.ndim == 2]
    others = [named for named in model.named_parameters() if not any(named[1] is matrix for matrix in hidden)]
    group = {"params": hidden, "peak_lr": rate * HIDDEN_RATE}
    muon = torch.optim.Muon([group], lr=rate, weight_decay=weight_decay * HIDDEN_DECAY, adjust_lr_fn="match_rms_adamw")
    return [muon, adamw(others, rate, weight_decay)]
