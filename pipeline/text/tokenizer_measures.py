"""How well a tokenizer fits a text: figures that compare across algorithms, vocabularies and scripts."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable

import numpy as np
import regex
from tokenizers import Tokenizer

_CLUSTER = regex.compile(r"\X")
_WORD = regex.compile(r"\p{L}[\p{L}\p{M}\u200c\u200d]*")
_ALPHA = 2.5


def measure(tokenizer: Tokenizer, texts: Iterable[str]) -> dict[str, float | int | None]:
    """Figures of ``tokenizer`` on ``texts``, each text normalized by the tokenizer first, without special tokens.

    - ``fertility``: tokens a whitespace word; line ends and punctuation are tokens too.
    - ``bytes_per_token``: UTF-8 bytes of text.
    - ``cut_clusters``: share of the boundaries between tokens that lie inside a grapheme cluster (UAX #29
      extended, Indic conjuncts whole); a boundary between the bytes of one character is one of them.
    - ``whole_words``: share of words, here runs of letters and marks, that no boundary cuts.
    - ``unused``: share of the vocabulary that the texts never use, special tokens and bytes apart.
    - ``renyi_efficiency``: Rényi entropy of order 2.5 of the tokens over the logarithm of the vocabulary size
      (Zouhar et al., "Tokenization and the Noiseless Channel", ACL 2023): it goes with downstream quality.
    - ``round_trip``: share of texts that decode to what was encoded.
    """
    tokenizer.encode_special_tokens = True  # "[SEP]" in a text is text
    used: Counter[int] = Counter()
    documents = words = size = boundaries = cut = runs = whole = returned = 0
    for text in texts:
        normal = tokenizer.normalizer.normalize_str(text) if tokenizer.normalizer else text
        encoding = tokenizer.encode(normal, add_special_tokens=False)
        used.update(encoding.ids)
        documents += 1
        words += len(normal.split())
        size += len(normal.encode())
        returned += tokenizer.decode(encoding.ids, skip_special_tokens=False) == normal
        starts = {match.start() for match in _CLUSTER.finditer(normal)}
        positions = []
        for token, before, after in zip(encoding.tokens, encoding.offsets, encoding.offsets[1:], strict=False):
            boundaries += 1
            start = after[0]
            # bytes of one character share its place; so does a bare space put in front of a line, and cuts nothing
            cut += start not in starts or (before == after and token not in (" ", "▁", "Ġ"))
            positions.append(start)
        positions.sort()
        for match in _WORD.finditer(normal):
            runs += 1
            inside = bisect_left(positions, match.start() + 1)
            whole += inside == len(positions) or positions[inside] >= match.end()
    tokens = used.total()
    vocabulary = tokenizer.get_vocab_size()
    countable = [i for i in range(vocabulary) if not _fixed(tokenizer, i)]
    shares = np.array(list(used.values())) / max(1, tokens)
    return {
        "vocabulary": vocabulary,
        "documents": documents,
        "words": words,
        "tokens": tokens,
        "fertility": _share(tokens, words),
        "bytes_per_token": _share(size, tokens),
        "cut_clusters": _share(cut, boundaries),
        "whole_words": _share(whole, runs),
        "unused": _share(sum(i not in used for i in countable), len(countable)),
        "renyi_efficiency": round(float(np.log((shares**_ALPHA).sum()) / (1 - _ALPHA) / np.log(vocabulary)), 4)
        if tokens
        else None,
        "round_trip": _share(returned, documents),
    }


def _fixed(tokenizer: Tokenizer, i: int) -> bool:
    token = tokenizer.id_to_token(i)
    return i in tokenizer.get_added_tokens_decoder() or token is None or bool(regex.fullmatch("<0x[0-9A-F]{2}>", token))


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None
