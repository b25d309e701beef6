"""Judging each step before it is taken: a bad one is skipped, and many in a row mean that the run has diverged."""

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch

BAD_IN_A_ROW = 10
SPIKE_DEVIATIONS, SPIKE_NATS = 6, 1.0  # above the running mean, both: noise of tiny batches is no spike, nor a ripple
MEMORY_STEPS = 50  # what the running mean looks back on, and the steps before the first judgement


class DivergedError(Exception):
    """``BAD_IN_A_ROW`` steps were bad; the run was last seen to be good after ``good`` steps."""

    def __init__(self, good: int) -> None:
        super().__init__()
        self.good = good


@dataclass
class Watch:
    """The running mean and variance of the loss, in nats, over ``steps`` good steps. It goes into each checkpoint."""

    good: int = 0  # steps done at the last evaluation that was not in the middle of bad ones
    steps: int = 0
    mean: float = 0.0
    variance: float = 0.0
    in_a_row: int = 0
    loss: float | None = None  # of the last step; None where it was skipped

    def sound(self, loss: torch.Tensor, norm: torch.Tensor) -> bool:
        """Whether to take the step with this mean loss and gradient's norm, 0-d tensors. Raises DivergedError."""
        nats, size = torch.stack([loss, norm]).tolist()  # one wait for the device
        above = nats - self.mean
        spike = above > max(SPIKE_NATS, SPIKE_DEVIATIONS * math.sqrt(self.variance)) and self.steps >= MEMORY_STEPS
        if spike or not math.isfinite(nats) or not math.isfinite(size):
            self.loss, self.in_a_row = None, self.in_a_row + 1
            if self.in_a_row == BAD_IN_A_ROW:
                raise DivergedError(self.good)
            return False
        self.loss, self.in_a_row, self.steps = nats, 0, self.steps + 1
        share = 1 / min(self.steps, MEMORY_STEPS)
        self.mean += share * above
        self.variance = (1 - share) * (self.variance + share * above**2)
        return True

    def state(self) -> dict[str, Any]:
        return asdict(self)
