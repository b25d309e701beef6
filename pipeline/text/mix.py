"""Which documents train and which validate, and how often each corpus is read."""

import hashlib
import json
import math
from collections import Counter, defaultdict
from pathlib import Path

from pipeline.config import Filter
from pipeline.text.documents import Document, read_jsonl
from pipeline.text.sieve import size

_INNER = ("paragraphs", "headings", "identity", "words", "lost", "gone")


def write_splits(
    current: Path, out: Path, settings: Filter, weights: dict[str, float]
) -> dict[str, dict[str, Counter[str]]]:
    """Write ``train.jsonl`` and ``valid.jsonl``; return the documents, words and bytes in each, by source.

    A document is held out where its identity says so. In train a weight of 2.3 gives every document twice, and
    three times those three in ten that their identity chooses; validation may be thinned (a weight below 1),
    and repeats nothing.
    """
    kept: dict[str, dict[str, Counter[str]]] = {name: defaultdict(Counter) for name in ("train", "valid")}
    words: Counter[str] = Counter()
    for document in read_jsonl(current):
        words[document["source"]] += document["words"]
    copies = copies_by_source(words, weights, settings.temperature)
    with (
        (out / "train.jsonl").open("w", encoding="utf-8") as train,
        (out / "valid.jsonl").open("w", encoding="utf-8") as valid,
    ):
        for turn in range(math.ceil(max(copies.values(), default=0))):
            for document in read_jsonl(current):
                source, held_out = document["source"], share(document, "split") < settings.valid_share
                if share(document, "weight") >= copies[source] - turn or (held_out and turn):
                    continue
                row = _row(document, turn)
                kept["valid" if held_out else "train"][source].update(size(row["text"].split("\n")))
                (valid if held_out else train).write(json.dumps(row, ensure_ascii=False) + "\n")
    return kept


def copies_by_source(words: Counter[str], weights: dict[str, float], temperature: float) -> dict[str, float]:
    """How often each corpus is to be read: its weight, and for small ones more at a temperature above 1.

    Sampling at temperature T draws from a corpus of n words in proportion to n^(1/T) (Devlin et al. 2019, mBERT);
    the largest corpus is read as often as its weight says, whatever T.
    """
    sizes = {name: n * weights.get(name, 1.0) for name, n in words.items()}
    largest = max(sizes.values(), default=0)
    return {
        name: weights.get(name, 1.0) * (largest / n) ** (1 - 1 / temperature) if n else 0.0 for name, n in sizes.items()
    }


def share(document: Document, purpose: str) -> float:
    """A number in [0, 1) that is the document's own, another for every purpose."""
    digest = hashlib.blake2b(f"{purpose} {document['identity']}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def _row(document: Document, turn: int) -> Document:
    paragraphs, there = document["paragraphs"], set(document["paragraphs"])
    row = {key: value for key, value in document.items() if key not in _INNER}
    row |= {"id": f"{document['id']}#{turn + 1}" if turn else document["id"], "text": "\n".join(paragraphs)}
    headings = [heading for heading in document["headings"] if heading in there]
    return {**row, "headings": headings} if headings else row
