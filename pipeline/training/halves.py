"""A signal that text gives for nothing: the two halves of a block, where one document spans both, belong together."""

import torch
from torch.nn.functional import cross_entropy, normalize

TEMPERATURE = 0.05  # SimCSE's (arXiv 2104.08821, section 3)


def contrast_of_halves(states: torch.Tensor, ordinary: torch.Tensor) -> torch.Tensor:
    """InfoNCE in nats, float32: which second half goes with which first, and the other way round, among n blocks.

    ``states``: (n, length, width), the body's output; ``ordinary``: (n, length) bool, False at special tokens. A half
    is the mean over its ordinary tokens of the document that is there in the middle; a block where none goes on from
    one half to the other does not count. Returns the mean over those that do, 0 without one.
    """
    half = ordinary.shape[1] // 2
    document = (~ordinary).cumsum(1)
    inside = ordinary & (document == document[:, half - 1, None])
    counts = torch.stack([inside[:, :half].sum(1), inside[:, half:].sum(1)])
    pairs = counts.all(0)
    with torch.autocast(states.device.type, enabled=False):
        shown = states.float() * inside[..., None]
        sums = torch.stack([shown[:, :half].sum(1), shown[:, half:].sum(1)])[:, pairs]
        first, second = normalize(sums, dim=-1)  # of a mean's direction, the count is no part
        scores = first @ second.t() / TEMPERATURE
        right = torch.arange(len(scores), device=scores.device)
        both = cross_entropy(scores, right, reduction="sum") + cross_entropy(scores.t(), right, reduction="sum")
        return both / (2 * max(1, len(scores)))
