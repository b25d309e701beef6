"""Sentence patterns that a program filled in: "X is a village in the district of Y", two thousand times.

A paragraph most of whose words lie in word trigrams that many kept paragraphs had before it is one more
filling of a pattern. The first few stay, as examples of the language; the rest go.
"""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import regex

from pipeline.text.script import ngrams, word_hashes

TRIGRAM = 3
LEAST_COVER = 0.6  # share of the words that lie in worn-out trigrams
MILLION = 1_000_000  # words, for each of which the cap holds anew: idioms, too, grow with the corpus
TABLE_BITS = 23

Judge = Callable[[Sequence[str]], list[bool]]
_DIGITS = regex.compile(r"\p{Nd}+")


def stub_judge(cap: int) -> Judge:
    """A judge that lets about ``cap`` paragraphs of each pattern pass; digits count as one and the same value.

    Memory is fixed: trigrams are counted in a count-min sketch (Cormode and Muthukrishnan 2005).
    """
    sketch = np.zeros((2, 1 << TABLE_BITS), np.uint32)
    kept_words = 0

    def judge(text: str) -> bool:
        nonlocal kept_words
        hashes = word_hashes(_DIGITS.sub("0", text))
        width = min(TRIGRAM, len(hashes))
        if not width:
            return False
        first, second = _slots(ngrams(hashes, width))
        worn = np.minimum(sketch[0][first], sketch[1][second]) >= cap * max(1, kept_words // MILLION)
        covered = np.zeros(len(hashes), np.bool_)
        for offset in range(width):
            covered[offset : offset + len(worn)] |= worn
        if covered.mean() >= LEAST_COVER:
            return True
        sketch[0][first] += 1  # a trigram counts once a paragraph: repeated indices add once
        sketch[1][second] += 1
        kept_words += len(hashes)
        return False

    return lambda texts: [judge(text) for text in texts]


def _slots(trigrams: npt.NDArray[np.uint64]) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    mask = np.uint64((1 << TABLE_BITS) - 1)
    return trigrams >> np.uint64(64 - TABLE_BITS), (trigrams >> np.uint64(8)) & mask
