"""Labelled documents come out of every format as they went in."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pyarrow  # type: ignore[import-untyped]
import pyarrow.parquet  # type: ignore[import-untyped]
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.errors import UsageError
from pipeline.text import labelled, labelled_checks
from pipeline.text.unicode import normalize

ROWS = [("ଖେଳ", "ଦଳ ଜିତିଲା"), ("ସ୍ୱାସ୍ଥ୍ୟ", "ଡାକ୍ତର ଆସିଲେ"), ("ଖେଳ", "ବଲ୍ ଗଡ଼ିଲା")]


def read(path: Path, text: str | tuple[str, ...] = "text", label: str = "category") -> list[tuple[str, str]]:
    return [(row["label"], row["text"]) for row in labelled.read(str(path), "train", text, label)]


def write(path: Path, content: str) -> Path:
    path.write_text(content, "utf-8", newline="")
    return path


def test_every_format_gives_the_same_documents(tmp_path: Path) -> None:
    from datasets import ClassLabel, Dataset, DatasetDict

    table = "".join(f"{label}{{0}}{text}\n" for label, text in [("category", "text"), *ROWS])
    objects = [{"category": label, "text": text} for label, text in ROWS]
    names = sorted({label for label, _ in ROWS})
    plain = Dataset.from_list(objects)
    with_ids = plain.cast_column("category", ClassLabel(names=names))
    with_ids.to_parquet(str(tmp_path / "ids.parquet"))
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(objects), tmp_path / "names.parquet")
    DatasetDict({"train": with_ids}).save_to_disk(str(tmp_path / "saved"))
    plain.save_to_disk(str(tmp_path / "saved_alone"))

    paths = [
        write(tmp_path / "a.tsv", table.format("\t")),
        write(tmp_path / "a.csv", table.format(",")),
        write(tmp_path / "bom.tsv", "\ufeff" + table.format("\t")),
        write(tmp_path / "windows.tsv", table.format("\t").replace("\n", "\r\n")),
        write(tmp_path / "a.jsonl", "".join(json.dumps(row) + "\n" for row in objects)),
        *(tmp_path / name for name in ("ids.parquet", "names.parquet", "saved", "saved_alone")),
    ]
    assert {path.name: read(path) for path in paths} == {path.name: ROWS for path in paths}


def test_class_ids_in_lists_get_their_names(tmp_path: Path) -> None:
    from datasets import ClassLabel, Dataset, List

    rows = Dataset.from_list([{"category": [1, 0], "text": "ଗୋଟିଏ"}, {"category": [], "text": "ଦୁଇଟି"}])
    rows.cast_column("category", List(ClassLabel(names=["joy", "anger"]))).to_parquet(str(tmp_path / "lists.parquet"))
    assert read(tmp_path / "lists.parquet") == [("anger\njoy", "ଗୋଟିଏ"), ("", "ଦୁଇଟି")]


def test_a_class_id_without_a_name_is_no_label(tmp_path: Path) -> None:
    from datasets import ClassLabel, Dataset

    rows = Dataset.from_list([{"category": number, "text": str(number)} for number in (0, 1)])
    rows.cast_column("category", ClassLabel(num_classes=2)).to_parquet(str(tmp_path / "two.parquet"))
    table = pyarrow.parquet.read_table(tmp_path / "two.parquet")
    more = pyarrow.table({"category": [0, -1, 2], "text": ["0", "-1", "2"]}).cast(table.schema)
    pyarrow.parquet.write_table(more, tmp_path / "more.parquet")
    assert read(tmp_path / "more.parquet") == [("0", "0"), ("", "-1"), ("", "2")]


def test_parquet_with_a_kind_of_column_that_is_not_known_is_refused(tmp_path: Path) -> None:
    metadata = {"info": {"features": {"category": {"_type": "Smell"}, "text": {"dtype": "string", "_type": "Value"}}}}
    table = pyarrow.table({"category": ["a"], "text": ["x"]})
    table = table.replace_schema_metadata({"huggingface": json.dumps(metadata)})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(UsageError, match=r"a\.parquet cannot be read as Parquet \(.*Smell"):
        read(tmp_path / "a.parquet")


def test_halves_of_surrogate_pairs_can_be_written(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", r'{"category": "a\ud800", "text": "x\ud800y", "id": "\udfff1"}' + "\n")
    (row,) = labelled.read(str(path), "train", "text", "category")
    assert row == {"id": "\ufffd1", "text": "x y", "label": "a\ufffd"}


def test_sound_beside_the_text_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from datasets import Dataset

    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    sound = {"bytes": b"RIFF", "path": "a.wav"}
    heard = {"sound": sound, "takes": [sound], "spoken": {"by": "a", "sound": sound}}
    table = pyarrow.Table.from_pylist([{"category": label, "text": text, **heard} for label, text in ROWS])
    value, audio = {"dtype": "string", "_type": "Value"}, {"_type": "Audio"}
    features: dict[str, Any] = {"category": value, "text": value, "sound": audio}
    features |= {"takes": {"feature": audio, "_type": "List"}, "spoken": {"by": value, "sound": audio}}
    metadata = {"info": {"features": features}}
    table = table.replace_schema_metadata({"huggingface": json.dumps(metadata)})
    (tmp_path / "folder").mkdir()
    pyarrow.parquet.write_table(table, tmp_path / "folder/train.parquet")
    Dataset(table).save_to_disk(str(tmp_path / "saved"))
    for name in ("folder/train.parquet", "folder", "saved"):
        assert read(tmp_path / name) == ROWS
    with pytest.raises(UsageError, match="no column `body`, only `category`, `text`:"):
        read(tmp_path / "saved", "body")


def test_a_dataset_that_is_a_program_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    write(tmp_path / "set/set.py", "import datasets\n")
    with pytest.raises(UsageError, match=r"set cannot be loaded \(Dataset scripts are no longer supported"):
        read(tmp_path / "set")


def test_values_of_any_json_are_read_as_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "set").mkdir()
    write(tmp_path / "set/train.jsonl", '{"category": 1, "text": "x"}\n{"category": "a", "text": "y"}\n')
    assert read(tmp_path / "set") == [("1", "x"), ("a", "y")]


def test_labels_that_are_lists_of_any_json_are_read(tmp_path: Path) -> None:
    from datasets import Dataset, Features, Json, List, Value

    features = Features({"category": List(Json()), "text": Value("string")})
    rows = [{"category": ["a", 1], "text": "x"}]
    Dataset.from_list(rows, features=features).save_to_disk(str(tmp_path / "saved"))
    assert read(tmp_path / "saved") == [("a\n1", "x")]


def test_a_folder_of_parquet_gives_each_role_its_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from datasets import Dataset

    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "set").mkdir()
    for split in ("train", "validation", "test"):
        Dataset.from_list([{"category": "a", "text": split}]).to_parquet(str(tmp_path / f"set/{split}.parquet"))
    name = str(tmp_path / "set")
    for role, split in {"train": "train", "dev": "validation", "test": "test"}.items():
        assert [row["text"] for row in labelled.read(name, role, "text", "category")] == [split]
    assert labelled.read(f"{name}:test", "train", "text", "category")[0]["text"] == "test"
    with pytest.raises(UsageError, match=r"no split `gold`, only .*train"):
        labelled.read(f"{name}:gold", "train", "text", "category")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (['"', 'a "word" within', "plain"], ['"', 'a "word" within', "plain"]),
        (['"opens and does not close', "plain"], ['"opens and does not close', "plain"]),
        (['"opens', 'closes"'], ['"opens', 'closes"']),  # read as quoting, this is one field over two rows
        (['"opens', "plain", 'x"'], ['"opens', "plain", 'x"']),
        (['"a whole sentence, quoted."', "plain"], ['"a whole sentence, quoted."', "plain"]),
        (['"said" he', "plain"], ['"said" he', "plain"]),
    ],
)
def test_quotes_in_a_table_without_quoting_are_text(tmp_path: Path, fields: list[str], expected: list[str]) -> None:
    lines = "".join(f"{number}\tnews\t{field}\n" for number, field in enumerate(fields))
    path = write(tmp_path / "plain.tsv", f"index_id\tcategory\ttext\n{lines}")
    assert [text for _, text in read(path)] == expected


def test_an_empty_field_wears_no_quotes_where_all_others_do(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", 'note,category,text\n"n","news","one, two"\n,"sport","three"\n"m","news",""\n')
    assert read(path) == [("news", "one, two"), ("sport", "three"), ("news", "")]
    path = write(tmp_path / "a.tsv", 'note\tcategory\ttext\n"n"\t"news"\t"one"\n\t"sport"\t"three"\n')
    assert read(path) == [("news", "one"), ("sport", "three")]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    texts=st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1), min_size=1),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    delimiter=st.sampled_from("\t,"),
)
def test_what_the_csv_module_quotes_is_read_back(
    tmp_path: Path, texts: list[str], quoting: int, delimiter: str
) -> None:
    path = tmp_path / ("a.tsv" if delimiter == "\t" else "a.csv")
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter, quoting=quoting)  # type: ignore[arg-type]
        writer.writerow(["number", "category", "text"])
        writer.writerows([number, "news", text] for number, text in enumerate(texts))
    assert [text for _, text in read(path)] == [normalize(text) for text in texts]


def test_line_separators_of_unicode_do_not_end_a_row(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", "category\ttext\nnews\tone\u2028two\x85three\n")
    assert read(path) == [("news", "one\ntwo\nthree")]


def test_semicolons_part_a_table_whose_header_has_no_comma(tmp_path: Path) -> None:
    path = write(tmp_path / "A.CSV", "\ufeffcategory;text\nnews;one, two\nnews;three\n")
    assert read(path) == [("news", "one, two"), ("news", "three")]
    assert read(write(tmp_path / "one.csv", "text,category\na;b,news\n")) == [("news", "a;b")]


def test_several_columns_are_joined_with_a_newline(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "headline,body,topic\nHead , Body, sport \n")
    assert read(path, ("headline", "body"), "topic") == [(" sport ", "Head\nBody")]


def test_ids_are_the_rows_own_where_they_are_unique(tmp_path: Path) -> None:
    own = write(tmp_path / "own.tsv", "index_id\tcategory\ttext\n77\ta\tx\n5\tb\ty\n")
    twice = write(tmp_path / "twice.tsv", "index_id\tcategory\ttext\n77\ta\tx\n77\tb\ty\n")
    assert [row["id"] for row in labelled.read(str(own), "train", "text", "category")] == ["77", "5"]
    assert [row["id"] for row in labelled.read(str(twice), "train", "text", "category")] == ["1", "2"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.tsv", b"category\tbody\na\tx\n", r"no column `text`, only `category`, `body`: .*labelled\.text="),
        ("a.tsv", b"topic\ttext\na\tx\n", r"no column `category`.*labelled\.label="),
        ("a.tsv", "category\ttext\na\tx\n".encode("utf-16"), "is UTF-16: save it as UTF-8"),
        ("a.tsv", "category\ttext\na\tx\n".encode("utf-16-le"), "is UTF-16: save it as UTF-8"),
        ("a.tsv", "category\ttext\na\té\n".encode("latin-1"), r"is not UTF-8 \(byte 16\)"),
        ("a.tsv", b" \n", "is empty"),
        ("a.tsv", b"category\ttext\na\tx\ny\n", "row 3 has 1 fields and the header 2"),
        ("a.csv", b'category,text\na,"x, y"\nb,x, y\n', "row 3 has 3 fields and the header 2"),
        ("a.jsonl", b'{"category": "a", "text": "x"}\n{"cat\n', "line 2, is not JSON"),
        ("a.jsonl", b'["a", "x"]\n', "line 1, is no JSON object"),
        ("a.jsonl", b"[" * 100_000, "line 1, is not JSON"),
        ("a.jsonl", b"9" * 5_000, "line 1, is not JSON"),
        (
            "semicolons.csv",
            b"category;text\na;x\nb;x; y\n",
            "row 3 has 3 fields .*: quote fields that hold a semicolon",
        ),
        ("a.tsv", b"category\ttext\na\tx\ty\n", "quote fields that hold a tab or line end"),
        ("a.parquet", b"PAR0", "cannot be read as Parquet"),
        ("a.xlsx", b"PK", r"no known format: .*\.tsv, \.csv, \.jsonl, \.parquet"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_with_a_remedy(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=message):
        read(tmp_path / name)


@pytest.mark.parametrize("name", ["missing.tsv", "data/more/missing", "/data/missing", "../missing:test"])
def test_what_is_neither_here_nor_a_dataset_name_is_missing(name: str) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        labelled.local_path(name)


def test_a_dataset_that_cannot_be_had_says_what_to_give_instead() -> None:
    with pytest.raises(UsageError, match=r"Davlan/sib200@ory_Orya cannot be loaded .*labelled\.train="):
        labelled.read("Davlan/sib200@ory_Orya", "train", "text", "category")


@pytest.mark.parametrize(
    ("folder", "header", "rows"),
    [
        ("sib200/ory_Orya", ("index_id", "category", "text"), (701, 99, 204)),
        ("sib200/hau_Latn", ("index_id", "category", "text"), (701, 99, 204)),
        ("sib200/som_Latn", ("index_id", "category", "text"), (701, 99, 204)),
        ("masakhanews/som", ("category", "headline", "text", "url"), (1021, 148, 294)),
    ],
)
def test_real_sets_can_be_written_back_byte_for_byte(
    akshara_data: Path, folder: str, header: tuple[str, ...], rows: tuple[int, ...]
) -> None:
    """Their fields wear quotes where they hold quotes, tabs or line ends, and only there."""
    for split, count in zip(("train", "dev", "test"), rows, strict=True):
        path = akshara_data / "classification" / folder / f"{split}.tsv"
        names, table = labelled.READERS[".tsv"](path)
        copy = io.StringIO()
        csv.writer(copy, delimiter="\t", lineterminator="\n").writerows([names, *table])
        assert tuple(names) == header
        assert copy.getvalue().encode() == path.read_bytes().replace(b"\r\n", b"\n")
        assert len(read(path)) == count
        assert all(label and text for label, text in read(path))


def test_labels_that_look_alike_are_grouped() -> None:
    labels = ["Sport", "news", "sport", "head  line", "head line", "ନ୍ୟୁ", "ନ୍ୟୁ\u200b", "1", "1.0", "12"]
    assert labelled.look_alikes(labels) == [
        ["Sport", "sport"],
        ["head  line", "head line"],
        ["ନ୍ୟୁ", "ନ୍ୟୁ\u200b"],
        ["1", "1.0"],
    ]


def test_texts_come_in_the_form_of_the_corpus(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", "category\ttext\n a&amp;b\t\u0b5c\ufeff  &quot;x&quot;\n")
    assert read(path) == [(" a&amp;b", '\u0b21\u0b3c "x"')]


def split(*rows: tuple[str, str]) -> list[dict[str, str]]:
    return [{"id": str(i), "text": text, "label": label} for i, (text, label) in enumerate(rows, start=1)]


def test_documents_of_test_are_taken_out_of_train_and_dev_and_test_stays_whole() -> None:
    splits = {
        "train": split(("One two.", "a"), ("three four", "b"), ("Three, FOUR", "b"), ("five", "a")),
        "dev": split(("five!", "a"), ("six", "b"), ("one two", "a")),
        "test": split(("three  four", "b"), ("ONE two", "a"), ("one two", "a")),
    }
    clean, faults = labelled_checks.checked(splits, remove_leaked=True)
    assert [row["text"] for row in clean["train"]] == ["five"]
    assert [row["text"] for row in clean["dev"]] == ["five!", "six"]
    assert clean["test"] == splits["test"]
    assert faults["removed"] == {"train": 3, "dev": 1}
    assert faults["duplicates"] == {
        **{"train": 1, "dev": 0, "test": 1},
        **{"train in dev": 1, "train in test": 3, "dev in test": 1},  # one more of dev is in test, and taken out
    }
    lines = list(labelled_checks.lines(faults))
    assert any("taken out: 3 of train and 1 of dev" in line for line in lines)
    assert "documents of train that are also in dev: 1; what is measured on dev flatters" in lines
    assert not any("also in test: " in line for line in lines)

    kept, faults = labelled_checks.checked(splits, remove_leaked=False)
    assert kept == splits
    assert "documents of train that are also in test: 3; what is measured on test flatters" in labelled_checks.lines(
        faults
    )


def test_a_dev_split_that_is_all_in_test_is_none_and_a_train_split_is_refused() -> None:
    same, other = split(("x y", "a"), ("z", "b")), split(("v", "a"), ("w", "b"))
    clean, _ = labelled_checks.checked({"train": other, "dev": same, "test": same}, remove_leaked=True)
    assert clean.keys() == {"train", "test"}
    with pytest.raises(UsageError, match="every document of train is also in test"):
        labelled_checks.checked({"train": same, "test": same}, remove_leaked=True)


def test_a_text_with_two_labels_is_told_whichever_splits_it_stands_in() -> None:
    splits = {"train": split(("x y", "a"), ("X y.", "b"), ("z", "b")), "dev": split(("z", "a"), ("!", "a"), ("?", "b"))}
    _, faults = labelled_checks.checked(splits, remove_leaked=True)
    assert faults["conflicts"]["texts"] == 2
    assert "texts with different labels: 2; the first: train 1 `a` and train 2 `b`" in labelled_checks.lines(faults)


def test_labels_are_stripped_and_numbers_named() -> None:
    splits = {"train": split(("x", " 1"), ("y", "2\u00a0"), ("z", "1.0"))}
    clean, faults = labelled_checks.checked(splits, remove_leaked=True)
    assert [row["label"] for row in clean["train"]] == ["1", "2", "1.0"]
    assert list(labelled_checks.lines(faults)) == [
        "labels with space around them: 2; the space is taken off",
        "all labels are numbers: read as names of classes, without an order (labelled.order=... gives one)",
        "labels that look alike count as different classes: `1`, `1.0`",
    ]


def test_labels_that_are_several_in_one_are_named() -> None:
    rows = split(("x", "a"), ("y", "b|a"), ("z", "b"), ("w", "science/a"), ("v", "a, c"))
    _, faults = labelled_checks.checked({"train": rows}, remove_leaked=True)
    assert list(labelled_checks.lines(faults)) == [
        "labels that read as several in one: 1; labelled.separator='|' takes them apart"
    ]


def test_clean_documents_are_nothing_to_speak_of() -> None:
    splits = {"train": split(("x", "a"), ("y", "b")), "test": split(("z", "a"))}
    clean, faults = labelled_checks.checked(splits, remove_leaked=True)
    assert clean == splits
    assert not list(labelled_checks.lines(faults))
