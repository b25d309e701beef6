"""Cross-entropy of a decoder's scores over a vocabulary, in little memory."""

from typing import Any

import torch


class _LinearCrossEntropy(torch.autograd.Function):
    """One table of logits becomes shares, then their gradient, in place; automatic differentiation would keep and
    write four such tables in float32, and that was two thirds of a small model's step (the idea: arXiv 2410.10989)."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor,
        targets: torch.Tensor,
        z_loss: float,
        learns: bool,
    ) -> torch.Tensor:
        table = torch.addmm(bias, hidden, weight.t())
        rows = torch.arange(len(targets), device=targets.device)
        logits = table[rows, targets].float()
        torch.softmax(table, dim=-1, out=table)
        loss = -table[rows, targets].float().log()
        if not learns:
            return loss.sum()
        if z_loss:
            table *= (1 + 2 * z_loss * (logits + loss)).to(table.dtype)[:, None]
        table[rows, targets] -= 1  # now the loss's gradient by each logit
        ctx.save_for_backward(table @ weight, table.t() @ hidden, table.sum(0))
        return loss.sum()

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> Any:
        return *(saved * grads[0].to(saved.dtype) for saved in ctx.saved_tensors), None, None, None


def linear_cross_entropy(
    hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, targets: torch.Tensor, z_loss: float = 0.0
) -> torch.Tensor:
    """Cross-entropy in nats, float32, summed over k tokens, of ``hidden @ weight.T + bias`` against ``targets``.

    ``hidden``: (k, width); ``weight``: (vocabulary, width); ``bias``: (vocabulary,) or None; ``targets``: (k,) int64.
    Products are in autocast's dtype where it is on; in bfloat16 a token's loss is right to some 0.003 nats, either way.

    ``z_loss`` weighs the square of the logarithm of a token's normaliser, the sum of its exponentiated logits, which
    keeps that near 1 (PaLM, arXiv 2204.02311, section 5). It counts in the gradient alone: what is returned
    stays cross-entropy.
    """
    bias = weight.new_zeros(len(weight)) if bias is None else bias
    device = hidden.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype
    with torch.autocast(device, enabled=False):
        table = hidden.to(dtype), weight.to(dtype), bias.to(dtype)
        return _LinearCrossEntropy.apply(*table, targets, z_loss, torch.is_grad_enabled())  # type: ignore
