"""Corpora that are plain text already, each read as a stream of documents.

Every reader takes a path and yields documents with ``id``, ``title`` and ``text``, or, in place of one, the
reason why a row holds none. Text that is not valid Unicode has U+FFFD in place of what is not.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pipeline.errors import UsageError
from pipeline.text.documents import Document
from pipeline.text.unicode import encodable


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
    """The rows of a folder that `datasets` can read: saved by ``save_to_disk``, or Parquet files.

    Other columns than ours are not read: they may differ from file to file, or take libraries to decode.
    """
    import pyarrow  # type: ignore[import-untyped]

    saved = (path / "dataset_info.json").exists() or (path / "dataset_dict.json").exists()
    files = [path] if saved else sorted(path.rglob("*.parquet"))
    if not files:
        raise UsageError(f"{path} holds no corpus: it needs .parquet files, or to be saved by datasets' save_to_disk")
    number = 0
    for file in files:
        try:
            for row in _saved_rows(file) if saved else _parquet_rows(file):
                number += 1
                yield _document(row, number)
        except (pyarrow.ArrowException, OSError) as error:
            reason = " ".join(str(error).split())[:200]
            raise UsageError(f"{file} cannot be read ({reason}): get it again, or leave it out") from error


def _saved_rows(folder: Path) -> Iterator[dict[str, Any]]:
    import datasets

    saved = datasets.load_from_disk(str(folder))
    for part in saved.values() if isinstance(saved, dict) else [saved]:
        yield from part.select_columns(_columns(folder, part.column_names))


def _parquet_rows(file: Path) -> Iterator[dict[str, Any]]:
    import pyarrow.parquet  # type: ignore[import-untyped]

    with pyarrow.parquet.ParquetFile(file) as table:
        for batch in table.iter_batches(1000, columns=_columns(file, table.schema_arrow.names)):
            yield from batch.to_pylist()


def _columns(path: Path, there: list[str]) -> list[str]:
    """Those of a document. UsageError: its text is not among them."""
    if "text" not in there:
        raise UsageError(f"{path} has no column `text`, only {', '.join(there)}: rename the one that holds it")
    return [name for name in ("id", "title", "text") if name in there]


def _document(row: dict[str, Any], number: int) -> Document | str:
    text, title = row["text"], row.get("title")
    if not isinstance(text, str) or not text.strip():
        return "empty"
    identity = row.get("id")
    return {
        "id": encodable(str(number if identity is None else identity)),
        "title": encodable(title) if isinstance(title, str) else "",
        "text": encodable(text.strip()),
    }


DOCUMENTS: dict[str, Callable[[Path], Iterator[Document | str]]] = {
    "text": text_lines,
    "jsonl": json_lines,
    "dataset": dataset_rows,
}
