"""What fetch takes in, what it writes, and what it refuses in its first second."""

import bz2
import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow  # type: ignore[import-untyped]
import pyarrow.parquet  # type: ignore[import-untyped]
import pytest
from conftest import Program

from pipeline import fetch as fetch_stage
from pipeline.artifacts import corpus_files, sha256
from pipeline.config import Config, Labelled
from pipeline.errors import UsageError
from pipeline.text import wikipedias
from pipeline.text.sources import corpora_in

DUMP = '<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/" xml:lang="or"><siteinfo/></mediawiki>'
TRAIN = "category\ttext\nsport\tx\nnews\ty\n"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with every kind of corpus, and labelled documents."""
    from datasets import Dataset

    (tmp_path / "or.xml.bz2").write_bytes(bz2.compress(DUMP.encode()))
    (tmp_path / "stories").mkdir()
    (tmp_path / "stories/a.txt").write_text("ଗପ\n", "utf-8")
    (tmp_path / "stories/b.jsonl").write_text('{"text": "ଗପ"}\n', "utf-8")
    (tmp_path / "more").mkdir()
    (tmp_path / "more/a.txt").write_text("ଆଉ ଗପ\n", "utf-8")
    Dataset.from_list([{"text": "ଗପ"}]).save_to_disk(str(tmp_path / "saved"))
    (tmp_path / "train.tsv").write_text(TRAIN, "utf-8")
    return tmp_path


def fetch(program: Program, *settings: str) -> tuple[int, str]:
    done = program("fetch", "or", *settings)
    return done.returncode, done.stderr.splitlines()[-1]


def test_every_kind_of_corpus_gets_a_name_of_its_own(files: Path, program: Program) -> None:
    extra = "corpus.extra=[{path: stories/*.txt}, {path: stories, weight: 0.5}, {path: more/a.txt}, {path: saved}]"
    assert fetch(program, "corpus.dump=or.xml.bz2", extra, "labelled.train=train.tsv")[0] == 0
    sources: list[dict[str, Any]] = json.loads((files / "runs/or/fetch/sources.json").read_text("utf-8"))
    weights = json.loads((files / "runs/or/fetch/weights.json").read_text("utf-8"))
    assert [(s["name"], s["kind"], s["path"], weights[s["name"]]) for s in sources] == [
        ("orwiki", "dump", "or.xml.bz2", 1.0),
        ("a", "text", "stories/a.txt", 1.0),
        ("a-2", "text", "stories/a.txt", 0.5),
        ("b", "jsonl", "stories/b.jsonl", 0.5),
        ("a-3", "text", "more/a.txt", 1.0),
        ("saved", "dataset", "saved", 1.0),
    ]
    assert all(len(s["sha256"]) == 64 for s in sources)
    labelled = [json.loads(line) for line in (files / "runs/or/fetch/labelled/train.jsonl").open(encoding="utf-8")]
    assert labelled == [{"id": "1", "text": "x", "label": "sport"}, {"id": "2", "text": "y", "label": "news"}]
    assert sorted(path.name for path in (files / "runs/or/fetch/labelled").iterdir()) == ["train.jsonl"]


def test_a_file_added_to_a_folder_makes_the_result_out_of_date(files: Path, program: Program) -> None:
    settings = ["corpus.dump=null", "corpus.extra=[{path: stories}]", "labelled=null"]
    assert fetch(program, *settings)[0] == 0
    assert fetch(program, *settings)[1] == "fetch: up to date"
    (files / "stories/c.txt").write_text("ନୂଆ\n", "utf-8")
    assert "done" in fetch(program, *settings)[1]


def test_what_a_run_depends_on_is_what_fetch_reads(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(files)
    config = Config.model_validate(
        {
            "run": "or",
            "language": "or",
            "corpus": {"dump": "or.xml.bz2", "extra": [{"path": "stor*"}, {"path": str(files / "more/*")}]},
            "labelled": {"train": "train.tsv", "dev": "saved:validation", "test": "owner/name@or:test"},
        }
    )
    found = [str(path) for path in corpus_files(config)]
    assert found[:4] == ["or.xml.bz2", "stories/a.txt", "stories/b.jsonl", str(files / "more/a.txt")]
    assert found[4] == "train.tsv"
    assert {path.split("/")[0] for path in found[5:]} == {"saved"}


def test_texts_of_the_labelled_train_split_join_the_corpus_where_asked(files: Path, program: Program) -> None:
    settings = ["corpus.dump=null", "labelled.train=train.tsv", "labelled.as_corpus=true"]
    assert fetch(program, *settings)[0] == 0
    (source,) = json.loads((files / "runs/or/fetch/sources.json").read_text("utf-8"))
    assert (source["name"], source["kind"], source["path"]) == (
        "labelled",
        "jsonl",
        "runs/or/fetch/labelled/train.jsonl",
    )
    assert source["sha256"] == sha256(files / source["path"])
    assert program("extract", "or", *settings).returncode == 0
    rows = [json.loads(line) for line in (files / "runs/or/extract/labelled.jsonl").open(encoding="utf-8")]
    assert [row["text"] for row in rows] == ["x", "y"]
    assert not any("label" in row for row in rows)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["corpus.dump=null"], "there is no corpus: set corpus.dump"),
        (["corpus.dump=nowhere.xml"], "nowhere.xml names no file or folder"),
        (["corpus.dump=train.tsv"], "train.tsv is no dump by its name"),
        (["corpus.extra=[{path: 'none/*.txt'}]"], "none/*.txt names no file or folder"),
        (["corpus.extra=[{path: train.tsv}]"], "train.tsv is of no known format"),
        (["language=xx"], "`xx` is no known language code"),
        (["language=odia", "corpus.dump=latest"], "there is no Wikipedia `odia`: did you mean `or`"),
        (["labelled.train=nowhere.tsv"], "nowhere.tsv does not exist"),
        (["labelled.text=body"], "train.tsv has no column `body`, only `category`, `text`"),
        (["labelled.test=test.tsv"], "test.tsv has the label `weather`, of which train.tsv has no document"),
        (["labelled.dev=empty.tsv"], "empty.tsv has no document with a text and a label"),
        (["labelled.dev=owner/elsewhere", "labelled.test=empty.tsv"], "empty.tsv has no document"),
        (["labelled.train=one.tsv"], "one.tsv has one class only, `sport`"),
        (
            ["labelled.order=[news, weather]"],
            "labelled.order names `news`, `weather`, and the classes of train are `ne",
        ),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    files: Path, program: Program, settings: list[str], message: str
) -> None:
    (files / "test.tsv").write_text("category\ttext\nsport\tw\nweather\tz\n", "utf-8")
    (files / "empty.tsv").write_text("category\ttext\nsport\t \n\tx\n", "utf-8")
    (files / "one.tsv").write_text("category\ttext\nsport\tx\n sport\ty\n", "utf-8")
    done = program("fetch", "or", "corpus.dump=or.xml.bz2", "labelled.train=train.tsv", *settings)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1].startswith(f"error: {message}")
    assert "Traceback" not in done.stderr
    assert not (files / "runs/or/fetch").exists()


def test_faults_of_labelled_documents_are_told_counted_and_mended(files: Path, program: Program) -> None:
    (files / "train.tsv").write_text(TRAIN + "Sport \tz\nnews\t \nnews\tleak&amp;ed\n", "utf-8")
    (files / "test.tsv").write_text("category\ttext\nsport\tLeak&ed\n", "utf-8")
    labelled = ["labelled.train=train.tsv", "labelled.test=test.tsv"]
    done = program("fetch", "or", "corpus.dump=or.xml.bz2", *labelled)
    assert done.returncode == 0, done.stderr
    for line in (
        "documents without a text or a label are left out: 1 of train",
        "labels with space around them: 1;",
        "labels that look alike count as different classes: `sport`, `Sport`",
        "texts with different labels: 1; the first: train 5 `news` and test 1 `sport`",
        "documents that are also in test are taken out: 1 of train",
    ):
        assert f"fetch: {line}" in done.stderr
    counts = json.loads((files / "runs/or/fetch/manifest.json").read_text("utf-8"))["counts"]
    assert counts["labelled_faults"]["removed"] == {"train": 1}
    assert counts["labelled"]["train"] == {"documents": 3, "classes": {"Sport": 1, "news": 1, "sport": 1}}
    folder = files / "runs/or/fetch/labelled"
    assert "leak" not in (folder / "train.jsonl").read_text("utf-8")
    assert '"Leak&ed"' in (folder / "test.jsonl").read_text("utf-8")
    done = program("fetch", "or", "corpus.dump=or.xml.bz2", *labelled, "labelled.remove_leaked=false")
    assert "leak&ed" in (folder / "train.jsonl").read_text("utf-8")


def test_a_class_whose_only_documents_are_in_test_is_said_to_be_taken_out(files: Path, program: Program) -> None:
    (files / "train.tsv").write_text(TRAIN + "weather\tit rains\n", "utf-8")
    (files / "test.tsv").write_text("category\ttext\nweather\tIt rains.\n", "utf-8")
    code, message = fetch(program, "corpus.dump=or.xml.bz2", "labelled.train=train.tsv", "labelled.test=test.tsv")
    assert (code, message) == (
        2,
        "error: test.tsv has the label `weather`, of which train.tsv has no document but what is also in test, and "
        "taken out: add some to train or correct the label",
    )


def test_a_train_split_that_is_left_with_one_class_says_where_the_others_went(files: Path, program: Program) -> None:
    (files / "test.tsv").write_text("category\ttext\nsport\tz\nnews\tY.\n", "utf-8")
    code, message = fetch(program, "corpus.dump=or.xml.bz2", "labelled.train=train.tsv", "labelled.test=test.tsv")
    assert (code, message) == (
        2,
        "error: train.tsv has one class only, `sport`, once what is also in test is taken out: "
        "a classifier needs at least two",
    )


def test_documents_with_several_labels_are_handed_on_with_a_list_each(files: Path, program: Program) -> None:
    (files / "train.tsv").write_text("category\ttext\na| b\tx\nb\ty\n|\tz\n", "utf-8")
    settings = ["corpus.dump=or.xml.bz2", "labelled.train=train.tsv", "labelled.separator='|'"]
    done = program("fetch", "or", *settings)
    assert done.returncode == 0, done.stderr
    assert "documents without a text or a label are left out: 1 of train" in done.stderr
    rows = [json.loads(line) for line in (files / "runs/or/fetch/labelled/train.jsonl").open(encoding="utf-8")]
    assert [row["label"] for row in rows] == [["a", "b"], ["b"]]
    counts = json.loads((files / "runs/or/fetch/manifest.json").read_text("utf-8"))["counts"]
    assert counts["labelled"]["train"] == {"documents": 2, "classes": {"a": 1, "b": 2}}


def test_classes_with_an_order_are_handed_on_in_it(files: Path, program: Program) -> None:
    (files / "train.tsv").write_text("category\ttext\n1\tx\n5\ty\n3\tz\n", "utf-8")
    settings = ["corpus.dump=or.xml.bz2", "labelled.train=train.tsv"]
    assert "without an order" in program("fetch", "or", *settings).stderr
    done = program("fetch", "or", *settings, "labelled.order=[1, 3, 5]")
    assert done.returncode == 0, done.stderr
    assert "without an order" not in done.stderr
    assert json.loads((files / "runs/or/fetch/labelled/order.json").read_text("utf-8")) == ["1", "3", "5"]


def test_sib200_can_be_named_for_one_split_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def read(name: str, *_: Any) -> list[dict[str, str]]:
        asked.append(name)
        return [{"id": label, "text": label, "label": label} for label in ("sport", "news")]

    monkeypatch.setattr("pipeline.text.labelled.read", read)
    monkeypatch.setattr("pipeline.text.labelled.local_path", lambda _: None)
    given = Labelled(train="train.tsv", test="sib200", remove_leaked=False)
    fetch_stage.labelled_splits(Config(run="or", language="or", labelled=given))
    assert asked == ["train.tsv", "Davlan/sib200@ory_Orya"]


def test_a_language_without_sib200_has_no_labelled_documents(files: Path, program: Program) -> None:
    done = program("fetch", "or", "language=nv", "corpus.dump=or.xml.bz2")
    assert done.returncode == 0
    assert "SIB-200 has no set in `nv`" in done.stderr
    assert not list((files / "runs/or/fetch/labelled").iterdir())


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.xml", b"", "is empty"),
        ("a.xml", b"<!DOCTYPE html><html>", "is not a MediaWiki dump.*begins `<!DOCTYPE html>"),
        ("a.xml.bz2", bz2.compress(b"<html>"), "is not a MediaWiki dump"),
        ("a.xml.bz2", DUMP.encode(), "is not packed as its name says"),
        ("a.xml.gz", DUMP.encode(), "is not packed as its name says"),
        ("a.xml.bz2", b"", "is empty|cut off before its first page"),
        ("a.xml.bz2", bz2.compress(DUMP.encode())[:-20], "cut off before its first page"),
        ("a.txt", "ଗପ".encode("utf-16"), "is not UTF-8"),
        ("a.txt", b"\n\n", "is empty"),
        ("a.jsonl", b'{"body": "x"}\n', "has no `text` in its first line"),
        ("a.jsonl", b"text\n", "is not JSON lines"),
        ("a.jsonl", b"[" * 100_000, "is not JSON lines"),
        ("a.jsonl", b"9" * 5_000, "is not JSON lines"),
        ("a.jsonl", b"\xff", "is not UTF-8"),
        # without a time, which would be in the test's name: the workers that collect it would not agree
        ("a.txt.gz", gzip.compress("ଗପ\n".encode(), mtime=0), "is not a MediaWiki dump.* unpack"),
        ("a.xml", b"<!-- -->" * 40 + b"<html>", "is not a MediaWiki dump"),
    ],
)
def test_a_corpus_that_is_not_what_its_name_says_is_refused(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=message):
        corpora_in(tmp_path / name)


def test_text_beside_a_dataset_is_not_left_out_without_a_word(files: Path) -> None:
    assert corpora_in(files / "saved") == [("dataset", files / "saved")]
    (files / "saved/more.txt").write_text("ଗପ\n", "utf-8")
    with pytest.raises(UsageError, match=r"saved holds a dataset and .*saved/more\.txt, too: give each a folder"):
        corpora_in(files / "saved")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"body": ["a"]}, r"1\.parquet has no column `text`, only body"),
        ({"text": [7]}, r"1\.parquet has a column `text` of type int64"),
    ],
)
def test_a_dataset_without_text_is_refused_before_any_dump_is_extracted(
    tmp_path: Path, columns: dict[str, list[Any]], message: str
) -> None:
    for number, table in enumerate([{"text": ["a"]}, columns]):
        pyarrow.parquet.write_table(pyarrow.table(table), tmp_path / f"{number}.parquet")
    with pytest.raises(UsageError, match=message):
        corpora_in(tmp_path)


def test_names_in_capitals_are_known(tmp_path: Path) -> None:
    (tmp_path / "A.TXT").write_text("ଗପ\n", "utf-8")
    (tmp_path / "B.JSONL").write_text('{"text": "ଗପ"}\n', "utf-8")
    (tmp_path / "C.XML.BZ2").write_bytes(bz2.compress(DUMP.encode()))
    assert [kind for kind, _ in corpora_in(tmp_path)] == ["text", "jsonl", "dump"]
    (tmp_path / "D.JSONL").write_text('{"body": "ଗପ"}\n', "utf-8")
    with pytest.raises(UsageError, match="has no `text` in its first line"):
        corpora_in(tmp_path)
    pyarrow.parquet.write_table(pyarrow.table({"text": ["a"]}), tmp_path / "E.PARQUET")
    with pytest.raises(UsageError, match="holds a dataset and"):
        corpora_in(tmp_path)


def test_dumps_are_known_in_every_packing(tmp_path: Path) -> None:
    text = f'\ufeff<?xml version="1.0"?>\n<!-- made by hand -->\n{DUMP}'.encode()
    for name, content in {"a.xml": text, "a.xml.bz2": bz2.compress(text), "a.xml.gz": gzip.compress(text)}.items():
        (tmp_path / name).write_bytes(content)
        assert corpora_in(tmp_path / name) == [("dump", tmp_path / name)]


def test_real_dumps_are_known(akshara_data: Path) -> None:
    for path in sorted(akshara_data.rglob("*.bz2")):
        assert corpora_in(path) == [("dump", path)]


@pytest.mark.parametrize(
    ("code", "prefix", "sib200"),
    [
        ("or", "orwiki", "ory_Orya"),
        ("ha", "hawiki", "hau_Latn"),
        ("no", "nowiki", "nob_Latn"),
        ("nb", "nowiki", "nob_Latn"),
        ("als", "alswiki", None),  # Alemannic; SIB-200 has Tosk Albanian under this code
        ("sq", "sqwiki", "als_Latn"),
        ("zh", "zhwiki", "zho_Hans"),
        ("sr", "srwiki", "srp_Cyrl"),
        ("ar", "arwiki", "arb_Arab"),
        ("sw", "swwiki", "swh_Latn"),
        ("be-tarask", "be_x_oldwiki", "bel_Cyrl"),
        ("zh-min-nan", "zh_min_nanwiki", None),
        ("simple", "simplewiki", "eng_Latn"),
        ("nv", "nvwiki", None),
    ],
)
def test_wikipedia_codes_lead_to_their_dump_and_their_sib200(code: str, prefix: str, sib200: str | None) -> None:
    wikipedias.require_wikipedia(code)
    wikipedias.require_language(code)
    assert (wikipedias.dump_prefix(code), wikipedias.sib200_name(code)) == (prefix, sib200)


def test_no_wikipedia_has_two_sets_and_none_is_unknown() -> None:
    codes = [code for named in wikipedias._table("sib200.txt").values() for code in named]
    assert len(wikipedias._table("sib200.txt")) == 205
    assert len(codes) == len(set(codes))
    for code in codes:
        wikipedias.require_wikipedia(code)


@pytest.mark.parametrize(
    ("wrong", "right"), [("Odia", "or"), ("ory", "or"), ("gaz", "om"), ("be-tarrask", "be-tarask"), ("hau", "ha")]
)
def test_a_wrong_code_is_answered_with_the_nearest(wrong: str, right: str) -> None:
    with pytest.raises(UsageError, match=f"did you mean `{right}`"):
        wikipedias.require_wikipedia(wrong)
