"""Text normalisation: what it repairs, and what it must never do, in fifteen scripts."""

import unicodedata
from collections import Counter

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.text.unicode import mend, normalize

SCRIPTS = {
    "Odia": "\u0b00-\u0b7f",
    "Bengali": "\u0980-\u09ff",
    "Devanagari": "\u0900-\u097f",
    "Tamil": "\u0b80-\u0bff",
    "Ol Chiki": "\u1c50-\u1c7f",
    "Arabic": "\u0600-\u06ff",
    "Hebrew": "\u0590-\u05ff",
    "Ethiopic": "\u1200-\u137f",
    "Thai": "\u0e00-\u0e7f",
    "Khmer": "\u1780-\u17ff",
    "Tibetan": "\u0f00-\u0fff",
    "N'Ko": "\u07c0-\u07ff",
    "Latin with stacked marks": "aeioundEẹọṣăâđêôơưéèỏõạ\u0300\u0301\u0303\u0304\u0306\u0309\u0323",
    "Cyrillic": "\u0400-\u04ff",
    "Han": "\u4e00-\u4fff",
}
INTRUDERS = (
    " \n\t|:&;<>/0১ \u00a0\u00ad\u034f\u200b\u200c\u200d\u200e\u202f\u2028\u2060\ufeff\ufffd\ue000\x00\x85\ud800br"
)


def characters(span: str) -> list[str]:
    if len(span) == 3 and span[1] == "-":
        span = "".join(map(chr, range(ord(span[0]), ord(span[2]) + 1)))
    return [c for c in span if unicodedata.category(c)[0] in "LMN" or unicodedata.category(c) == "Po"]


def texts(script: str) -> st.SearchStrategy[str]:
    own, intruders = st.sampled_from(characters(SCRIPTS[script])), st.sampled_from(INTRUDERS)
    entity = st.sampled_from(["&amp;", "&lt;", "&amp;nbsp;", "&#38;", "<br>", "</b>", "||", "&amp;lt;b&amp;gt;"])
    return st.lists(st.one_of(own, own, own, intruders, entity), max_size=25).map("".join)


def marks(text: str) -> Counter[str]:
    """Combining marks by code point, in the form that takes composed letters apart."""
    return Counter(c for c in unicodedata.normalize("NFD", text) if unicodedata.category(c)[0] == "M")


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_second_pass_changes_nothing(script: str) -> None:
    @given(texts(script))
    def holds(text: str) -> None:
        once = normalize(text)
        assert normalize(once) == once
        assert unicodedata.is_normalized("NFC", once)
        once.encode()  # no lone surrogate is left

    holds()


@pytest.mark.parametrize("script", SCRIPTS)
def test_no_combining_mark_is_ever_lost(script: str) -> None:
    @given(texts(script).filter(lambda text: "&" not in text and "<" not in text))
    def holds(text: str) -> None:
        before, after = marks(text), marks(normalize(text))
        assert before <= after  # a visarga typed as a colon is one more

    holds()


@pytest.mark.parametrize("script", SCRIPTS)
def test_words_are_never_joined(script: str) -> None:
    @given(texts(script).filter(lambda text: "&" not in text and "<" not in text))
    def holds(text: str) -> None:
        assert len(normalize(text).split()) >= sum(bool(normalize(word)) for word in text.split())

    holds()


@pytest.mark.parametrize("script", SCRIPTS)
def test_letters_and_digits_stay_as_they_are(script: str) -> None:
    @given(st.lists(st.sampled_from(characters(SCRIPTS[script])), max_size=20).map("".join))
    def holds(text: str) -> None:
        plain = unicodedata.normalize("NFC", text)
        assert [c for c in normalize(text) if c.isalnum()] == [c for c in plain if c.isalnum()]

    holds()


@given(st.text())
@example("&" + "amp;" * 5000 + "lt;")
def test_any_string_at_all_becomes_encodable_and_stable(text: str) -> None:
    once = normalize(text)
    once.encode()
    assert normalize(once) == once


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("ନ୍ୟୁଟ୍ରନ୍\u200cକୁ", "ନ୍ୟୁଟ୍ରନ୍\u200cକୁ"),  # after a virama
        ("ବ୍ୟବ\u200cହାର", "ବ୍ୟବହାର"),  # after a bare consonant it does nothing
        ("ক্\u200dষ র\u200d্যা", "ক্\u200dষ র\u200d্যা"),  # before a virama, too: Bengali ra with ya-phala
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("می\u200c\u200cخواهم می\u200c\u200dخواهم", "می\u200cخواهم می\u200cخواهم"),  # typed twice
        ("\u200cسلام\u200c", "سلام"),
        ("ab\u200dcd", "abcd"),
        ("កុ\u200bខ", "កុ\u200bខ"),  # Khmer parts words by it
        ("ab\u200bcd", "abcd"),
    ],
)
def test_joiners_stay_where_the_script_uses_them(before: str, after: str) -> None:
    assert normalize(before) == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("ଏକ ସାଧାରଣ ବର୍ଷ ଅଟେ |", "ଏକ ସାଧାରଣ ବର୍ଷ ଅଟେ ।"),
        ("वह घर गया| फिर सोया", "वह घर गया। फिर सोया"),
        ("ନମୋ ନମଃ ||", "ନମୋ ନମଃ ॥"),
        ("ସେ ଗଲା\u0b64", "ସେ ଗଲା।"),
        ("ଦୁ:ଖ ଅନ୍ତ:ପୁର", "ଦୁଃଖ ଅନ୍ତଃପୁର"),
        ("দু:খ", "দুঃখ"),
        ("दु:ख", "दुःख"),
    ],
)
def test_look_alikes_are_mended_where_the_script_makes_it_certain(before: str, after: str) -> None:
    assert normalize(before) == after


@pytest.mark.parametrize(
    "text", ["କ | ଖ | ଗ", "a b c | d", "୫:୩୦ ରେ", "ସମୟ: ସକାଳ", "ଜିଲ୍ଲା:କଟକ", "୧୨ | ୧୩", "๑๒ กข | ค", "x < y && z"]
)
def test_and_left_alone_elsewhere(text: str) -> None:
    assert normalize(text) == text


def test_one_form_for_nukta_and_two_part_vowels() -> None:
    assert normalize("\u0900\u093c\u0900\u093c") == "\u093c\u093c\u0900\u0900", "every nukta, however many there are"
    assert normalize("\u0b5c") == normalize("\u0b21\u0b3c") == "\u0b21\u0b3c"
    assert normalize("ଡା\u0b3c") == normalize("ଡ\u0b3cା")
    assert normalize("\u0b95\u0bc6\u0bbe") == "\u0b95\u0bca"


def test_double_encoded_markup_is_taken_off_and_counted() -> None:
    text, made = mend(
        '&lt;a href="Slavik"&gt;Slavik&lt;/a&gt;-ga &amp;amp;nbsp; &amp;eacute;t&eacute;&lt;br/&gt;dib &unknown;'
    )
    assert text == "Slavik-ga été dib &unknown;"
    assert made["entities"] == 9
    assert made["tags"] == 3


def test_invisible_junk_goes_and_line_ends_stay() -> None:
    assert (
        normalize("\ufeffa\u00adb\u202e \ue000c\r\nd\u2028e\u00a0\u3000f\n\n \n g\ufffdh\ud800i")
        == "ab c\nd\ne f\ng hi"
    )
