"""Where to compute, and with whom."""

import atexit

import torch
from accelerate import Accelerator


def processes() -> Accelerator:
    """This process among those that a launcher started: on its GPU, or without one on the CPU, joined by gloo.

    Accelerate has to be told about the CPU: else several processes without a GPU would not find each other.
    """
    accelerator = Accelerator(cpu=not torch.accelerator.is_available())
    # However the process ends: threads of gloo that outlive the interpreter abort it, with the work done.
    atexit.register(accelerator.state.destroy_process_group)
    return accelerator
