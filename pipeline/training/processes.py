"""Where to compute, and with whom."""

import torch
from accelerate import Accelerator


def processes() -> Accelerator:
    """This process among those that a launcher started: on its GPU, or without one on the CPU, joined by gloo.

    Accelerate has to be told about the CPU: else several processes without a GPU would not find each other.
    """
    return Accelerator(cpu=not torch.accelerator.is_available())
