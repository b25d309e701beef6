"""Corpus text that also stands in a labelled document on which the classifier will be measured."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import partial

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
    return Judge(partial(_contaminated, known))


def _contaminated(known: Mapping[int, set[int]], texts: Sequence[str]) -> list[bool]:
    hashes = map(word_hashes, texts)
    return [
        any(not runs.isdisjoint(ngrams(words, length).tolist()) for length, runs in known.items()) for words in hashes
    ]
