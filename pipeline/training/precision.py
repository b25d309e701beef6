"""bfloat16 where this machine multiplies it faster than float32: measured, not looked up."""

import time
from functools import cache

import torch

ROUNDS = 30  # of both in turn: other programs on the machine slow down most of either, hardly all


@cache  # all networks of a process compute alike, and the measurement is made once
def settle_precision(wanted: str, device: torch.device) -> str:
    """``wanted``, "fp32" or "bf16"; for "auto" bf16 where matrix products in it run at least 1.3 times as fast.

    The measurement takes up to three seconds on a busy machine. Where bf16 is worth having it is several times as fast:
    chance decides nothing.
    """
    if wanted != "auto":
        return wanted
    rounds = [[_product_seconds(device, dtype) for dtype in (torch.float32, torch.bfloat16)] for _ in range(ROUNDS)]
    fp32, bf16 = (min(seconds) for seconds in zip(*rounds, strict=True))
    return "bf16" if bf16 * 1.3 < fp32 else "fp32"


def product_rate(device: torch.device, precision: str, rows: int = 2048, inner: int = 512, columns: int = 512) -> float:
    """Operations a second of a product of (rows, inner) and (inner, columns) matrices in "fp32" or "bf16"."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    seconds = min(_product_seconds(device, dtype, rows, inner, columns) for _ in range(ROUNDS))
    return 2 * rows * inner * columns / seconds


def _product_seconds(
    device: torch.device, dtype: torch.dtype, rows: int = 2048, inner: int = 512, columns: int = 512
) -> float:
    """What a product of such matrices takes; as they are by themselves, of the shapes of a small model's layers."""
    a = torch.ones(rows, inner, device=device, dtype=dtype)
    b = torch.ones(inner, columns, device=device, dtype=dtype)
    started = time.perf_counter()
    product = a @ b
    product[0, 0].item()  # waits for the device
    return time.perf_counter() - started


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """The context in which a model computes in ``precision``, "fp32" or "bf16"; its weights stay float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")
