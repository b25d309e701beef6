"""Corpus text that also stands in a labelled document on which the classifier will be measured."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt

from pipeline.text.judge import Judge
from pipeline.text.script import ngrams, sets_spaces, word_hashes

LONG_WORDS = 8  # a run that two texts hardly share by chance
LONG_LETTERS = 24  # the same, in scripts without spaces
SHORTEST_SHARE = 2  # a labelled text of half that length is looked for as a whole; a shorter one says nothing


def learn_contamination(labelled: Iterable[str]) -> Judge:
    """A judge of whether a text shares a long run of words with one of ``labelled``.

    Case, punctuation and spacing make no difference. Memory grows with the labelled texts alone.
    """
    known: defaultdict[int, set[int]] = defaultdict(set)
    for text in labelled:
        long = LONG_WORDS if sets_spaces(text) else LONG_LETTERS
        hashes = word_hashes(text)
        length = min(long, len(hashes))
        if length >= long // SHORTEST_SHARE:
            known[length].update(ngrams(hashes, length).tolist())
    return Judge(partial(_contaminated, {n: np.fromiter(sorted(runs), np.uint64) for n, runs in known.items()}))


def _contaminated(known: Mapping[int, npt.NDArray[np.uint64]], texts: Sequence[str]) -> list[bool]:
    """Whether each text holds one of the ``known`` runs, by their length. All texts are looked through as one."""
    hashes = [word_hashes(text) for text in texts]
    words = np.concatenate([np.empty(0, np.uint64), *hashes])
    text = np.repeat(np.arange(len(texts)), [len(found) for found in hashes])
    verdicts = np.zeros(len(texts), np.bool_)
    for length, runs in known.items():
        found = np.isin(ngrams(words, length), runs)
        first, last = text[: len(found)], text[length - 1 :]
        verdicts[first[found & (first == last)]] = True
    return [bool(verdict) for verdict in verdicts]
