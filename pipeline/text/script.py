"""Writing systems: which ones a language is written in, what counts as a word in them, and as a letter."""

import zlib
from collections import Counter
from collections.abc import Sequence
from functools import cache, lru_cache

import numpy as np
import numpy.typing as npt
import regex

from pipeline.errors import UsageError

_ROOFS = {  # ISO 15924 codes that stand for several scripts of Unicode, or for a style of one
    "Jpan": ("Hani", "Hira", "Kana"),
    "Hrkt": ("Hira", "Kana"),
    "Kore": ("Hang", "Hani"),
    "Jamo": ("Hang",),
    "Hans": ("Hani", "Bopo"),
    "Hant": ("Hani", "Bopo"),
    "Hanb": ("Hani", "Bopo"),
    "Cyrs": ("Cyrl",),
    "Syre": ("Syrc",),
    "Aran": ("Arab",),
}

_SPACELESS = r"\p{Hani}\p{Hira}\p{Kana}\p{Thai}\p{Laoo}\p{Khmr}\p{Mymr}\p{Lana}\p{Talu}\p{Java}\p{Bali}"
_LETTERS_A_WORD = 3  # in those scripts, roughly: Han has 1.5, Thai and Khmer 4

# A word holds its marks and joiners: `\w` and `str.isalpha` would cut an Odia word at every vowel sign.
_WORD = regex.compile(rf"(?V1)[{_SPACELESS}]\p{{M}}*|[[\p{{L}}\p{{M}}\p{{N}}\u200c\u200d]--[{_SPACELESS}]]+")
_SPACELESS_LETTER = regex.compile(rf"[{_SPACELESS}]")
_LETTER = regex.compile(r"(?V1)[\p{L}--[\p{Zyyy}\p{Zinh}]]+")


def expected_scripts(language: str) -> tuple[str, ...]:
    """The scripts of a Wikipedia's language, as ISO 15924 codes: ("Cyrl", "Latn") for sr; () where CLDR knows none.

    They are those of all of CLDR's likely subtags for the language, so that a language with two alphabets has both.
    """
    import langcodes
    from langcodes.data_dicts import LIKELY_SUBTAGS

    try:
        tag = langcodes.Language.get(language)
    except langcodes.LanguageTagError:
        return ()
    if tag.script:
        return _unicode_scripts([tag.script])
    likely = [value.split("-") for value in LIKELY_SUBTAGS.values()]
    return _unicode_scripts([subtags[1] for subtags in likely if subtags[0] == tag.language and len(subtags) > 1])


def named_scripts(codes: Sequence[str]) -> tuple[str, ...]:
    """The scripts of Unicode that ISO 15924 ``codes`` stand for. UsageError: one stands for none."""
    unknown = [code for code in codes if not _unicode_scripts([code])]
    if unknown:
        raise UsageError(
            f"filter.scripts: no script is called `{unknown[0]}`: give ISO 15924 codes such as Orya or Latn"
        )
    return _unicode_scripts(codes)


def common_scripts(text: str) -> tuple[str, ...]:
    """The scripts that at least a fifth of the letters each are in; () where there are no letters."""
    found: Counter[str] = Counter()
    for letter, times in Counter(text).items():
        if letter.isalpha():
            found[_script_of(letter)] += times
    return tuple(sorted(name for name, times in found.items() if name and times >= 0.2 * found.total()))


@cache
def _script_of(letter: str) -> str:
    """The ISO 15924 code of a letter's script; "" for what many scripts share, and for scripts unknown to CLDR."""
    from langcodes.data_dicts import LIKELY_SUBTAGS

    codes = {value.split("-")[1] for value in LIKELY_SUBTAGS.values() if value.count("-")}
    return next(
        (code for code in sorted(codes) if _is_known(code) and regex.match(rf"\p{{Script={code}}}", letter)), ""
    )


def _unicode_scripts(codes: Sequence[str]) -> tuple[str, ...]:
    found = {script for code in codes for script in _ROOFS.get(code, (code,))}
    return tuple(sorted(script for script in found if _is_known(script)))


@cache
def _is_known(script: str) -> bool:
    try:
        regex.compile(rf"\p{{Script={script}}}")
    except regex.error:
        return False
    return True


@cache
def _letters_of(scripts: tuple[str, ...]) -> regex.Pattern[str]:
    members = "".join(rf"\p{{scx={script}}}" for script in scripts)
    return regex.compile(rf"(?V1)[\p{{L}}&&[{members}]]+")


def letters(text: str, scripts: tuple[str, ...] = ()) -> int:
    """How many letters of ``scripts`` (of any script, where none is named) there are; marks and digits are none."""
    pattern = _letters_of(scripts) if scripts else _LETTER
    return sum(map(len, pattern.findall(text)))


def script_share(text: str, scripts: tuple[str, ...]) -> float:
    """Share of the letters that belong to ``scripts``; 0 where there is no letter at all."""
    total = letters(text)
    return min(letters(text, scripts) / total, 1.0) if total else 0.0


def words(text: str) -> list[str]:
    """The words, case-folded and without punctuation; in scripts without spaces, each letter with its marks."""
    return _WORD.findall(text.casefold())


def sets_spaces(text: str) -> bool:
    """Whether most of ``text`` is in a script that parts words by spaces."""
    return 2 * len(_SPACELESS_LETTER.findall(text)) < letters(text)


def count_words(text: str) -> int:
    """Number of words; in scripts without spaces an estimate from the number of letters."""
    spaceless = 0 if text.isascii() else len(_SPACELESS_LETTER.findall(text))
    if not spaceless:
        return len(text.split())
    return len(_SPACELESS_LETTER.sub(" ", text).split()) + -(-spaceless // _LETTERS_A_WORD)


@lru_cache(maxsize=4096)  # several steps in a row look at the paragraphs of a batch
def word_hashes(text: str) -> npt.NDArray[np.uint64]:
    """One 32-bit number a word, the same in every process."""
    return np.fromiter((zlib.crc32(word.encode()) for word in words(text)), np.uint64)


def ngrams(hashes: npt.NDArray[np.uint64], n: int) -> npt.NDArray[np.uint64]:
    """64-bit hashes of the runs of ``n`` in [words] → [words - n + 1]; empty where there are fewer."""
    mixed = np.zeros(max(len(hashes) - n + 1, 0), np.uint64)
    for i in range(n):
        mixed = (mixed + hashes[i : i + len(mixed)] + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(29)
    return mixed
