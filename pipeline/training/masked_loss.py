"""Cross-entropy of a decoder's scores over a vocabulary, in little memory."""

from typing import Any

import torch


class _LinearCrossEntropy(torch.autograd.Function):
    """One table of logits becomes shares, then their gradient, in place; automatic differentiation would keep and
    write four such tables in float32, and that was two thirds of a small model's step (the idea: arXiv 2410.10989)."""

    @staticmethod
    def forward(
        ctx: Any, hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, targets: torch.Tensor
    ) -> torch.Tensor:
        table = hidden @ weight.t()
        table += bias
        torch.softmax(table, dim=-1, out=table)
        rows = torch.arange(len(targets), device=targets.device)
        right = table[rows, targets]
        table[rows, targets] = right - 1  # now the loss's gradient by each logit
        ctx.save_for_backward(table @ weight, table.t() @ hidden, table.sum(0))
        return -right.float().log().sum()

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> Any:
        return *(saved * grads[0].to(saved.dtype) for saved in ctx.saved_tensors), None


def linear_cross_entropy(
    hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, targets: torch.Tensor
) -> torch.Tensor:
    """Cross-entropy in nats, float32, summed over k tokens, of ``hidden @ weight.T + bias`` against ``targets``.

    ``hidden``: (k, width); ``weight``: (vocabulary, width); ``bias``: (vocabulary,); ``targets``: (k,) int64. Products
    are in autocast's dtype where it is on; in bfloat16 the loss of a token is right to some 0.003 nats, without bias.
    """
    device = hidden.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype
    with torch.autocast(device, enabled=False):
        return _LinearCrossEntropy.apply(hidden.to(dtype), weight.to(dtype), bias.to(dtype), targets)  # type: ignore
