"""Documents as JSON lines: what stages hand to each other, and what a reader can open at any point."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

Document = dict[str, Any]
"""At least ``id``, ``title`` and ``text``, all str; ``source`` names the corpus it came from."""


def read_jsonl(path: Path) -> Iterator[Document]:
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def write_jsonl(path: Path, rows: Iterable[Document]) -> int:
    """Write one row a line and return how many there were."""
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            count += 1
    return count
