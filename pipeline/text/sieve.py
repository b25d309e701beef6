"""Documents pass through steps; each step may take a paragraph or a whole document out, and has to say why.

A step first learns from all that the passes before have left, then judges batch by batch. Between passes the
documents lie on disk, so that memory does not grow with the corpus. The result does not depend on how many
processes look at the batches.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from hashlib import blake2b
from itertools import tee
from typing import Any, Literal, NamedTuple

from pipeline.parallel import Spread
from pipeline.text.documents import Document, in_batches
from pipeline.text.judge import Judge
from pipeline.text.script import count_words
from pipeline.text.unicode import mend

SAMPLES = 50  # of the documents, and as many of the paragraphs, that a reason took: enough to see what it does
LONGEST_LINE = 5_000  # characters; longer ones are cut at the end of a sentence
BATCH_CHARACTERS = 500_000
_SENTENCE_ENDS = ("। ", "॥ ", ". ", "? ", "! ", "۔ ", "။", "。", "་ ", "። ", " ")


class Step(NamedTuple):
    reason: str
    learn: Callable[[Iterable[str]], Judge]  # from the paragraphs of the pass before
    unit: Literal["paragraph", "document", "article"] = "paragraph"  # an article has a title, as its first line


class Ledger:
    """What was read, mended, dropped and why; and some of the dropped, to read."""

    def __init__(self) -> None:
        self.read: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.repaired: Counter[str] = Counter()
        self.dropped: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.samples: list[Document] = []

    def drop(self, unit: str, document: Document, text: str, reason: str) -> None:
        self.dropped[f"{unit}s"][reason] += 1
        if self.dropped[f"{unit}s"][reason] <= SAMPLES:
            about = {key: document[key] for key in ("id", "title", "source")}
            self.samples.append({**about, "text": text[:LONGEST_LINE], "reason": reason, "unit": unit})


def size(texts: Iterable[str]) -> Counter[str]:
    """{documents: 1, words, bytes} of one document."""
    texts = list(texts)
    return Counter(documents=1, words=sum(map(count_words, texts)), bytes=sum(len(text.encode()) + 1 for text in texts))


def split_paragraphs(text: str) -> tuple[list[str], Counter[str]]:
    """The mended, non-empty lines of ``text``, none much longer than LONGEST_LINE; and what was repaired."""
    repaired: Counter[str] = Counter()
    paragraphs: list[str] = []
    for line in text.split("\n"):
        pieces = list(_pieces(line))
        repaired["long_lines"] += len(pieces) - 1
        for piece in pieces:
            mended, made = mend(piece)
            repaired.update(made)
            paragraphs += filter(None, mended.split("\n"))
    return paragraphs, +repaired


def _pieces(line: str) -> Iterator[str]:
    start = 0
    while len(line) - start > LONGEST_LINE:
        middle, end = start + LONGEST_LINE // 2, start + LONGEST_LINE
        cut = next((at + len(mark) for mark in _SENTENCE_ENDS if (at := line.rfind(mark, middle, end)) >= 0), end)
        yield line[start:cut]
        start = cut
    yield line[start:]


def opened(rows: Iterable[Document], ledger: Ledger, spread: Spread = map) -> Iterator[Document]:
    """Rows of ``extract`` with mended ``paragraphs`` in place of ``text``, and what the steps and the split go by.

    ``identity`` is the hash of the mended text: the same in every run, whichever corpora and settings there are,
    and for two copies of one document, whichever of them stays. ``words`` counts those of the body, without headings;
    ``lost`` will count those dropped, by reason, and ``gone`` show the first of them.
    """
    for documents, sizes, repaired in spread(_open, in_batches(rows, lambda row: len(row["text"]), BATCH_CHARACTERS)):
        ledger.repaired.update(repaired)
        for document, read in zip(documents, sizes, strict=True):
            ledger.read[document["source"]].update(read)
            yield document


def _open(rows: Sequence[Document]) -> tuple[list[Document], list[Counter[str]], Counter[str]]:
    """The documents of some rows, the size of each, and what was repaired. Runs in any process."""
    documents, sizes, repairs = [], [], Counter[str]()
    for row in rows:
        paragraphs, repaired = split_paragraphs(row["text"])
        repairs.update(repaired)
        sizes.append(size(paragraphs))
        document = {key: value for key, value in row.items() if key != "text"} | {
            "title": mend(row["title"])[0],
            "headings": [mend(heading)[0] for heading in row.get("headings", ())],
            "paragraphs": paragraphs,
            "identity": blake2b("\n".join(paragraphs).encode(), digest_size=8).hexdigest(),
            "lost": {},
            "gone": "",
        }
        documents.append({**document, "words": sum(map(count_words, body(document)))})
    return documents, sizes, repairs


def body(document: Document) -> list[str]:
    """The paragraphs that are no headings."""
    headings = set(document["headings"])
    return [text for text in document["paragraphs"] if text not in headings]


def sift(
    documents: Iterable[Document],
    steps: Sequence[tuple[Step, Judge]],
    min_words: int,
    ledger: Ledger,
    spread: Spread = map,
) -> Iterator[Document]:
    """The documents that still have ``min_words`` after all ``steps``, without the paragraphs that these took.

    Judges look at batches as they come, wherever ``spread`` takes them, and decide here, in order. What they look at
    is what the pass before has left, so steps on documents come before those on paragraphs.
    """
    units = [step.unit for step, _ in steps]
    assert units == sorted(units, key=lambda unit: unit == "paragraph"), "documents are whole before paragraphs go"
    looks = [(step.unit, judge.look) for step, judge in steps]
    batches, sent = tee(in_batches(documents, lambda row: sum(map(len, row["paragraphs"])), BATCH_CHARACTERS))
    for batch, findings in zip(batches, spread(partial(_look, looks), sent), strict=True):
        alive = {number: _Standing(document) for number, document in enumerate(batch)}
        for (step, judge), found in zip(steps, findings, strict=True):
            take = _take_paragraphs if step.unit == "paragraph" else _take_documents
            take(alive, step.reason, judge, found, ledger)
        for standing in alive.values():
            document = standing.rest()
            if document["words"] >= min_words:
                yield document
            else:
                lost: dict[str, Any] = document["lost"]
                reason = max(lost, key=lambda name: lost[name]) if lost else "short"
                ledger.drop("document", document, "\n".join(body(document)) or document["gone"], reason)


def _look(looks: Sequence[tuple[str, Callable[[Sequence[str]], Any]]], batch: Sequence[Document]) -> list[list[Any]]:
    """What each judge finds in each document, or in each paragraph of its body. Runs in any process."""
    bodies = [body(document) for document in batch]
    texts = ["\n".join(document["paragraphs"]) for document in batch]
    findings: list[list[Any]] = []
    for unit, look in looks:
        if unit == "paragraph":
            found = iter(look([text for texts in bodies for text in texts]))
            findings.append([[next(found) for _ in texts] for texts in bodies])
        elif unit == "document":
            findings.append(list(look(texts)))
        else:
            found = iter(look([f"{d['title']}\n{text}" for d, text in zip(batch, texts, strict=True) if d["title"]]))
            findings.append([next(found) if document["title"] else None for document in batch])
    return findings


class _Standing:
    """A document, and the places in its body that no step of this pass has taken."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.body = body(document)
        self.places = list(range(len(self.body)))

    def rest(self) -> Document:
        """The document without what was taken, and without headings left over nothing."""
        if len(self.places) < len(self.body):
            kept: list[str] = []
            place, left, headings = 0, set(self.places), set(self.document["headings"])
            for text in self.document["paragraphs"]:
                heading = text in headings
                if heading or place in left:
                    kept.append(text)
                place += not heading
            while kept and kept[-1] in headings:
                kept.pop()
            self.document["paragraphs"] = kept
        return self.document


def _take_documents(
    alive: dict[int, _Standing], reason: str, judge: Judge, found: Sequence[Any], ledger: Ledger
) -> None:
    judged = [number for number in alive if found[number] is not None]
    for number, out in zip(judged, judge.decide([found[number] for number in judged]), strict=True):
        if out:
            document = alive.pop(number).document
            ledger.drop("document", document, "\n".join(document["paragraphs"]), reason)


def _take_paragraphs(
    alive: dict[int, _Standing], reason: str, judge: Judge, found: Sequence[Any], ledger: Ledger
) -> None:
    """Headings are judged by none: they go where nothing follows them."""
    verdicts = iter(judge.decide([found[n][place] for n, standing in alive.items() for place in standing.places]))
    for standing in alive.values():
        document, texts = standing.document, standing.body
        out = [place for place in standing.places if next(verdicts)]
        if out:
            for place in out:
                ledger.drop("paragraph", document, texts[place], reason)
            document["gone"] = document["gone"] or "\n".join(texts[place] for place in out)[:LONGEST_LINE]
            lost = sum(count_words(texts[place]) for place in out)
            document["lost"][reason] = document["lost"].get(reason, 0) + lost
            document["words"] -= lost
            gone = set(out)
            standing.places = [place for place in standing.places if place not in gone]
