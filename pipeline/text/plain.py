"""Corpora that are plain text already, each read as a stream of documents.

Every reader takes a path and yields documents with ``id``, ``title`` and ``text``, or, in place of one, the
reason why a row holds none. Text that is not valid Unicode has U+FFFD in place of what is not.
"""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pipeline.errors import UsageError
from pipeline.text.documents import Document


def text_lines(path: Path) -> Iterator[Document | str]:
    """One document a line; the id is the number of the line, from 1."""
    with path.open(encoding="utf-8-sig", errors="replace", newline="\n") as lines:
        for number, line in enumerate(lines, 1):
            yield {"id": str(number), "title": "", "text": text} if (text := line.strip()) else "empty"


def json_lines(path: Path) -> Iterator[Document | str]:
    """Rows with ``text`` and perhaps ``id`` and ``title``. Raises UsageError at a line that is no such row."""
    with path.open(encoding="utf-8-sig", errors="replace", newline="\n") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (json.JSONDecodeError, RecursionError) as error:
                raise UsageError(f"{path}, line {number}, is not JSON ({error}): mend or remove it") from error
            if not isinstance(row, dict) or "text" not in row:
                names = ", ".join(map(str, row)) if isinstance(row, dict) else "none"
                raise UsageError(
                    f"{path}, line {number}, has no `text` (its keys: {names}): rename the key that holds it"
                )
            yield _document(row, number)


def dataset_rows(path: Path) -> Iterator[Document | str]:
    """The rows of a folder that `datasets` can read: saved by ``save_to_disk``, or Parquet files."""
    import datasets

    if (path / "dataset_info.json").exists() or (path / "dataset_dict.json").exists():
        saved = datasets.load_from_disk(str(path))
    else:
        files = sorted(str(file) for file in (path.rglob("*.parquet") if path.is_dir() else [path]))
        if not files:
            raise UsageError(
                f"{path} holds no corpus: it needs .parquet files, or to be saved by datasets' save_to_disk"
            )
        saved = datasets.load_dataset("parquet", data_files=files, split="train", streaming=True)
    parts = list(saved.values()) if isinstance(saved, dict) else [saved]
    number = 0
    for part in parts:
        if "text" not in (part.column_names or ["text"]):
            raise UsageError(
                f"{path} has no column `text`, only {', '.join(part.column_names)}: rename the one that holds it"
            )
        for row in part:
            number += 1
            yield _document(row, number)


def _document(row: dict[str, Any], number: int) -> Document | str:
    text, title = row["text"], row.get("title")
    if not isinstance(text, str) or not text.strip():
        return "empty"
    identity = row.get("id")
    return {
        "id": _encodable(str(number if identity is None else identity)),
        "title": _encodable(title) if isinstance(title, str) else "",
        "text": _encodable(text.strip()),
    }


_LONE = re.compile("[\ud800-\udfff]")


def _encodable(text: str) -> str:
    """JSON can name halves of surrogate pairs, which no UTF-8 file can hold."""
    return _LONE.sub("\ufffd", text)


DOCUMENTS: dict[str, Callable[[Path], Iterator[Document | str]]] = {
    "text": text_lines,
    "jsonl": json_lines,
    "dataset": dataset_rows,
}
