"""Is this paragraph in the corpus's language? Learned from the corpus itself, with no model file.

Words that keep company are of one language: among the corpus's most frequent words, the strongest axis of
co-occurrence parts two languages where there are two. Character n-gram models of the two sides, refined in
turns, then judge each paragraph. What the majority's model codes almost as well as its own text is another
subject, not another language, and stays.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache, partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
import numpy.typing as npt
import regex

from pipeline.errors import UsageError
from pipeline.text.judge import Judge
from pipeline.text.script import count_words, words

MIN_WORDS = 8  # shorter paragraphs say too little
# Bits a character that foreign text costs more than the language's own, as benchmarks/filter.py measures it: a
# minority that is another subject costs 0.2 more on average, another language 1.4; paragraphs spread around that.
MARGIN, MARGIN_ON_AVERAGE = 0.6, 0.9
# Share of the minority's frequent words that the majority uses too: another subject 0.57, another language up to 0.24.
SHARED_WORDS = 0.4
LEAST_SAMPLE, SAMPLE = 100_000, 1_000_000  # characters: from less the models learn nothing, from more nothing new
FREQUENT_WORDS = 400
ROUNDS = 4
ORDERS = 4
BACKOFF = np.float32(8)
TABLE_BITS = 18

Floats = npt.NDArray[np.float32]
_NO_LETTER = regex.compile(r"[^\p{L}\p{M}]+")


class Grams(NamedTuple):
    """Character n-grams of several texts, one after the other."""

    slots: npt.NDArray[np.uint32]  # [ORDERS, characters]: table slots of the n-grams that end at each character
    text: npt.NDArray[np.intp]  # [characters]: which text it is of
    lengths: npt.NDArray[np.intp]  # [texts]


def grams(texts: Sequence[str]) -> Grams:
    """Case, digits and punctuation apart: letters with their marks, and one space between words."""
    folded = [f"{' ' * ORDERS}{_NO_LETTER.sub(' ', text.casefold())} " for text in texts]
    lengths = np.array([len(text) for text in folded])
    codes = np.frombuffer((" " * ORDERS + "".join(folded)).encode("utf-32-le"), np.uint32).astype(np.uint64)
    slots = np.empty((ORDERS, len(codes) - ORDERS), np.uint32)
    mixed = np.zeros(len(codes) - ORDERS, np.uint64)
    for order in range(ORDERS):  # hashed from the last character backwards
        mixed = (mixed + codes[ORDERS - order : len(codes) - order] + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        slots[order] = mixed >> np.uint64(64 - TABLE_BITS)
    return Grams(slots, np.repeat(np.arange(len(texts)), lengths), lengths)


def count_grams(sample: Grams, use: npt.NDArray[np.bool_], minority: npt.NDArray[np.bool_]) -> Floats:
    """How often each n-gram occurs in the texts in ``use``, [ORDERS, slots, 2]: in the majority and in the minority."""
    sides = (use & ~minority, use & minority)
    return np.stack(
        [
            np.stack([np.bincount(slots[side[sample.text]], minlength=1 << TABLE_BITS) for side in sides], axis=1)
            for slots in sample.slots
        ]
    ).astype(np.float32)


def bits_a_character(texts: Grams, counts: Floats) -> Floats:
    """Cross-entropy of each text under both models, [texts, 2].

    A model interpolates all orders, as Witten and Bell (1991) do, here with one fixed weight.
    """
    probability: Floats = np.full((texts.slots.shape[1], 2), 1 / 1000, np.float32)
    context = counts[0].sum(axis=0, keepdims=True)
    for order in range(ORDERS):
        seen = counts[order][texts.slots[order]]
        probability = (seen + BACKOFF * probability) / (context + BACKOFF)
        context = np.concatenate([seen[:1], seen[:-1]])
    starts = np.cumsum(texts.lengths) - texts.lengths
    return np.asarray(-np.add.reduceat(np.log2(probability), starts) / texts.lengths[:, None], np.float32)


def learn_foreign(paragraphs: Iterable[str]) -> Judge:
    """What tells whether a paragraph is in another language than most of ``paragraphs``.

    Time and memory are bounded by the sample. Each text is judged by models of the half of the sample that it
    is not in, so that none testifies for itself.
    """
    sample = even_sample(text for text in paragraphs if count_words(text) >= MIN_WORDS)
    bags = [set(words(text)) for text in sample]
    minority = _seed(bags) if sum(map(len, sample)) >= LEAST_SAMPLE else np.zeros(len(sample), np.bool_)
    if not minority.any():
        return Judge(_none)
    features, halves = grams(sample), _halves(sample)
    for _ in range(ROUNDS):
        models = [count_grams(features, halves != half, minority) for half in (0, 1)]
        costs = _choose([bits_a_character(features, model) for model in models], halves)
        before, minority = minority, costs[:, 0] > costs[:, 1]
        if (before == minority).all():
            break
    if not 0 < minority.sum() < len(sample):
        return Judge(_none)
    usual, unusual = (np.average(costs[side, 0], weights=features.lengths[side]) for side in (~minority, minority))
    if unusual < usual + MARGIN_ON_AVERAGE or _shared_words(bags, minority) > SHARED_WORDS:
        return Judge(_none)
    return Judge(partial(_foreign, models, usual + MARGIN))


def _foreign(models: list[Floats], most: float, texts: Sequence[str]) -> list[bool]:
    """Whether a text costs more than ``most`` bits a character as the majority's, and less as the minority's."""
    if not texts:
        return []
    batch = grams(texts)
    own, other = _choose([bits_a_character(batch, model) for model in models], _halves(texts)).T
    long = np.array([count_words(text) >= MIN_WORDS for text in texts])
    return [bool(verdict) for verdict in long & (own > other) & (own > most)]


def _none(texts: Sequence[str]) -> list[bool]:
    return [False] * len(texts)


def _halves(texts: Sequence[str]) -> npt.NDArray[np.intp]:
    return np.array([crc32(text.encode()) & 1 for text in texts])


def _choose(costs: list[Floats], halves: npt.NDArray[np.intp]) -> Floats:
    return np.where(halves[:, None] == 0, costs[0], costs[1])


def even_sample(paragraphs: Iterable[str]) -> list[str]:
    """An even share of the paragraphs, chosen by their own hash: the share halves whenever there are too many."""
    kept: list[str] = []
    size, share = 0, 1 << 32
    for text in paragraphs:
        if crc32(text[::-1].encode()) < share:
            kept.append(text)
            size += len(text)
        if size > SAMPLE and len(kept) > 1:
            share //= 2
            kept = [text for text in kept if crc32(text[::-1].encode()) < share]
            size = sum(map(len, kept))
    return kept


def _shared_words(bags: list[set[str]], minority: npt.NDArray[np.bool_]) -> float:
    """How much of the minority's use of its own most frequent words the majority shares, from 0 to 1."""
    sides = [[bag for bag, there in zip(bags, minority, strict=True) if there == side] for side in (True, False)]
    here, there = (Counter(chain.from_iterable(side)) for side in sides)
    rates = [(n / len(sides[0]), there[word] / len(sides[1])) for word, n in here.most_common(FREQUENT_WORDS // 8)]
    return sum(map(min, rates)) / sum(own for own, _ in rates)


def _seed(bags: list[set[str]]) -> npt.NDArray[np.bool_]:
    """Which paragraphs lie on the smaller side of the strongest axis of co-occurrence among frequent words."""
    frequent = sorted(Counter(chain.from_iterable(bags)).items(), key=lambda item: (-item[1], item[0]))
    index = {word: i for i, (word, _) in enumerate(frequent[:FREQUENT_WORDS])}
    if len(index) < 2:
        return np.zeros(len(bags), np.bool_)
    present = np.zeros((len(bags), len(index)), np.float32)
    for row, bag in zip(present, bags, strict=True):
        row[[index[word] for word in bag if word in index]] = 1
    together = (present.T @ present).astype(np.float64)
    alone = np.diag(together) / len(bags)
    expected = np.outer(alone, alone) * len(bags)
    affinity = np.log((together + 0.5) / (expected + 0.5)) * np.sqrt(np.minimum(expected, 50))  # rare pairs weigh less
    np.fill_diagonal(affinity, 0)
    axis = np.linalg.eigh(affinity)[1][:, -1]
    return np.asarray(present @ (axis if alone @ axis > 0 else -axis) < 0)


def fasttext_judge(path: str, language: str) -> Judge:
    """What a fastText model of languages (GlotLID, lid.176) says: True where it is rather sure of another language.

    Labels are `__label__ha` or `__label__hau_Latn`. Raises UsageError: no such file, no such model, or the library is
    missing.
    """
    if not Path(path).is_file():
        raise UsageError(
            f"filter.language_model: {path} is no file: download one (GlotLID, lid.176.bin) or set it to null"
        )
    _load(path)
    return Judge(partial(_another_language, path, language))


@cache
def _load(path: str) -> Any:
    try:
        import fasttext  # type: ignore[import-untyped, import-not-found, unused-ignore]
    except ImportError as error:
        raise UsageError("filter.language_model needs fastText: pip install fasttext-numpy2") from error
    try:
        return fasttext.load_model(path)
    except ValueError as error:
        raise UsageError(f"filter.language_model: {path} is no fastText model: download it again") from error


def _another_language(path: str, language: str, texts: Sequence[str]) -> list[bool]:
    import langcodes

    model = _load(path)

    def foreign(text: str) -> bool:
        labels, chances = model.predict(text.replace("\n", " "))
        code = labels[0].removeprefix("__label__").split("_")[0] if labels else language
        return count_words(text) >= MIN_WORDS and chances[0] > 0.5 and langcodes.tag_distance(code, language) > 10

    return [foreign(text) for text in texts]
