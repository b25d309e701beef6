"""Stretches of a corpus that are as long as the documents of another set."""

import heapq
import re
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from pipeline.text.documents import Document

_GAP = re.compile(r"\s|$")


def passages(corpus: Iterable[Document], lengths: Sequence[int], count: int) -> list[str]:
    """At most ``count`` passages of ``corpus``, drawn by chance, always the same ones.

    Each begins with a paragraph, and is as long as one of ``lengths``, in characters, and up to the end of its word.
    What is less than half as long, as its document ends, is left out.
    """
    rng = np.random.default_rng(0)

    def each() -> Iterator[tuple[float, str]]:
        for document in corpus:
            text, start = document["text"], 0
            while start < len(text):
                length = lengths[int(rng.integers(len(lengths)))]
                gap = _GAP.search(text, min(start + length, len(text)))
                assert gap, "a text has an end"
                if gap.start() - start >= length / 2:
                    yield rng.random(), text[start : gap.start()]
                start = text.find("\n", gap.start()) + 1 or len(text)

    return [text for _, text in heapq.nsmallest(count, each())]
