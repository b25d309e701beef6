"""The one training loop, used by every stage that trains, on one process or many.

A step is one global batch, cut into micro-batches that fit in memory and shared out over the processes.
The gradient is that of the mean loss over the global batch's items (masked tokens, documents), however it
was cut: sums are accumulated and divided by the global count once, so 1 and 16 processes train the same thing.
"""

import contextlib
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch.distributed.tensor import DTensor

from pipeline.training.precision import autocast

CLIP_NORM = 1.0  # a longer gradient is scaled down to this

Batch = dict[str, torch.Tensor]


def to_device(batch: Batch, device: torch.device) -> Batch:
    """``batch`` on ``device``, but for ``dropout_seed``, which ``draw_by`` reads on the CPU."""
    return {k: v if k == "dropout_seed" else v.to(device, non_blocking=True) for k, v in batch.items()}


def draw_by(batch: Batch) -> None:
    """Have dropout draw by ``dropout_seed``, which names this micro-batch, and by nothing that came before."""
    torch.manual_seed(int(np.random.SeedSequence(batch["dropout_seed"].tolist()).generate_state(1)[0]))


def fit(
    accelerator: Accelerator,
    model: torch.nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    steps: Iterable[tuple[int, list[Batch]]],
    *,
    items: Callable[[Batch], int],
    summed_loss: Callable[[torch.nn.Module, Batch], torch.Tensor],
    rate: Callable[[int], float],
    after_step: Callable[[int, torch.Tensor, torch.Tensor], None],
    sound: Callable[[torch.Tensor, torch.Tensor], bool] = lambda _loss, norm: bool(torch.isfinite(norm)),
    precision: str = "fp32",
) -> None:
    """Take one step of all ``optimizers`` for each of ``steps``.

    ``steps`` yields the step's number and this process's micro-batches, on its device. ``items(batch)`` counts what
    the loss averages over; ``summed_loss(model, batch)`` is the loss summed over them, in nats. ``rate(step)``
    multiplies each parameter group's ``peak_lr``. ``after_step(step, loss, norm)`` receives two 0-d float32 tensors:
    the mean loss of the global batch and the gradient's norm before clipping. ``sound`` gets the same before the step
    and says whether to take it; left to itself it skips a gradient that is not finite.
    """
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    parameters = [parameter for group in groups for parameter in group["params"]]
    model.train()
    for step, micro_batches in steps:
        count = torch.tensor(float(sum(items(batch) for batch in micro_batches)), device=accelerator.device)
        count = accelerator.reduce(count, "sum")
        total = torch.zeros((), device=accelerator.device)
        for i, batch in enumerate(micro_batches):
            last = i == len(micro_batches) - 1
            with autocast(accelerator.device, precision), _sync_if(accelerator, model, last):
                loss = summed_loss(model, batch)
                # DDP averages over processes; the product turns its mean of sums into the sum that we divide.
                accelerator.backward(loss * accelerator.num_processes / count)
            total += loss.detach().float()
        total = accelerator.reduce(total, "sum") / count
        norm = torch.nn.utils.clip_grad_norm_(parameters, CLIP_NORM)
        if isinstance(norm, DTensor):  # the parameters are shared out over the processes: FSDP
            norm = norm.full_tensor()
        if sound(total, norm):
            for group in groups:
                group["lr"] = group["peak_lr"] * rate(step)
            for optimizer in optimizers:
                optimizer.step()
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        after_step(step, total, norm)


def _sync_if(accelerator: Accelerator, model: torch.nn.Module, last: bool) -> contextlib.AbstractContextManager[Any]:
    """Exchange gradients only in the last micro-batch of a step."""
    return contextlib.nullcontext() if last else accelerator.no_sync(model)


def adamw(
    named: Iterable[tuple[str, torch.nn.Parameter]],
    rate: float,
    weight_decay: float,
    factors: dict[str, float] | None = None,
) -> torch.optim.AdamW:
    """AdamW (arXiv 1711.05101) for what trains of ``named``; decay on matrices only, not on norms and biases.

    ``factors`` multiply the rate of parameters by name.
    """
    groups: dict[tuple[float, bool], dict[str, Any]] = {}
    for name, parameter in named:
        if parameter.requires_grad:
            factor, matrix = (factors or {}).get(name, 1.0), parameter.ndim >= 2
            group = {"params": [], "weight_decay": weight_decay if matrix else 0.0, "peak_lr": rate * factor}
            groups.setdefault((factor, matrix), group)["params"].append(parameter)
    return torch.optim.AdamW(list(groups.values()), lr=rate, betas=(0.9, 0.98), eps=1e-6, fused=True)


def warmup_stable_decay(step: int, steps: int, warmup_share: float, decay_share: float) -> float:
    """The rate's factor in [0, 1] at ``step`` of ``steps``: up, level, then down as 1 - sqrt (arXiv 2405.18392)."""
    warmup, decay = math.ceil(warmup_share * steps), math.ceil(decay_share * steps)
    if step < warmup:
        return (step + 1) / warmup
    if step >= steps - decay:
        return 1 - math.sqrt((step - (steps - decay) + 1) / (decay + 1))
    return 1.0
