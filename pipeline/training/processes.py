"""Where to compute, and with whom."""

import ctypes
from collections.abc import Sequence
from pathlib import Path

import torch
from accelerate import Accelerator


def processes(trackers: Sequence[str] = (), folder: Path | None = None) -> Accelerator:
    """This process among those that a launcher started: on its GPU, or without one on the CPU, joined by gloo.

    ``trackers``, by Accelerate's names, may write into ``folder``.

    Accelerate has to be told about the CPU: else several processes without a GPU would not find each other.
    """
    _keep_freed_memory()
    return Accelerator(cpu=not torch.accelerator.is_available(), log_with=list(trackers) or None, project_dir=folder)


def _keep_freed_memory() -> None:
    """Have glibc, where that is the C library, keep large pieces of freed memory for the next that is asked for.

    It would give them back, and the kernel would clear each page again: a fifth of a training step on a CPU.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        trim_threshold, mmap_threshold = -1, -3  # malloc.h
        mallopt(mmap_threshold, 2**31 - 1)
        mallopt(trim_threshold, 2**31 - 1)
