"""Texts in made-up languages."""

import random
from collections.abc import Sequence
from pathlib import Path

from pipeline.text.documents import read_jsonl

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
LETTERS, VOWELS = "କଖଗଘଚଛଜଝଟଠଡଢଣତଥଦଧନପଫବଭମଯରଲଶଷସହ", ["", "ା", "ି", "ୀ", "ୁ", "େ", "ୋ"]
OTHER_SYLLABLES = ["the", "str", "ough", "ing", "wh", "ell", "cht", "ick", "spr", "ump", "ead", "thr"]


def lines(count: int) -> str:
    """That many lines of Odia letters in words that chance has made, alike in nothing."""
    rng = random.Random(0)
    words = ["".join(rng.choice(LETTERS) + rng.choice(VOWELS) for _ in range(3)) for _ in range(2000)]
    return "".join(f"{' '.join(rng.choices(words, k=12))}।\n" for _ in range(count))


def lexicon(syllables: Sequence[str], seed: int, size: int = 300) -> list[str]:
    pick = random.Random(seed)
    return ["".join(pick.choices(syllables, k=pick.randint(1, 3))) for _ in range(size)]


def prose(rng: random.Random, vocabulary: list[str], words: int) -> str:
    """Words of a made-up language; a few of them are frequent, as in every language."""
    weights = [1 / (rank + 1) for rank in range(len(vocabulary))]
    return " ".join(rng.choices(vocabulary, weights, k=words)) + "."


HOME, FOREIGN = lexicon(SYLLABLES, 1), lexicon(OTHER_SYLLABLES, 2)


def documents(number: int, seed: int = 0, words: int = 40) -> list[str]:
    rng = random.Random(seed)
    return [prose(rng, HOME, words) for _ in range(number)]


def ids(folder: Path, name: str) -> set[str]:
    return {f"{row['source']} {row['id']}" for row in read_jsonl(folder / f"{name}.jsonl")}
