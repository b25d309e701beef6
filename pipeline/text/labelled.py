"""Labelled documents from the files people have them in, as rows of ``id``, ``text`` and ``label``, all str.

Where documents have several labels, ``label`` is a list of them.
"""

import csv
import io
import json
import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pipeline.errors import UsageError
from pipeline.text.documents import Document
from pipeline.text.unicode import encodable, normalize

Table = tuple[list[str], list[list[str]]]
"""Names of the columns, then the rows, each as long as there are columns."""

SPLITS = {"train": ("train",), "dev": ("validation", "dev", "valid"), "test": ("test",)}
"""What `datasets` calls each split, the usual name first."""

_DATASET = re.compile(r"(?P<name>[^@:]+)(?:@(?P<config>[^@:]+))?(?::(?P<split>[^@:]+))?")
_SIGNS = {";": "semicolon", "\t": "tab", ",": "comma"}  # that part fields
csv.field_size_limit(2**31 - 1)  # a document may be longer than the 128 KiB that csv allows a field


def local_path(name: str) -> Path | None:
    """Where the labelled set ``name`` lies on this machine; None where it names a set to download.

    UsageError: it is neither a file, nor a folder, nor what a `datasets` name looks like.
    """
    if Path(name).is_file():
        return Path(name)
    dataset = _DATASET.fullmatch(name)
    if dataset and Path(dataset["name"]).is_dir():
        return Path(dataset["name"])
    if dataset and Path(name).suffix.lower() not in READERS and re.fullmatch(r"\w[\w.-]*(/[\w.-]+)?", dataset["name"]):
        return None
    raise UsageError(f"{name} does not exist: name a {_FORMATS} file, or a dataset as owner/name@config:split")


def read(name: str, role: str, text: str | Sequence[str], label: str) -> list[Document]:
    """The documents of the labelled set ``name`` in their order; an ``id`` is the row's own, or its number from 1.

    ``role`` is train, dev or test: the split to take where ``name`` holds several and names none. Several columns of
    ``text`` are joined with a newline. Texts are brought into the form of the corpus (``unicode.normalize``), so that
    the tokenizer meets what it was trained on; labels stay as they are. Either may come out empty.
    UsageError: missing, not UTF-8, not of a known format, without the columns, without that split, not to be had.
    """
    path = local_path(name)
    if path is None or path.is_dir():
        header, rows = _dataset(name, role)
    elif read_table := READERS.get(path.suffix.lower()):
        header, rows = read_table(path)
    else:
        raise UsageError(f"{path} is of no known format: labelled documents are read from {_FORMATS}")
    texts = [_position(header, column, name, "text") for column in ([text] if isinstance(text, str) else text)]
    label_at = _position(header, label, name, "label")
    ids = _ids(header, rows)
    return [
        {"id": i, "text": normalize("\n".join(row[at] for at in texts)), "label": row[label_at]}
        for i, row in zip(ids, rows, strict=True)
    ]


def parted(rows: list[Document], separator: str | None) -> list[Document]:
    """``rows`` with a list of labels in each, where there is a ``separator`` or a label is of several lines.

    A line end stands between the members of what was a list (``_as_text``).
    """
    if not separator and not any("\n" in row["label"].strip() for row in rows):
        return rows
    parts = re.compile("\n" if separator is None else re.escape(separator) + "|\n")
    return [{**row, "label": [label for label in parts.split(row["label"]) if label.strip()]} for row in rows]


def alike(splits: dict[str, list[Document]]) -> dict[str, list[Document]]:
    """``splits`` with a list of labels in every row, if any has one."""
    if all(isinstance(rows[0]["label"], str) for rows in splits.values()):
        return splits
    return {role: [{**row, "label": labels_of(row)} for row in rows] for role, rows in splits.items()}


def labels_of(row: Document) -> list[str]:
    """The labels of a document, be there one or several."""
    label: str | list[str] = row["label"]
    return [label] if isinstance(label, str) else label


def look_alikes(labels: Iterable[str]) -> list[list[str]]:
    """Groups of labels that differ only in case, in space, in what is not seen, or in how a number is written."""
    groups: dict[str, list[str]] = {}
    for label in labels:
        seen = " ".join(normalize(label).casefold().split())
        groups.setdefault(str(float(seen)) if is_number(seen) else seen, []).append(label)
    return [group for group in groups.values() if len(group) > 1]


def is_number(label: str) -> bool:
    try:
        float(label)
    except ValueError:
        return False
    return True


def _position(header: list[str], column: str, name: str, setting: str) -> int:
    if column not in header:
        raise UsageError(
            f"{name} has no column `{column}`, only {', '.join(f'`{c}`' for c in header)}: "
            f"say which one holds the {setting} with labelled.{setting}=..."
        )
    return header.index(column)


def _ids(header: list[str], rows: list[list[str]]) -> list[str]:
    for column in ("id", "index_id"):
        if column in header:
            ids = [row[header.index(column)] for row in rows]
            if all(ids) and len(set(ids)) == len(ids):
                return ids
    return [str(number) for number in range(1, len(rows) + 1)]


def _decode(path: Path) -> str:
    content = path.read_bytes()
    if content.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in content[:1000]:
        raise UsageError(f"{path} is UTF-16: save it as UTF-8, e.g. with `iconv -f UTF-16 -t UTF-8`")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 (byte {error.start}): save it as UTF-8 (Excel: CSV UTF-8)") from error
    if not text.strip():
        raise UsageError(f"{path} is empty: give a file with labelled documents")
    return text


def _delimited(path: Path, delimiter: str) -> Table:
    """A TSV or CSV file whose dialect is told by looking: fields with quotes around them, or quotes that are text;
    and other signs than ``delimiter`` that part the header, as Excel writes semicolons in many countries.

    Quotes are text where reading them as quoting breaks the table, or where some fields of a column wear them
    without need and others do not.
    """
    text = _decode(path)
    lines = text.replace("\r\n", "\n").split("\n")  # not splitlines: U+2028 and U+0085 occur in texts
    if delimiter not in lines[0]:
        delimiter = next((other for other in _SIGNS if other in lines[0]), delimiter)
    plain = [line.split(delimiter) for line in lines if line]
    try:
        quoted = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True) if row]
    except csv.Error:
        quoted = []
    if _even(quoted) and not (_even(plain) and _quotes_are_text(plain)):
        return quoted[0], quoted[1:]
    if _even(plain):
        return plain[0], plain[1:]
    rows = max(quoted, plain, key=lambda rows: sum(len(row) == len(rows[0]) for row in rows))
    number, fields = next((n, len(row)) for n, row in enumerate(rows, start=1) if len(row) != len(rows[0]))
    raise UsageError(
        f"{path}: row {number} has {fields} fields and the header {len(rows[0])}: "
        f"quote fields that hold a {_SIGNS[delimiter]} or line end, or use .jsonl"
    )


def _even(rows: list[list[str]]) -> bool:
    return bool(rows) and all(len(row) == len(rows[0]) for row in rows)


def _quotes_are_text(rows: list[list[str]]) -> bool:
    for column in zip(*rows[1:], strict=True):
        opened = [field for field in column if field.startswith('"')]
        closed = [field for field in opened if len(field) > 1 and field.endswith('"')]
        needless = [field for field in closed if not {'"', "\r"} & set(field[1:-1])]
        if len(closed) < len(opened) or (needless and len(closed) < sum(map(bool, map(str.strip, column)))):
            return True
    return False


def _json_lines(path: Path) -> Table:
    objects = []
    for number, line in enumerate(_decode(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:  # ValueError: of a number of thousands of digits, too
            raise UsageError(f"{path}, line {number}, is not JSON ({error}): write one object a line") from error
        if not isinstance(row, dict):
            raise UsageError(f"{path}, line {number}, is no JSON object: write one object a line")
        objects.append(row)
    header = list(dict.fromkeys(key for row in objects for key in row))
    return header, [[_as_text(row.get(key)) for key in header] for row in objects]


def _parquet(path: Path) -> Table:
    import pyarrow  # type: ignore[import-untyped]
    import pyarrow.parquet  # type: ignore[import-untyped]
    from datasets import Dataset

    try:
        return _columns(Dataset(pyarrow.parquet.read_table(path)))  # a Dataset, as it knows the names of class ids
    except (pyarrow.ArrowException, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UsageError(f"{path} cannot be read as Parquet ({reason}): write it anew, or give .jsonl") from error


def _dataset(name: str, role: str) -> Table:
    """A split of a folder that `datasets` saved or can load, or of a set that it downloads."""
    from datasets import Dataset, load_dataset, load_from_disk
    from datasets.exceptions import DatasetsError

    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it tells of every attempt, twice
    match = _DATASET.fullmatch(name)
    assert match, "local_path lets no other name through"
    folder = Path(match["name"])
    try:
        if any((folder / file).exists() for file in ("dataset_info.json", "dataset_dict.json")):
            found = load_from_disk(str(folder))
        else:
            found = load_dataset(str(folder), match["config"])
    except (OSError, ValueError, RuntimeError, DatasetsError) as error:  # RuntimeError: of a set that is a program
        reason = " ".join(str(error).split())[:200]
        raise UsageError(
            f"the dataset {name} cannot be loaded ({reason}): check its name and the network, "
            "give files with labelled.train=... labelled.dev=... labelled.test=..., or do without: labelled=null"
        ) from error
    if isinstance(found, Dataset):
        return _columns(found)
    wanted = [match["split"]] if match["split"] else SPLITS[role]
    split = next((split for split in wanted if split in found), None)
    if split is None:
        raise UsageError(f"{name} has no split `{wanted[0]}`, only {', '.join(found)}: write {match['name']}:SPLIT")
    return _columns(found[split])


def _columns(dataset: Any) -> Table:
    """All columns but sound, pictures and the like, which `datasets` would decode with libraries of their own."""
    names = [name for name, feature in dataset.features.items() if not _is_decoded(feature)]
    return names, list(_dataset_rows(dataset.select_columns(names)))


def _is_decoded(feature: Any) -> bool:
    from datasets import Json

    if isinstance(feature, dict):
        return any(map(_is_decoded, feature.values()))
    if inner := getattr(feature, "feature", None):
        return _is_decoded(inner)
    return getattr(feature, "decode", False) and not isinstance(feature, Json)


def _dataset_rows(dataset: Any) -> Iterator[list[str]]:
    names: dict[str, Any] = {key: _class_names(feature) for key, feature in dataset.features.items()}
    for row in dataset:
        yield [_as_text(_class_name(names[key], value) if names[key] else value) for key, value in row.items()]


def _class_names(feature: Any) -> list[str] | None:
    """What the class ids of a column, or those in its lists, stand for; None: they are no class ids."""
    return getattr(feature, "names", None) or getattr(getattr(feature, "feature", None), "names", None)


def _class_name(names: list[str], value: int | list[int] | None) -> Any:
    if isinstance(value, list):
        return [_class_name(names, each) for each in value]
    return "" if value is None or not 0 <= value < len(names) else names[value]  # -1: `datasets` has no label for it


def _as_text(value: Any) -> str:
    if isinstance(value, list):
        return "\n".join(map(_as_text, value))
    return "" if value is None else encodable(str(value))


READERS = {
    ".tsv": lambda path: _delimited(path, "\t"),
    ".csv": lambda path: _delimited(path, ","),
    ".jsonl": _json_lines,
    ".parquet": _parquet,
}
_FORMATS = ", ".join(READERS)
