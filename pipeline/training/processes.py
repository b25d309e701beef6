"""Where to compute, and with whom."""

import ctypes
import mmap
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs, InitProcessGroupKwargs
from accelerate.utils import gather_object

from pipeline.artifacts import BEGUN
from pipeline.errors import UsageError

HEAP_BYTES = 2**31 - 2**20  # malloc takes no more from the heap in one piece
HUGE_PAGE_BYTES = 2**21
PATIENCE = timedelta(hours=4)  # others wait while rank 0 fits linear classifiers; NCCL's ten minutes are too few


def processes(trackers: Sequence[str] = (), folder: Path | None = None) -> Accelerator:
    """This process among those that a launcher started: on its GPU, or without one on the CPU, joined by gloo.

    ``trackers``, by Accelerate's names, may write into ``folder``.

    Accelerate has to be told about the CPU: else several processes without a GPU would not find each other.
    """
    _suit_malloc()
    return Accelerator(
        cpu=not torch.accelerator.is_available(),
        log_with=list(trackers) or None,
        project_dir=folder,
        mixed_precision="no",  # whatever a launcher's own file says: the stages choose their precision themselves
        kwargs_handlers=[
            DistributedDataParallelKwargs(gradient_as_bucket_view=True),  # no second copy of gradients
            InitProcessGroupKwargs(timeout=PATIENCE),
        ],
    )


def await_folder(accelerator: Accelerator, folder: Path) -> None:
    """Wait until rank 0 has prepared ``folder``. UsageError: not all processes see the same one."""
    accelerator.wait_for_everyone()
    path = folder / BEGUN
    if len({*gather_object([path.read_text("utf-8") if path.exists() else None])}) > 1:
        raise UsageError(f"not every process sees the same {folder}: runs/ has to be one folder for all machines")


def _suit_malloc() -> None:
    """Have glibc, where that is the C library, keep large pieces of freed memory for the next that is asked for, and
    the kernel lay them out in huge pages.

    Freed memory would go back, and the kernel would clear each page again: a fifth of a training step on a CPU. Finding
    pages of 4 KiB took a third to a half of a step in slow hours of a shared virtual machine, hardly any in
    quiet ones. So the next stretch of the heap is asked for, advised and freed; as long as nothing is written to it,
    it takes no memory.
    """
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallopt"):
        return
    trim_threshold, mmap_threshold = -1, -3  # malloc.h
    if not libc.mallopt(mmap_threshold, 2**31 - 1):
        libc.mallopt(mmap_threshold, 2**25)  # glibc before 2.35 takes no more; without, 2**17 would stay
    libc.mallopt(trim_threshold, 2**31 - 1)
    libc.malloc.restype = ctypes.c_void_p
    start = libc.malloc(ctypes.c_size_t(HEAP_BYTES))
    if start:
        inside = -(-start // HUGE_PAGE_BYTES) * HUGE_PAGE_BYTES
        whole = (start + HEAP_BYTES - inside) // HUGE_PAGE_BYTES * HUGE_PAGE_BYTES
        libc.madvise(ctypes.c_void_p(inside), ctypes.c_size_t(whole), mmap.MADV_HUGEPAGE)
        libc.free(ctypes.c_void_p(start))
