"""The demo corpus is what its README says."""

import bz2
import importlib.util
import json
import re
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest
from conftest import ROOT, Program
from lxml import etree

from pipeline.text.labelled import read

DEMO = ROOT / "corpora" / "demo"
SPLITS = {"train": 0.60, "dev": 0.15, "test": 0.25}


@pytest.fixture(scope="module")
def build() -> ModuleType:
    spec = importlib.util.spec_from_file_location("demo_build", DEMO / "build.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _sentences(text: str) -> set[str]:
    return {sentence.strip() for sentence in re.split("[।?!\n]", text) if len(sentence.split()) > 3}


def test_the_committed_files_are_what_the_sources_give(build: ModuleType, tmp_path: Path) -> None:
    build.build(tmp_path)
    made = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert len(made) == 7
    assert made == {name: (DEMO / name).read_bytes() for name in made}


def test_the_dump_holds_what_real_dumps_hold() -> None:
    xml = bz2.decompress((DEMO / "orwiki-demo-pages-articles.xml.bz2").read_bytes())
    space = "{http://www.mediawiki.org/xml/export-0.11/}"
    root = etree.fromstring(xml)
    assert root.get("version") == "0.11"
    pages = root.findall(f"{space}page")
    assert {p.findtext(f"{space}ns") for p in pages} >= {"0", "1", "4", "6", "10", "14", "828"}
    assert sum(p.find(f"{space}redirect") is not None for p in pages) == 6
    text = "\n".join(p.findtext(f"{space}revision/{space}text") or "" for p in pages)
    for what in ("{|", "<ref", "[[ଫାଇଲ:", "<gallery", "[[en:", "[[ଶ୍ରେଣୀ:", "<!--", "<math>", "<nowiki>", "&nbsp;"):
        assert what in text, what
    assert re.search(r"\{\{[^{}]*\{\{[^{}]*\{\{[^{}]*\}\}[^{}]*\}\}[^{}]*\}\}", text), "templates nested three deep"


def test_articles_have_60_to_150_words_and_labelled_documents_15_to_40(program: Program, tmp_path: Path) -> None:
    config = {"run": "demo", "language": "or", "corpus": {"dump": str(DEMO / "orwiki-demo-pages-articles.xml.bz2")}}
    (tmp_path / "demo.yaml").write_text(json.dumps({**config, "labelled": None}), "utf-8")
    done = program("pipeline", "extract", "demo.yaml")
    assert done.returncode == 0, done.stderr
    lines = (tmp_path / "runs/demo/extract").glob("*.jsonl")
    documents = [json.loads(line) for path in lines for line in path.read_text("utf-8").splitlines()]
    words = [len(document["text"].split()) for document in documents]
    assert sum(60 <= n <= 150 for n in words) >= 90
    assert max(words) <= 150
    in_dump = set().union(*(_sentences(document["text"]) for document in documents))
    for split in SPLITS:
        for row in read(str(DEMO / f"{split}.tsv"), split, "text", "category"):
            assert 15 <= len(row["text"].split()) <= 40
            assert not _sentences(row["text"]) & in_dump


def test_splits_are_60_15_25_of_every_class_and_both_formats_say_the_same() -> None:
    counts: dict[str, Counter[str]] = {}
    texts: list[str] = []
    for split in SPLITS:
        rows = read(str(DEMO / f"{split}.tsv"), split, "text", "category")
        assert rows == read(str(DEMO / f"{split}.jsonl"), split, "text", "category")
        counts[split] = Counter(row["label"] for row in rows)
        texts += [row["text"] for row in rows]
    total = sum(counts.values(), Counter())
    assert len(total) == 6
    assert total.total() >= 180
    assert {split: {n / total[label] for label, n in c.items()} for split, c in counts.items()} == {
        split: {share} for split, share in SPLITS.items()
    }
    assert len(set(texts)) == len(texts)
