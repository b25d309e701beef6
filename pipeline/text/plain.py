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
            except (ValueError, RecursionError) as error:  # ValueError: of a number of thousands of digits, too
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
    rows = (row for part in _parts(path) for row in _rows(part))
    yield from (_document(row, number) for number, row in enumerate(rows, 1))


def require_dataset(path: Path) -> None:
    """UsageError where ``dataset_rows`` would refuse the beginning of one of the files."""
    for part in _parts(path):
        next(_rows(part), None)


def _parts(path: Path) -> list[Path]:
    """What is read on its own: the folder that `datasets` saved, or each Parquet file."""
    if (path / "dataset_info.json").exists() or (path / "dataset_dict.json").exists():
        return [path]
    files = sorted(file for file in path.rglob("*") if file.suffix.lower() == ".parquet" and file.is_file())
    if not files:
        raise UsageError(f"{path} holds no corpus: it needs .parquet files, or to be saved by datasets' save_to_disk")
    return files


def _rows(part: Path) -> Iterator[dict[str, Any]]:
    import pyarrow  # type: ignore[import-untyped]

    try:
        yield from _saved_rows(part) if part.is_dir() else _parquet_rows(part)
    except (pyarrow.ArrowException, OSError) as error:
        raise _unreadable(part, error) from error


def _unreadable(part: Path, error: Exception) -> UsageError:
    reason = " ".join(str(error).split())[:200]
    return UsageError(f"{part} cannot be read ({reason}): get it again, or leave it out")


def _saved_rows(folder: Path) -> Iterator[dict[str, Any]]:
    import datasets

    try:
        saved = datasets.load_from_disk(str(folder))
    except ValueError as error:  # of JSON that is damaged, and of kinds of columns that are not known
        raise _unreadable(folder, error) from error
    for split in saved.values() if isinstance(saved, dict) else [saved]:
        yield from split.select_columns(_columns(folder, split.features.arrow_schema))


def _parquet_rows(file: Path) -> Iterator[dict[str, Any]]:
    import pyarrow.parquet  # type: ignore[import-untyped]

    with pyarrow.parquet.ParquetFile(file) as table:
        for batch in table.iter_batches(1000, columns=_columns(file, table.schema_arrow)):
            yield from batch.to_pylist()


def _columns(path: Path, schema: Any) -> list[str]:
    """Those of a document. UsageError: its text is not among them, or none."""
    kinds = dict(zip(schema.names, schema.types, strict=True))
    if "text" not in kinds:
        raise UsageError(f"{path} has no column `text`, only {', '.join(kinds)}: rename the one that holds it")
    if not _holds_text(kinds["text"]):
        raise UsageError(f"{path} has a column `text` of type {kinds['text']}: write it as strings")
    return [name for name in ("id", "title", "text") if name in kinds]


def _holds_text(kind: Any) -> bool:
    from pyarrow import types

    kind = kind.value_type if types.is_dictionary(kind) else kind
    return any(is_(kind) for is_ in (types.is_string, types.is_large_string, types.is_string_view, types.is_null))


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
