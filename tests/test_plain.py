"""Corpora that are plain text already: what becomes of their rows, and which are refused."""

import json
from pathlib import Path
from typing import Any

import pyarrow  # type: ignore[import-untyped]
import pyarrow.parquet  # type: ignore[import-untyped]
import pytest
from extracting import PROSE, Here, documents, sources

from pipeline import extract
from pipeline.config import Config
from pipeline.errors import UsageError
from pipeline.text.plain import dataset_rows


def test_plain_corpora_of_each_kind_become_documents(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    (tmp_path / "a.txt").write_bytes(f"{PROSE}\n\n  ଆଉ ଏକ \r\n".encode() + b"\xff bad\n")
    lone = json.dumps({"text": "x \ud800 y", "title": "T", "id": 7})
    (tmp_path / "b.jsonl").write_text(f'{lone}\n{{"text": null}}\n{{"text": "z"}}\n')
    datasets.Dataset.from_dict({"text": ["p", "", "q"], "other": [1, 2, 3]}).save_to_disk(tmp_path / "saved")
    (tmp_path / "parquet").mkdir()
    datasets.Dataset.from_dict({"text": ["r"], "id": ["i"]}).to_parquet(tmp_path / "parquet/0.parquet")
    out = sources(
        tmp_path,
        {"name": "a", "kind": "text", "path": str(tmp_path / "a.txt")},
        {"name": "b", "kind": "jsonl", "path": str(tmp_path / "b.jsonl")},
        {"name": "c", "kind": "dataset", "path": str(tmp_path / "saved")},
        {"name": "d", "kind": "dataset", "path": str(tmp_path / "parquet")},
    )
    counts = extract.work(Here(Config(run="r", language="or"), tmp_path), out)
    assert [(row["source"], row["id"], row["title"], row["text"]) for row in documents(tmp_path)] == [
        ("a", "1", "", PROSE),
        ("a", "3", "", "ଆଉ ଏକ"),
        ("a", "4", "", "\ufffd bad"),
        ("b", "7", "T", "x \ufffd y"),
        ("b", "3", "", "z"),
        ("c", "1", "", "p"),
        ("c", "3", "", "q"),
        ("d", "i", "", "r"),
    ]
    assert [counts[name].get("empty", 0) for name in "abcd"] == [1, 1, 1, 0]


def test_parquet_files_that_agree_in_nothing_but_the_text_are_one_corpus(tmp_path: Path) -> None:
    tables: list[dict[str, Any]] = [
        {"text": pyarrow.nulls(2)},
        {"text": ["a"], "id": [1], "title": ["T"]},
        {"text": pyarrow.array(["b"]).dictionary_encode(), "id": ["x"], "url": ["u"]},
    ]
    (folder := tmp_path / "parquet").mkdir()
    (folder / "2.parquet").mkdir()  # a folder that is called like a file, as Spark writes it
    for name, columns in zip(("0", "1", "2.parquet/part"), tables, strict=True):
        pyarrow.parquet.write_table(pyarrow.table(columns), folder / f"{name}.parquet")
    assert list(dataset_rows(folder)) == [
        *("empty", "empty"),
        {"id": "1", "title": "T", "text": "a"},
        {"id": "x", "title": "", "text": "b"},
    ]
    (folder / "3.parquet").touch()
    with pytest.raises(UsageError, match=r"3\.parquet cannot be read \(Parquet file size is 0 bytes\): get it again"):
        list(dataset_rows(folder))
    pyarrow.parquet.write_table(pyarrow.table({"body": ["a"]}), folder / "3.parquet")
    with pytest.raises(UsageError, match=r"3\.parquet has no column `text`, only body"):
        list(dataset_rows(folder))


@pytest.mark.parametrize(
    "texts", [[7], [["a"]], [b"a"], [{"a": "b"}]], ids=["numbers", "lists", "bytes", "groups of columns"]
)
def test_a_column_of_texts_that_are_none_is_refused(tmp_path: Path, texts: list[Any]) -> None:
    from datasets import Dataset

    (folder := tmp_path / "parquet").mkdir()
    pyarrow.parquet.write_table(pyarrow.table({"text": texts}), folder / "0.parquet")
    Dataset(pyarrow.table({"text": texts})).save_to_disk(tmp_path / "saved")
    for path in (folder, tmp_path / "saved"):
        with pytest.raises(UsageError, match=r"has a column `text` of type .*: write it as strings"):
            list(dataset_rows(path))


def test_a_saved_dataset_that_is_damaged_is_refused(tmp_path: Path) -> None:
    from datasets import Dataset

    Dataset.from_dict({"text": ["a"]}).save_to_disk(tmp_path / "saved")
    (tmp_path / "saved/dataset_info.json").write_text('{"features": ')
    with pytest.raises(UsageError, match=r"saved cannot be read \(.*\): get it again, or leave it out"):
        list(dataset_rows(tmp_path / "saved"))


def test_a_saved_dataset_with_sound_is_read_for_its_text(tmp_path: Path) -> None:
    from datasets import Dataset

    features = {"text": {"dtype": "string", "_type": "Value"}, "sound": {"_type": "Audio"}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    table = pyarrow.table({"text": ["a"], "sound": [{"bytes": b"RIFF", "path": "a.wav"}]})
    Dataset(table.replace_schema_metadata(metadata)).save_to_disk(tmp_path / "saved")
    assert [*dataset_rows(tmp_path / "saved")] == [{"id": "1", "title": "", "text": "a"}]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 1, is not JSON"),
        ('{"txt": "a"}', "no `text`.*txt"),
        ("[1]", "no `text`"),
        ("9" * 5_000, "line 1, is not JSON"),
    ],
)
def test_a_row_without_text_is_named(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "b.jsonl").write_text(line)
    out = sources(tmp_path, {"name": "b", "kind": "jsonl", "path": str(tmp_path / "b.jsonl")})
    with pytest.raises(UsageError, match=message):
        extract.work(Here(Config(run="r", language="or"), tmp_path), out)
