"""Texts that were there before, to the letter or nearly: the first one stays.

Both judges remember a bounded number of fingerprints and forget the oldest, so that memory is bounded
whatever the size of the corpus; a corpus of some hundred thousand paragraphs is remembered whole.
"""

from collections.abc import Callable, Sequence
from functools import partial
from hashlib import blake2b

import numpy as np
from datasketch import MinHash

from pipeline.text.judge import Judge
from pipeline.text.script import ngrams, word_hashes

MIN_WORDS = 8  # shorter texts are too easily alike
SHINGLE_WORDS = 3
BANDS, ROWS = 10, 12  # a pair of Jaccard similarity 0.9 is found in 96 %, of 0.8 in 51 %, of 0.6 in 2 % of cases
REMEMBERED = 5_000_000  # fingerprints, of some 60 bytes each; there may be twice as many for a while

_FACTORS = np.random.default_rng(0).integers(1, 2**63, ROWS, np.uint64) | np.uint64(1)
_TAGS = np.arange(BANDS, dtype=np.uint64) << np.uint64(59)


class _Memory:
    """A set of numbers that drops the older half of its members when it is full."""

    def __init__(self) -> None:
        self.recent: set[int] = set()
        self.older: set[int] = set()

    def met(self, keys: list[int]) -> bool:
        """Whether any of ``keys`` was here before; they are remembered if not."""
        if any(key in self.recent or key in self.older for key in keys):
            return True
        self.recent.update(keys)
        if len(self.recent) > REMEMBERED:
            self.recent, self.older = set(), self.recent
        return False


def exact_duplicates(min_words: int = 0) -> Judge:
    """A judge of whether a text of at least ``min_words`` was met before; white space makes no difference."""
    return Judge(partial(_digests, min_words), _met())


def near_duplicates() -> Judge:
    """A judge of whether most word trigrams of a text stood in one earlier text: MinHash with banding (Broder 1997)."""
    return Judge(_bands, _met())


def _met() -> Callable[[Sequence[list[int]]], list[bool]]:
    memory = _Memory()
    return lambda found: [bool(keys) and memory.met(keys) for keys in found]


def _digests(min_words: int, texts: Sequence[str]) -> list[list[int]]:
    """One key for each text of at least ``min_words``."""
    split = [text.split() for text in texts]
    return [
        [int.from_bytes(blake2b(" ".join(words).encode(), digest_size=8).digest())] if len(words) >= min_words else []
        for words in split
    ]


def _bands(texts: Sequence[str]) -> list[list[int]]:
    """A key a band for each text that is long enough."""
    shingles = [ngrams(word_hashes(text), SHINGLE_WORDS) >> np.uint64(32) for text in texts]
    long = [len(s) > MIN_WORDS - SHINGLE_WORDS for s in shingles]
    sketches = MinHash.generator(
        (s.tolist() for s, use in zip(shingles, long, strict=True) if use), num_perm=BANDS * ROWS, hashfunc=int
    )
    return [
        ((next(sketches).hashvalues.astype(np.uint64).reshape(BANDS, ROWS) * _FACTORS).sum(axis=1) ^ _TAGS).tolist()
        if use
        else []
        for use in long
    ]
