"""Sentence patterns that a program filled in: "X is a village in the district of Y", two thousand articles long.

A stub is a whole article that says one pattern with other values: nearly all of its words, the title's apart, lie
in word trigrams that many kept articles had before it. The first few stay, as examples of the language; the rest
go. Paragraphs that repeat inside articles with text of their own, and refrains of a book, are no stubs.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import regex

from pipeline.text.judge import Judge
from pipeline.text.script import ngrams, word_hashes

TRIGRAM = 3
# A stub has at least this share of its words in worn-out trigrams, and at most so many words that are not: a table or
# a list of links below some sentences may be most of an article, and does not make a stub of it.
LEAST_COVER, MOST_OWN_WORDS = 0.75, 50
MILLION = 1_000_000  # words, for each of which the cap holds anew: idioms, too, grow with the corpus
TABLE_BITS = 23
VALUE = np.uint64(1 << 32)  # in place of a word of the title: no word's hash, which has 32 bits

Hashes = npt.NDArray[np.uint64]
_DIGITS = regex.compile(r"\p{Nd}+")


def stub_judge(cap: int) -> Judge:
    """A judge of articles, the title on the first line, that lets about ``cap`` of each pattern pass.

    Words of the title count as one and the same value, and so do numbers. Memory is fixed: trigrams are counted in a
    count-min sketch (Cormode and Muthukrishnan 2005).
    """
    sketch = np.zeros((2, 1 << TABLE_BITS), np.uint32)
    kept_words = 0

    def decide(hashes: Hashes) -> bool:
        nonlocal kept_words
        width = min(TRIGRAM, len(hashes))
        if not width:
            return False
        first, second = _slots(ngrams(hashes, width))
        worn = np.minimum(sketch[0][first], sketch[1][second]) >= cap * max(1, kept_words // MILLION)
        covered = np.zeros(len(hashes), np.bool_)
        for offset in range(width):
            covered[offset : offset + len(worn)] |= worn
        if covered.mean() >= LEAST_COVER and (~covered).sum() <= MOST_OWN_WORDS:
            return True
        sketch[0][first] += 1  # a trigram counts once an article: repeated indices add once
        sketch[1][second] += 1
        kept_words += len(hashes)
        return False

    return Judge(_hashed, lambda articles: [decide(hashes) for hashes in articles])


def _hashed(articles: Sequence[str]) -> list[Hashes]:
    """The hash of each word of each article, values as one."""
    found = []
    for article in articles:
        title, _, text = _DIGITS.sub("0", article).partition("\n")
        hashes = word_hashes(text)
        found.append(np.where(np.isin(hashes, word_hashes(title)), VALUE, hashes))
    return found


def _slots(trigrams: Hashes) -> tuple[Hashes, Hashes]:
    mask = np.uint64((1 << TABLE_BITS) - 1)
    return trigrams >> np.uint64(64 - TABLE_BITS), (trigrams >> np.uint64(8)) & mask
