"""Ways of transferring, as data: which parts of the network train, in which stretch of the steps, at which rate.

The parts of a network lie at depths: 0 the head, 1 the top layer, and so on down to the embeddings.
"""

from typing import NamedTuple

import torch

from pipeline.config import Finetune
from pipeline.model.masked_lm import layers
from pipeline.transfer.classifier import body_names

ULMFIT_DECAY = 1 / 2.6  # of the rate from a layer to the one below it


class Phase(NamedTuple):
    """A stretch of training. ``parts``: how many train, counted from the top; None: all of them."""

    share: float  # of all steps
    parts: int | None = None
    body_rate: float = 1.0  # of the head's
    decay: float | None = None  # of the rate from one depth to the next; None: what the settings say


def phases(strategy: str, settings: Finetune, parts: int) -> list[Phase]:
    """The plan of ``strategy`` for a network of ``parts``: the head, the layers, the embeddings."""
    plan: dict[str, list[Phase]] = {
        "full": [Phase(1)],
        "scratch": [Phase(1, decay=1.0)],
        "last_layers": [Phase(1, 1 + int(settings.layers))],  # `networks.settle_layers` has put a number for `auto`
        "head_then_all": [Phase(0.2, 1), Phase(0.8, body_rate=0.5)],
        "lora": [Phase(1, 1)],  # with the adapters, which count as parts of the head
        "gradual": [
            *(Phase(0.5 / (parts - 1), top, decay=ULMFIT_DECAY) for top in range(1, parts)),
            Phase(0.5, decay=ULMFIT_DECAY),
        ],
    }
    return plan[strategy]


def depths(model: torch.nn.Module) -> dict[str, int]:
    """The depth of every parameter by name. What the body has behind its layers goes with the top one."""
    body, stack = body_names(model), layers(model)
    within = {id(p): len(stack) - i for i, layer in enumerate(stack) for p in layer.parameters()}
    tables = {id(p) for m in model.modules() if isinstance(m, torch.nn.Embedding) for p in m.parameters()}
    found, behind = {}, False
    for name, parameter in model.named_parameters():
        behind |= id(parameter) in within
        if name not in body:
            found[name] = 0
        elif id(parameter) in within:
            found[name] = within[id(parameter)]
        else:
            found[name] = 1 if behind and id(parameter) not in tables else len(stack) + 1
    return found


def rates(phase: Phase, settings: Finetune, depth: dict[str, int]) -> dict[str, float]:
    """What multiplies the rate of each parameter that trains in ``phase``; the others are frozen."""
    decay = settings.layer_decay if phase.decay is None else phase.decay
    return {
        name: (phase.body_rate if deep else 1.0) * decay**deep
        for name, deep in depth.items()
        if phase.parts is None or deep < phase.parts
    }
