"""Documents as JSON lines: what stages hand to each other, and what a reader can open at any point."""

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
Document = dict[str, Any]
"""At least ``id``, ``title`` and ``text``, all str; ``source`` names the corpus it came from."""


def read_jsonl(path: Path) -> Iterator[Document]:
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def write_jsonl(path: Path, rows: Iterable[Document]) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def in_batches(items: Iterable[T], length: Callable[[T], int], most: int) -> Iterator[list[T]]:
    """``items`` in lists, in their order; a list ends with the item that brings its ``length`` to ``most`` or over."""
    batch: list[T] = []
    total = 0
    for item in items:
        batch.append(item)
        total += length(item)
        if total >= most:
            yield batch
            batch, total = [], 0
    if batch:
        yield batch
