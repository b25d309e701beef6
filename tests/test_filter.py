"""The filter stage as its users run it, and the judges that it is made of."""

import json
import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
from articles import articles

from pipeline import config
from pipeline.artifacts import Run
from pipeline.errors import UsageError
from pipeline.filter import work
from pipeline.text import contamination, duplicates, language, mix, script, sieve, stubs
from pipeline.text.documents import Document, read_jsonl, write_jsonl

SYLLABLES = [
    "ka",
    "ri",
    "mo",
    "tu",
    "sen",
    "la",
    "po",
    "ni",
    "da",
    "gu",
    "ve",
    "ro",
    "shi",
    "ma",
    "be",
    "lo",
    "zu",
    "fa",
    "ti",
    "ko",
]
OTHER_SYLLABLES = ["the", "str", "ough", "ing", "wh", "ell", "cht", "ick", "spr", "ump", "ead", "thr"]


def lexicon(syllables: Sequence[str], seed: int, size: int = 300) -> list[str]:
    pick = random.Random(seed)
    return ["".join(pick.choices(syllables, k=pick.randint(1, 3))) for _ in range(size)]


def prose(rng: random.Random, vocabulary: list[str], words: int) -> str:
    """Words of a made-up language; a few of them are frequent, as in every language."""
    weights = [1 / (rank + 1) for rank in range(len(vocabulary))]
    return " ".join(rng.choices(vocabulary, weights, k=words)) + "."


HOME, FOREIGN = lexicon(SYLLABLES, 1), lexicon(OTHER_SYLLABLES, 2)


@pytest.fixture
def filtered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[dict[str, Any], Path]]:
    """``filtered({"wiki": [texts or rows]}, "filter.x=1")`` runs the stage and returns its counts and its folder."""
    monkeypatch.chdir(tmp_path)

    def run_stage(
        corpora: dict[str, Iterable[str | Document]],
        *overrides: str,
        weights: dict[str, float] | None = None,
        test: Iterable[str] = (),
    ) -> tuple[dict[str, Any], Path]:
        Path("run.yaml").write_text("run: x\nlanguage: ha\n", "utf-8")
        run = Run(config.load("run.yaml", overrides), "run.yaml")
        for folder in ("extract", "fetch/labelled", "filter.part"):
            (run.folder / folder).mkdir(parents=True, exist_ok=True)
        for old in run.folder.glob("extract/*"):
            old.unlink()
        for name, texts in corpora.items():
            rows = [t if isinstance(t, dict) else {"id": str(i), "title": "", "text": t} for i, t in enumerate(texts)]
            lines = [json.dumps({**row, "source": name}) for row in rows]
            (run.folder / "extract" / f"{name}.jsonl").write_text("\n".join(lines), "utf-8")
        (run.folder / "fetch/weights.json").write_text(json.dumps(weights or {}), "utf-8")
        write_jsonl(run.folder / "fetch/labelled/test.jsonl", [{"id": "t", "text": t, "label": "a"} for t in test])
        return work(run, run.folder / "filter.part"), run.folder / "filter.part"

    return run_stage


def documents(number: int, seed: int = 0, words: int = 40) -> list[str]:
    rng = random.Random(seed)
    return [prose(rng, HOME, words) for _ in range(number)]


def ids(folder: Path, name: str) -> set[str]:
    return {f"{row['source']} {row['id']}" for row in read_jsonl(folder / f"{name}.jsonl")}


# -- the stage


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


# -- the judges


@pytest.mark.parametrize(
    ("code", "scripts"),
    [
        ("or", {"Orya"}),
        ("sr", {"Cyrl", "Latn"}),
        ("ja", {"Hani", "Hira", "Kana"}),
        ("zh", {"Hani", "Bopo"}),
        ("ko", {"Hang", "Hani"}),
        ("sat", {"Olck"}),
        ("nqo", {"Nkoo"}),
        ("mni", {"Beng", "Mtei"}),
    ],
)
def test_expected_scripts_come_from_cldr(code: str, scripts: set[str]) -> None:
    assert scripts <= set(script.expected_scripts(code))


def test_words_keep_their_marks() -> None:
    assert script.words("ଓଡ଼ିଶାର କଟକ, ୧୯୩୬!") == ["ଓଡ଼ିଶାର", "କଟକ", "୧୯୩୬"]
    assert script.words("ภาษาไทย")[0] == "ภ"
    assert script.count_words("ภาษาไทยง่าย") == 4


def test_another_language_in_the_same_script_is_found_without_a_model() -> None:
    rng = random.Random(4)
    own = [prose(rng, HOME, rng.randint(12, 60)) for _ in range(800)]
    other = [prose(rng, FOREIGN, rng.randint(12, 60)) for _ in range(120)]
    mixed = own + other
    rng.shuffle(mixed)
    judge = language.learn_foreign(mixed)
    assert sum(judge(own)) <= 2
    assert sum(judge(other)) >= 117


def test_another_subject_is_no_other_language() -> None:
    """Two corpora that share their frequent words and spelling, but not their subjects' words."""
    rng = random.Random(4)
    subjects = [HOME[:40] + lexicon(SYLLABLES, seed, 200) for seed in (5, 6)]
    texts = [prose(rng, vocabulary, 40) for vocabulary in subjects for _ in range(800)]
    assert sum(language.learn_foreign(texts)(texts)) <= 6


def test_somali_among_hausa_sentences_is_found(akshara_data: Path) -> None:
    def sentences(code: str) -> list[str]:
        files = sorted((akshara_data / "classification/sib200" / code).glob("*.tsv"))
        return [line.split("\t")[2] for f in files for line in f.read_text("utf-8").splitlines()[1:]]

    hausa, somali = sentences("hau_Latn"), sentences("som_Latn")[:170]
    judge = language.learn_foreign([*hausa, *somali])
    found, mistaken = sum(judge(somali)), sum(judge(hausa))
    assert found > 0.9 * sum(len(text.split()) >= language.MIN_WORDS for text in somali)
    assert mistaken < 0.01 * len(hausa)
    assert sum(language.learn_foreign(hausa)(hausa)) < 0.01 * len(hausa)


@pytest.fixture(scope="module")
def language_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fastText model of two made-up languages, labelled as GlotLID labels them."""
    pytest.importorskip("fasttext")
    folder, rng = tmp_path_factory.mktemp("fasttext"), random.Random(6)
    lines = [
        f"__label__hau_Latn {prose(rng, HOME, 20)}\n__label__eng_Latn {prose(rng, FOREIGN, 20)}\n" for _ in "ab" * 99
    ]
    (folder / "labelled.txt").write_text("".join(lines), "utf-8")
    settings = "minn=2, maxn=4, dim=8, bucket=100_000, epoch=20, thread=1, verbose=0"
    train = f"import fasttext; fasttext.train_supervised('labelled.txt', {settings}).save_model('model.bin')"
    # fastText trains from memory that it did not clear, and may say NaN: glibc hands it zeros (the complement of 255)
    subprocess.run([sys.executable, "-c", train], cwd=folder, check=True, env={**os.environ, "MALLOC_PERTURB_": "255"})
    return folder / "model.bin"


def test_a_fasttext_model_judges_the_language(
    filtered: Any, language_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(7)
    own, other = documents(60, seed=11), [prose(rng, FOREIGN, 30) for _ in range(20)]
    judge = language.fasttext_judge(str(language_model), "ha")
    assert judge([*own, *other]) == [False] * 60 + [True] * 20
    assert judge([" ".join(other[0].split()[:7])]) == [False], "too short to say"
    assert language.fasttext_judge(str(language_model), "en")([own[0], other[0]]) == [True, False]
    monkeypatch.setattr("pipeline.filter.WORTH_SPREADING", 0)
    for workers in (1, 2):
        setting = f"filter.workers={workers}"
        counts, _ = filtered({"wiki": [*own, *other]}, f"filter.language_model={language_model}", setting)
        assert counts["dropped"]["documents"] == {"language": 20}


def test_a_file_that_is_no_fasttext_model_is_refused(filtered: Any, language_model: Path) -> None:
    for path, message in ((language_model.with_name("no.bin"), "is no file"), (language_model.parent, "is no file")):
        with pytest.raises(UsageError, match=message):
            filtered({"wiki": documents(20)}, f"filter.language_model={path}")
    with pytest.raises(UsageError, match="no fastText model"):
        filtered({"wiki": documents(20)}, f"filter.language_model={language_model.with_name('labelled.txt')}")


def test_near_duplicates_differ_in_a_word_or_two() -> None:
    judge = duplicates.near_duplicates()
    first, *others = documents(200, words=60)
    words = first.split()
    altered = " ".join([*words[:30], "nouveau", *words[31:]])
    assert judge([first, altered, *others]) == [False, True, *[False] * len(others)]


def test_duplicates_ignore_spacing_and_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    judge = duplicates.exact_duplicates()
    assert judge(["a b", "a  b", "a c"]) == [False, True, False]
    monkeypatch.setattr(duplicates, "REMEMBERED", 10)
    memory = duplicates.exact_duplicates()
    assert not any(memory([str(i) for i in range(100)]))
    assert memory(["99", "0"]) == [True, False]  # the oldest are forgotten


def test_articles_of_one_pattern_are_capped_and_prose_is_not() -> None:
    judge = stubs.stub_judge(10)
    names = lexicon(SYLLABLES, 8, 400)
    pattern = [
        f"{name}\n{name} kauye ne a karamar hukumar {names[-i]} da ke kasar Nijeriya a {i}"
        for i, name in enumerate(names)
    ]
    verdicts = judge(pattern)
    assert 10 <= verdicts.count(False) <= 40
    assert not any(verdicts[:10])
    assert sum(judge([f"{name}\n{text}" for name, text in zip(names, documents(300, seed=77), strict=False)])) == 0


def test_a_pattern_is_found_whatever_the_length_of_its_titles() -> None:
    judge = stubs.stub_judge(10)
    names = [" ".join(lexicon(SYLLABLES, seed, seed % 6 + 1)) for seed in range(200)]
    assert sum(judge([f"{name}\n{name} dan wasa ne." for name in names])) >= 140


def test_text_that_repeats_inside_articles_makes_no_stub_of_them(filtered: Any) -> None:
    """A navigation list below prose, a refrain of a book, a formula that lines of a plain corpus share."""
    links = "\n".join(lexicon(SYLLABLES, 5, 150))
    listed = [
        {"id": str(i), "title": f"t{i}", "text": f"{text}\n{links}"} for i, text in enumerate(documents(40, words=60))
    ]
    refrain = "Domin jinkansa har abada ne kuma gaskiyarsa."
    rng = random.Random(8)
    verses = [prose(rng, lexicon(SYLLABLES, seed, 2000), 40) for seed in range(40)]
    psalms = [f"{text[:90]}\n{refrain}\n{text[90:]}\n{refrain}" for text in verses]
    lines = [f"{word} {refrain}" for word in lexicon(SYLLABLES, 6, 60)]
    counts, _ = filtered({"wiki": listed, "bible": psalms, "plain": lines}, "filter.language_check=false")
    assert "stub" not in counts["dropped"].get("documents", {})
    assert "stub" not in counts["dropped"].get("paragraphs", {})


def test_articles_of_one_pattern_leave_the_corpus_and_are_counted(filtered: Any) -> None:
    stubbed = [
        {"id": str(i), "title": name, "text": f"{name} kauye ne a karamar hukumar Kano da ke kasar Nijeriya."}
        for i, name in enumerate(lexicon(SYLLABLES, 8, 200))
    ]
    corpora: dict[str, Any] = {"wiki": [*documents(60), *stubbed]}
    dropped = filtered(corpora)[0]["dropped"]["documents"]["stub"]
    assert 120 <= dropped <= 190
    assert dropped - filtered(corpora, "filter.stub_cap=30")[0]["dropped"]["documents"]["stub"] == 20
    assert "stub" not in filtered(corpora, "filter.stub_cap=null")[0]["dropped"]["documents"]


STUBS = {
    "hawiki": r"sigar \S+ kwallon kafa player|a kasar a \w+\.$|lamba tsakanin|Letter daga cikin Rasha",
    "igwiki": r"bu ubochi nke \d|bu (otu )?state no n.ime ala|onu agugu|bu onye Amerikạ bu ọmẹka|bu otu obodo no na"
    r"|^\d+ bu afo gara-aga.$|ama ukwu no na Afrịka|village no na South|akpali agụụ mmekọahụ",
    "orwiki": r"ଗ୍ରେଗୋର[ିୀ] ପାଞ୍ଜି ଅନୁସାରେ",
}


@pytest.mark.parametrize(("wiki", "recall"), [("hawiki", 0.96), ("igwiki", 0.77), ("orwiki", 0.94)])
def test_real_bot_stubs_are_found_and_nothing_else(akshara_data: Path, wiki: str, recall: float) -> None:
    """What the patterns' first ten take is missing from recall; patterns of people write dates in many ways."""
    if wiki == "orwiki":
        rows = [(row["title"], row["text"]) for row in read_jsonl(akshara_data / "corpora/or_wikipedia_partial.jsonl")]
    else:
        dump_file = akshara_data / f"dumps/{wiki}-latest-pages-articles.xml.bz2"
        rows = [(page.title, found.text) for page, found, _ in articles(dump_file, wiki.removesuffix("wiki"))]
    rows = [(title, text) for title, text in rows if len(text.split()) >= 5]
    verdicts = stubs.stub_judge(10)([f"{title}\n{text}" for title, text in rows])
    known = [bool(re.search(STUBS[wiki], text)) and len(text.split()) < 80 for _, text in rows]
    found = sum(stub and out for stub, out in zip(known, verdicts, strict=True))
    assert sum(known) > 350
    assert found >= recall * sum(known)
    assert sum(verdicts) == found


def test_no_chapter_of_the_odia_bible_is_a_stub(akshara_data: Path) -> None:
    rows = list(read_jsonl(akshara_data / "corpora/or_bible_irv.jsonl"))
    assert not any(stubs.stub_judge(10)([f"{row['id']}\n{row['text']}" for row in rows]))


@pytest.mark.parametrize("join", [" ", "", "\u0f0b"], ids=["spaces", "Thai", "Tibetan"])
def test_corpus_text_that_is_also_in_the_test_set_is_found(join: str) -> None:
    rng = random.Random(3)
    letters = {" ": None, "": "กขคงจฉชซฌญฎฏฐฑฒณดตถทธนบปผฝพฟภมยรลวศษสหฬอฮ", "\u0f0b": "ཀཁགངཅཆཇཉཏཐདནཔཕབམ"}[join]
    vocabulary = HOME if letters is None else ["".join(rng.choices(letters, k=2)) for _ in range(300)]

    def text(words: int) -> list[str]:
        return rng.choices(vocabulary, k=words)

    secret = text(20)
    judge = contamination.learn_contamination([join.join(secret)])
    quoting = join.join([*text(30), *secret[3:18], *text(30)])
    assert judge([quoting, join.join(text(80)), join.join(secret[:3] + text(60))]) == [True, False, False]


def test_case_punctuation_and_the_count_of_contaminated_paragraphs(filtered: Any) -> None:
    texts = documents(80)
    leaked = texts[7].upper().replace(" ", ", ")
    counts, out = filtered({"wiki": texts}, test=[leaked])
    assert counts["dropped"]["documents"] == {"contamination": 1}
    assert "wiki 7" not in ids(out, "train") | ids(out, "valid")


def test_a_real_test_sentence_hidden_in_an_article_is_found(akshara_data: Path) -> None:
    lines = (akshara_data / "classification/sib200/ory_Orya/test.tsv").read_text("utf-8").splitlines()[1:]
    sentences = [line.split("\t")[2] for line in lines]
    judge = contamination.learn_contamination(sentences)
    article = next(iter(read_jsonl(akshara_data / "corpora/or_wikipedia_partial.jsonl")))["text"]
    assert judge([article]) == [False]
    found = judge([f"{article} {sentence} {article}" for sentence in sentences])
    assert sum(found) >= len(sentences) - 3
