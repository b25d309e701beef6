"""What a program says while it runs: its log and bars of progress; among several processes rank 0 speaks for all."""

import logging
import multiprocessing
import os
import sys
from collections.abc import Iterable
from typing import Any, TypeVar

T = TypeVar("T")

log = logging.getLogger("akshara")

RANK = int(os.environ.get("RANK", "0"))  # set by torchrun and `accelerate launch`; 0 in a single process


def speak() -> None:
    """Have our log go to standard error, on other ranks than 0 its warnings alone; and the warnings of libraries."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr, force=True)
    log.setLevel(logging.WARNING if RANK else logging.INFO)


def progress(items: Iterable[T] | None = None, **keywords: Any) -> Any:
    """A tqdm bar that shows after two seconds, only on a terminal and only in the process that speaks for others."""
    from tqdm import tqdm

    others = RANK or multiprocessing.parent_process()
    return tqdm(items, disable=True if others else None, delay=2, leave=False, dynamic_ncols=True, **keywords)
