"""The filter stage as its users run it."""

import json
import random
import time
from typing import Any

import pytest
from made_up import FOREIGN, HOME, documents, ids, prose

from pipeline.errors import UsageError
from pipeline.text import language, mix, sieve
from pipeline.text.documents import read_jsonl


def test_the_script_of_most_of_the_corpus_is_that_of_all_of_it(filtered: Any) -> None:
    chat = [
        " ".join(random.Random(i).choices(["привет", "мир", "дом", "кот", "лес", "сад"], k=8)) for i in range(2_100)
    ]
    counts, _ = filtered({"chat": chat, "wiki": documents(2_200, words=12)}, "filter.language_check=false")
    assert counts["dropped"]["documents"]["script"] > 1_000
    assert counts["read"]["by_source"]["wiki"]["documents"] == 2_200
    assert counts["kept"]["train"]["by_source"].keys() == {"wiki"}


def test_a_script_that_does_not_exist_is_named(filtered: Any) -> None:
    with pytest.raises(UsageError, match="no script is called `Odia`"):
        filtered({"wiki": documents(10)}, "filter.scripts=[Latn,Odia]")
    counts, _ = filtered({"wiki": documents(100)}, "filter.scripts=[Jpan,Latn]")
    assert counts["kept"]["train"]["documents"] > 80


@pytest.mark.parametrize(
    ("setting", "message"),
    [("scripts=[Latn,Odia]", "no script is called `Odia`"), ("language_model=no.bin", r"no\.bin is no file")],
)
def test_what_a_setting_names_is_looked_for_before_the_corpus_is_read(
    filtered: Any, monkeypatch: pytest.MonkeyPatch, setting: str, message: str
) -> None:
    monkeypatch.setattr("pipeline.filter.opened", lambda *_: pytest.fail("the corpus was read"))
    with pytest.raises(UsageError, match=message):
        filtered({"wiki": documents(10)}, f"filter.{setting}")


def test_every_document_is_kept_or_has_a_reason_that_can_be_read(filtered: Any) -> None:
    texts = documents(100)
    texts += [texts[0], "too short", "Привет, мир! Это совсем другой алфавит, не так ли?", "ab" * 5_000]
    counts, out = filtered({"wiki": texts})
    kept = counts["kept"]["train"]["documents"] + counts["kept"]["valid"]["documents"]
    assert counts["read"]["documents"] == len(texts) == kept + sum(counts["dropped"]["documents"].values())
    assert counts["dropped"]["documents"] == {"duplicate": 1, "short": 1, "script": 1, "repetitive": 1}
    rows = [row for row in read_jsonl(out / "dropped.jsonl") if row["unit"] == "document"]
    assert {row["reason"] for row in rows} == {"duplicate", "short", "script", "repetitive"}
    assert all(row["text"] for row in rows)
    assert sorted(path.name for path in out.iterdir()) == ["dropped.jsonl", "train.jsonl", "valid.jsonl"]


def test_the_same_input_gives_the_same_bytes(filtered: Any) -> None:
    corpora = {"wiki": documents(60), "bible": documents(60, seed=5)}
    first = {path.name: path.read_bytes() for path in filtered(corpora)[1].iterdir()}
    assert first == {path.name: path.read_bytes() for path in filtered(corpora)[1].iterdir()}


def test_the_same_bytes_and_counts_for_any_number_of_processes(filtered: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With paragraphs, headings and documents that every kind of step takes, over several batches."""
    monkeypatch.setattr(sieve, "BATCH_CHARACTERS", 5_000)
    monkeypatch.setattr("pipeline.filter.WORTH_SPREADING", 0)
    monkeypatch.setattr(language, "LEAST_SAMPLE", 10_000)
    own, copies = documents(300), documents(300, seed=4, words=20)
    rng = random.Random(2)
    foreign = [prose(rng, FOREIGN, 40) for _ in range(50)]
    rows: list[Any] = [
        {"id": str(i), "title": f"t{i}", "text": f"Tarihi\n{a}\n{b}\nПривет мир это", "headings": ["Tarihi"]}
        for i, (a, b) in enumerate(zip(own, [*copies[:150], *copies[:150]], strict=True))
    ]
    rows += [{"id": f"s{i}", "title": w, "text": f"{w} kauye ne a jihar Kano."} for i, w in enumerate(HOME)]
    corpora = {"wiki": [*rows, own[3], own[4].replace("a", "e", 1), *foreign, "short"]}

    def result(workers: int) -> tuple[dict[str, Any], dict[str, bytes]]:
        counts, out = filtered(corpora, f"filter.workers={workers}", test=[own[7]])
        return counts, {path.name: path.read_bytes() for path in out.iterdir()}

    alone = result(1)
    assert {"stub", "short"} <= alone[0]["dropped"]["documents"].keys()
    reasons = {"script", "duplicate", "language", "near_duplicate", "contamination"}
    assert reasons <= alone[0]["dropped"]["paragraphs"].keys()
    assert result(3) == alone


def test_adding_a_corpus_moves_no_document_between_train_and_valid(filtered: Any) -> None:
    wiki = documents(300)
    _, out = filtered({"wiki": wiki})
    train, valid = ids(out, "train"), ids(out, "valid")
    _, out = filtered({"abc": documents(200, seed=9), "wiki": wiki}, "filter.min_words=6")
    assert {i for i in ids(out, "train") if i.startswith("wiki")} == train
    assert {i for i in ids(out, "valid") if i.startswith("wiki")} == valid
    assert 5 <= len(valid) <= 30


def test_what_two_corpora_hold_stays_with_the_first_of_them(filtered: Any) -> None:
    wiki = documents(300)
    counts, _ = filtered({"wiki": wiki, "abc": wiki[:200]}, weights={"abc": 0.5})
    assert counts["dropped"]["documents"] == {"duplicate": 200}
    assert sum(kept["documents"] for kept in counts["kept"].values()) == 300


def test_a_weight_thins_or_repeats_a_corpus_and_validation_repeats_nothing(filtered: Any) -> None:
    corpora = {"wiki": documents(400), "bible": documents(400, seed=3)}
    _, out = filtered(corpora)
    plain = ids(out, "train")
    counts, out = filtered(corpora, weights={"bible": 0.25, "wiki": 2.5})
    by_source = counts["kept"]["train"]["by_source"]
    assert 60 <= by_source["bible"]["documents"] <= 130
    once = sum(i.startswith("wiki") for i in plain)
    assert 2.4 * once < by_source["wiki"]["documents"] < 2.6 * once
    assert {i for i in ids(out, "train") if "#" not in i} <= plain
    valid = [row["text"] for row in read_jsonl(out / "valid.jsonl")]
    assert len(valid) == len(set(valid))


def test_temperature_repeats_the_smaller_corpus() -> None:
    from collections import Counter

    words = Counter(big=10_000, small=100)
    assert mix.copies_by_source(words, {}, 1.0) == {"big": 1.0, "small": 1.0}
    assert mix.copies_by_source(words, {}, 2.0) == {"big": 1.0, "small": pytest.approx(10.0)}


def test_headings_stay_over_text_and_go_when_it_goes(filtered: Any) -> None:
    body = documents(60)
    rows = [
        {"id": str(i), "title": "t", "text": f"{text}\nTarihi\nПривет мир это другой алфавит", "headings": ["Tarihi"]}
        for i, text in enumerate(body[:30])
    ]
    rows += [
        {"id": f"b{i}", "title": "t", "text": f"Tarihi\n{text}", "headings": ["Tarihi"]}
        for i, text in enumerate(body[30:])
    ]
    _, out = filtered({"wiki": rows})
    kept = {row["id"]: row for row in read_jsonl(out / "train.jsonl")}
    assert len(kept) > 50
    for identifier, row in kept.items():
        assert ("Tarihi" in row["text"]) == identifier.startswith("b") == ("headings" in row)


def test_nothing_left_is_a_clear_error(filtered: Any) -> None:
    with pytest.raises(UsageError, match=r"of 20 documents 0 are left .*most dropped as: script"):
        filtered(
            {"wiki": ["Привет, мир! Это совсем другой алфавит номер " + "я" * i for i in range(20)]},
            "filter.scripts=[Latn]",
        )


def test_lone_surrogates_reach_no_output(filtered: Any) -> None:
    _, out = filtered({"wiki": [json.loads('"\\ud800"') + text for text in documents(60)]})
    assert all("\ud800" not in row["text"] for row in read_jsonl(out / "train.jsonl"))


def test_a_line_of_fifty_megabytes_ends_in_bounded_time(filtered: Any) -> None:
    counts, _ = filtered({"wiki": [*documents(60), "a" * 50_000_000]})
    assert counts["dropped"]["documents"]["repetitive"] == 1
    assert counts["repaired"]["long_lines"] == 9_999


def test_a_page_of_ten_thousand_headings_ends_in_bounded_time(filtered: Any) -> None:
    headings = [f"Tarihi {number}" for number in range(10_000)]
    lines = [line for pair in zip(headings, documents(10_000, words=6), strict=True) for line in pair]
    page = {"id": "page", "title": "t", "text": "\n".join([*lines, "Привет мир"]), "headings": headings}
    began = time.monotonic()
    counts, _ = filtered({"wiki": [*documents(60, seed=5), page]})
    assert counts["dropped"]["paragraphs"]["script"] == 1
    assert time.monotonic() - began < 10


def test_long_lines_are_cut_at_sentences_and_lose_nothing() -> None:
    line = " ".join(documents(400))
    paragraphs, repaired = sieve.split_paragraphs(line)
    assert " ".join(paragraphs) == line
    assert repaired["long_lines"] == len(paragraphs) - 1 > 5
    assert all(len(p) <= sieve.LONGEST_LINE and p.endswith(".") for p in paragraphs)
