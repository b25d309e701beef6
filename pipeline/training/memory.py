"""Running out of memory, and what to do about it."""

import ctypes
from contextlib import suppress

import torch

from pipeline.console import log
from pipeline.errors import LocalError

WORDS = (
    *("can't allocate memory", "could not create a primitive", "could not create a memory"),  # torch's, oneDNN's
    *("CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED"),
)


def is_out_of_memory(error: Exception) -> bool:
    """Whether a GPU, Python or a library that has no exception of its own for it says so."""
    spelled_out = any(words in str(error) for words in WORDS)
    return spelled_out or isinstance(error, MemoryError | torch.OutOfMemoryError)


def halved(micro_batch: int) -> int:
    """The micro-batch to try next, in blocks. Raises LocalError: it holds one block already."""
    if micro_batch == 1:
        raise LocalError(
            "out of memory with one block at a time: set pretrain.length_tokens lower or take a smaller model.size"
        )
    log.warning(
        "pretrain: out of memory with %d blocks at once: on with %d; the global batch stays",
        micro_batch,
        micro_batch // 2,
    )
    return micro_batch // 2


def give_back() -> None:
    """Return to the system what glibc keeps of memory that was freed; other C libraries keep little, and are let be.

    What is freed between blocks still in use it keeps, and networks one after the other leave blocks in use all over:
    ten of them, of 1,000 documents of 256 tokens, came to four gigabytes where one takes two.
    """
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
