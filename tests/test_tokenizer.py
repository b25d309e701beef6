"""Tokenizers: lossless in every script, cut where readers see boundaries, the same when loaded as when learned."""

import json
import math
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import regex
from conftest import ROOT
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from pipeline import config
from pipeline.artifacts import Run, external_files
from pipeline.errors import UsageError
from pipeline.recipe import LINE
from pipeline.text import tokenization
from pipeline.text.documents import write_jsonl
from pipeline.text.tokenization import BYTES, SPECIAL, Algorithm, automatic_size, count_words, save, skeleton, train
from pipeline.text.tokenizer_measures import measure
from pipeline.tokenizer import work

ALGORITHMS: tuple[Algorithm, ...] = ("bpe", "unigram", "wordpiece", "sentencepiece-bpe", "sentencepiece-unigram")

SCRIPTS = {
    "Odia": "ଗାଁର ସ୍କୁଲରେ ପିଲାମାନେ ସକାଳେ ପ୍ରାର୍ଥନା କରନ୍ତି। ୨୦୧୦ ମସିହାରେ ଏହା ଗଢ଼ା ହୋଇଥିଲା।",
    "Bengali": "নদীর ধারে ছোট গ্রামটি বর্ষাকালে সবুজ হয়ে ওঠে। ক্ষেতে ধান পাকে।",
    "Devanagari": "किसान सुबह खेत में काम करता है और शाम को घर लौटता है। क्षमा, ज्ञान।",
    "Tamil": "மழை பெய்தால் குளம் நிரம்பும், பறவைகள் வரும்.",
    "Ol Chiki": "ᱥᱟᱱᱛᱟᱲᱤ ᱯᱟᱹᱨᱥᱤ ᱚᱞ ᱪᱤᱠᱤ ᱛᱮ ᱚᱞᱚᱜ ᱠᱟᱱᱟ᱾",
    "Arabic": "يَكتُبُ الطالبُ الدرسَ في الدفتر، ثم می‌خواند؟",
    "Hebrew": "הַיֶּלֶד קוֹרֵא סֵפֶר בַּגִּנָּה, צה״ל.",
    "Ethiopic": "ልጆች በጠዋት ወደ ትምህርት ቤት ይሄዳሉ። ሰላም፡ነው።",
    "Thai": "เด็กๆ ไปโรงเรียนแต่เช้า น้ำใสไหลเย็น",
    "Khmer": "ក្មេងៗ ទៅសាលារៀនពីព្រលឹម។ ស្រុកខ្មែរ",
    "Tibetan": "སློབ་ཕྲུག་ཚོས་དཔེ་ཆ་ལྟ་གི་འདུག །",
    "N'Ko": "ߒߞߏ ߞߊ߲ ߦߋ߫ ߛߓߍ߫ ߟߊ߫߸ ߊ߬ ߢߌ߲߬߸",
    "Latin": "Ọmọ náà ń kà ìwé; ẹ̀kọ́ dára. Trẻ em đọc sách. Go'aan wanaagsan.",
    "Cyrillic": "Діти читають книжки, п'ять сторінок щодня. Учитель рад.",
    "Han": "孩子们早上去学校读书。天气很好！",
    "Emoji": "👩🏽‍🌾 🇮🇳 1️⃣ ❤️ 👨‍👩‍👧‍👦 ok",
}
TEXTS = [f"{text} {text}\n{text}" for text in SCRIPTS.values()]
ODIA = [path.read_text("utf-8") for path in sorted((ROOT / "corpora/demo/source").glob("*.txt"))]  # 5,000 words

# letters of all these scripts in any order, code points of any kind, and the spaces that tokenizers tend to lose
anything = st.one_of(
    st.text(st.sampled_from([*sorted(set("".join(SCRIPTS.values()))), " ", "\n", "\t", "\u00a0", "▁", "\u0300"])),
    st.text(st.characters(exclude_categories=["Cs"])),
    st.text(" \na।", max_size=12),
    st.sampled_from(
        ["[SEP] [MASK]", "<0x41>", "  ", " \n", "\n\n a", "##a ## #", "Ġ Ċ", "ক\u09cd\u200dষ", "\x00", "\u2585"]
    ),
)


@cache
def trained(algorithm: Algorithm) -> Tokenizer:
    words, _ = count_words(TEXTS)
    tokenizer = train(words, algorithm, 1200)
    tokenizer.encode_special_tokens = True  # what looks like a special token in a text is text
    return tokenizer


def pieces(tokenizer: Tokenizer, text: str) -> list[str]:
    return [piece for piece, _ in tokenizer.pre_tokenizer.pre_tokenize_str(text)]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@given(text=anything)
@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
def test_decoding_gives_back_any_text_and_nothing_is_unknown(algorithm: Algorithm, text: str) -> None:
    tokenizer = trained(algorithm)
    encoding = tokenizer.encode(text, add_special_tokens=False)
    assert tokenizer.decode(encoding.ids, skip_special_tokens=False) == tokenizer.normalizer.normalize_str(text)
    assert tokenizer.token_to_id("[UNK]") not in encoding.ids


@given(text=anything)
def test_cuts_between_words_never_part_a_base_from_its_marks(text: str) -> None:
    normal = trained("bpe").normalizer.normalize_str(text)
    for _, (start, end) in trained("bpe").pre_tokenizer.pre_tokenize_str(normal):
        if 0 < start < end and not normal[start - 1].isspace():
            assert not regex.match(r"[\p{M}\u200c\u200d]", normal[start:])


def test_words_keep_their_space_and_numbers_and_punctuation_stand_apart() -> None:
    text = 'ଓଡ଼ିଶାରେ ୨୦୧୦ମସିହା ଥିଲା।\n"ଭଲ" go\'aan 123456 …!'
    assert pieces(trained("bpe"), text) == [
        *(" ଓଡ଼ିଶାରେ", " ୨୦୧୦", "ମସିହା", " ଥିଲା", "।", " \n", ' "', "ଭଲ", '"', " go'aan", " 1234", "56", " …!")
    ]


def test_a_word_has_one_form_at_the_start_of_a_line_and_inside_it() -> None:
    tokenizer = trained("bpe")
    ids = tokenizer.encode("ଗାଁର ଗାଁର\nଗାଁର", add_special_tokens=False).ids
    newline = tokenizer.token_to_id(" \n")
    first = ids[: len(ids) // 3]
    assert ids == [*first, *first, newline, *first]
    assert (tokenizer.id_to_token(first[0]) or "").startswith(" ")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_saved_tokenizer_is_an_ordinary_one_and_gives_the_ids_it_had(algorithm: Algorithm, tmp_path: Path) -> None:
    save(trained(algorithm), tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    for text in SCRIPTS.values():
        ids = loaded(text)["input_ids"]
        assert ids == [
            loaded.cls_token_id,
            *trained(algorithm).encode(text, add_special_tokens=False).ids,
            loaded.sep_token_id,
        ]
        assert loaded.decode(ids, skip_special_tokens=True) == trained(algorithm).normalizer.normalize_str(text)
    assert loaded.is_fast
    assert loaded.unk_token == "[UNK]"
    assert set(loaded("a", "b")) == {"input_ids", "attention_mask"}


def test_a_mask_takes_the_place_of_a_word_with_its_space(tmp_path: Path) -> None:
    save(trained("bpe"), tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    left, right = (loaded(text, add_special_tokens=False)["input_ids"] for text in ("ଗାଁର", "ସକାଳେ ପିଲା"))
    masked = loaded("ଗାଁର [MASK] ସକାଳେ ପିଲା", add_special_tokens=False)["input_ids"]
    assert masked == [*left, loaded.mask_token_id, *right]


@pytest.mark.parametrize("algorithm", [a for a in ALGORITHMS if a != "unigram"])
def test_the_same_words_give_the_same_tokenizer_in_any_order(algorithm: Algorithm) -> None:
    words, _ = count_words(TEXTS[::-1])
    assert (
        json.loads(train(words, algorithm, 1200).to_str())["model"] == json.loads(trained(algorithm).to_str())["model"]
    )


@pytest.mark.parametrize("algorithm", ["bpe", "unigram", "sentencepiece-bpe", "sentencepiece-unigram"])
def test_pieces_of_frequent_text_are_whole_grapheme_clusters(algorithm: Algorithm) -> None:
    assert measure(train(count_words(TEXTS)[0], algorithm, 4000), TEXTS)["cut_clusters"] == 0


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_vocabulary_has_the_size_asked_for_where_the_text_supports_it(algorithm: Algorithm) -> None:
    words, _ = count_words(ODIA)
    assert train(words, algorithm, 500).get_vocab_size() == 500
    assert train(words, algorithm, 1500).get_vocab_size() == 1500
    assert train(words, algorithm, 50_000).get_vocab_size() < 10_000


def test_hostile_texts_take_little_time_and_come_back() -> None:
    for algorithm in ALGORITHMS:
        tokenizer = trained(algorithm)
        for text in ("a" * 50_000, "ା" * 50_000, " " * 50_000, "a'" * 50_000, "\n" * 50_000, "କ୍" * 25_000):
            ids = tokenizer.encode(text, add_special_tokens=False).ids
            assert tokenizer.decode(ids) == text
            assert tokenizer.token_to_id("[UNK]") not in ids


def test_odia_of_other_documents_is_cut_rarely_and_comes_back_whole(akshara_data: Path) -> None:
    training: list[str] = []
    held_out: list[str] = []
    for path in sorted((akshara_data / "corpora").glob("or_*")):
        for number, line in enumerate(path.read_text("utf-8").splitlines()):
            text = json.loads(line)["text"] if path.suffix == ".jsonl" else line
            chosen = path.stem in ("or_wikipedia_partial", "or_common_voice") and number % 10 == 0
            (held_out if chosen else training).append(text)
    tokenizer = train(count_words(training)[0], "bpe", 16_000)
    figures = measure(tokenizer, held_out)
    assert figures["vocabulary"] == 16_000
    assert (figures["fertility"] or 9) <= 1.7
    assert (figures["cut_clusters"] or 9) <= 0.01
    assert figures["round_trip"] == 1
    assert measure(tokenizer, training)["round_trip"] == 1


def test_measures_of_a_text_counted_by_hand() -> None:
    words = Counter({" କା": 9, " ଖ": 9})
    tokenizer = train(words, "bpe", 400)  # " କା" and " ଖ" are pieces, and no other letter is known
    figures = measure(tokenizer, ["କା ଖ", "କା ଗ"])
    assert figures["tokens"] == 3 + 1 + 3  # ଗ is a space and three bytes
    assert figures["fertility"] == 7 / 4
    assert figures["bytes_per_token"] == round((6 + 1 + 3) * 2 / 7, 4)
    assert figures["cut_clusters"] == 0.4  # two boundaries inside ଗ of five
    assert figures["whole_words"] == 1.0
    assert figures["round_trip"] == 1.0
    entropy = math.log((2**2.5 + 5) / 7**2.5) / (1 - 2.5)  # one piece twice, five once
    assert figures["renyi_efficiency"] == round(entropy / math.log(tokenizer.get_vocab_size()), 4)


def test_a_cut_before_a_vowel_sign_is_counted() -> None:
    letters = [*SPECIAL, *BYTES, " ", "କ", "ା"]
    tokenizer = skeleton(models.BPE({piece: i for i, piece in enumerate(letters)}, []))
    figures = measure(tokenizer, ["କା"])
    assert (figures["tokens"], figures["cut_clusters"], figures["whole_words"]) == (3, 0.5, 0)


def test_sizes_grow_with_the_corpus_between_bounds() -> None:
    assert automatic_size(10)[0] == 2048
    assert automatic_size(1_000_000)[0] == 15_616
    assert automatic_size(10**9)[0] == 32_768


def test_words_too_few_to_learn_from_are_an_error() -> None:
    with pytest.raises(UsageError, match="too little text"):
        train(Counter({" ଏକ": 1}), "bpe", 1000)
    with pytest.raises(UsageError, match="at least 361"):
        train(Counter({" ଏକ": 9}), "bpe", 300)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_corpus_without_line_ends_is_learned_from(algorithm: Algorithm) -> None:
    words, _ = count_words(text.replace("\n", " ") for text in ODIA)
    assert min(words.values()) > 0
    assert train(words, algorithm, 800).get_vocab_size() == 800


def test_a_frequent_word_is_not_held_as_often_as_it_occurs(monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[list[str]] = []

    class Recorder:
        def __init__(self, _: models.Model) -> None: ...

        def train_from_iterator(self, words: Iterator[list[str]], _: Any) -> None:
            held.extend(words)

        def to_str(self) -> str:
            return '{"model": {}}'

    monkeypatch.setattr(tokenization, "Tokenizer", Recorder)
    words = Counter({" କା": 2500, " ଖ": 1000, " ଗ": 1})
    tokenization._learned(models.BPE(), trainers.BpeTrainer, words, 400)
    assert Counter(word for some in held for word in some) == words
    assert max(map(len, held)) == 1000


def filtered(folder: Path, texts: list[str]) -> None:
    """What the stages before would leave in ``folder``, for running ``pipeline.tokenizer`` on its own work function."""
    (folder / "runs" / "t" / "filter").mkdir(parents=True)
    rows = [{"id": str(i), "title": "", "text": text, "source": "s"} for i, text in enumerate(texts)]
    for split in ("train", "valid"):
        write_jsonl(folder / "runs" / "t" / "filter" / f"{split}.jsonl", rows)


def test_the_stage_takes_what_the_corpus_supports_and_compares_with_other_tokenizers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    filtered(tmp_path, ODIA)
    out = tmp_path / "out"
    out.mkdir()

    def stage(*settings: str) -> dict[str, Any]:
        return work(Run(config.load("or", ["run=t", *settings]), "or"), out)

    counts = stage("tokenizer.vocab_size=9000")
    assert 1500 < counts["vocab_size"] < 9000
    assert f"9,000 by tokenizer.vocab_size, of which the text supports {counts['vocab_size']:,}" in caplog.text

    counts = stage(f"tokenizer.compare=[{out}]", "tokenizer.vocab_size=600")
    assert (counts["vocab_size"], counts["vocab_size_reason"]) == (600, "tokenizer.vocab_size")
    measures = json.loads((out / "measures.json").read_text("utf-8"))
    assert set(measures) == {"this", str(out)}
    assert measures["this"]["round_trip"] == 1
    assert "one for each 64 of" in stage()["vocab_size_reason"]
    with pytest.raises(UsageError, match="not a folder"):
        stage("tokenizer.compare=[nowhere]")


def test_the_stage_takes_a_tokenizer_that_exists_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    filtered(tmp_path, ODIA)
    save(train(Counter({" ଓଡ଼ିଶା": 9, "।": 9}), "bpe", 400), tmp_path / "old")
    out = tmp_path / "out"
    out.mkdir()
    counts = work(Run(config.load("or", ["run=t", "tokenizer.existing=old"]), "or"), out)
    assert counts["taken_from"] == "old"
    old, taken = (Tokenizer.from_file(str(folder / "tokenizer.json")) for folder in (tmp_path / "old", out))
    assert taken.to_str() == old.to_str()
    assert [path.name for path in external_files(LINE["tokenizer"], config.load("or", ["tokenizer.existing=old"]))] == [
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    cut = Tokenizer.from_file(str(tmp_path / "old/tokenizer.json"))
    cut.enable_truncation(4)
    cut.enable_padding(length=4)
    cut.save(str(tmp_path / "old/tokenizer.json"))
    assert work(Run(config.load("or", ["run=t", "tokenizer.existing=old"]), "or"), out) == counts, "measures too"
    both = ["tokenizer.existing=old", f"tokenizer.compare=[{tmp_path / 'old'}]"]
    assert len(external_files(LINE["tokenizer"], config.load("or", both))) == 4
    PreTrainedTokenizerFast(tokenizer_object=old).save_pretrained(tmp_path / "plain")
    with pytest.raises(UsageError, match="has no cls token"):
        work(Run(config.load("or", ["run=t", "tokenizer.existing=plain"]), "or"), out)
