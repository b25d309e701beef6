"""What takes the steps of pretraining."""

import torch
from transformers import PreTrainedModel

from pipeline.model.masked_lm import layers
from pipeline.training.loop import adamw

HIDDEN_RATE = 10  # Muon's rate over AdamW's: 1 and 30 lost to it (docs/ablations.md)


def muon_and_adamw(model: PreTrainedModel, rate: float, weight_decay: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the encoder's layers, AdamW for embeddings, norms, biases and head.

    Muon (Jordan 2024, https://kellerjordan.github.io/posts/muon) makes each update of a matrix orthogonal, and here
    scales it to the size of AdamW's (arXiv 2502.16982, section 2.2).
    """
    hidden = [parameter for parameter in layers(model).parameters() if parameter.ndim == 2]
    others = [named for named in model.named_parameters() if not any(named[1] is matrix for matrix in hidden)]
    group = {"params": hidden, "peak_lr": rate * HIDDEN_RATE}
    muon = torch.optim.Muon([group], lr=rate, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw")
    return [muon, adamw(others, rate, weight_decay)]
