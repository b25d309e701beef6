"""Documents pass through steps; each step may take a paragraph or a whole document out, and has to say why.

A step first learns from all that the passes before have left, then judges batch by batch. Between passes the
documents lie on disk, so that memory does not grow with the corpus.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import blake2b
from typing import Any, Literal, NamedTuple

from pipeline.text.documents import Document
from pipeline.text.script import count_words
from pipeline.text.unicode import mend

SAMPLES = 50  # of the documents, and as many of the paragraphs, that a reason took: enough to see what it does
LONGEST_LINE = 5_000  # characters; longer ones are cut at the end of a sentence
BATCH_CHARACTERS = 500_000
_SENTENCE_ENDS = ("। ", "॥ ", ". ", "? ", "! ", "۔ ", "။", "。", "་ ", "። ", " ")

Judge = Callable[[Sequence[str]], list[bool]]


class Step(NamedTuple):
    reason: str
    learn: Callable[[Iterable[str]], Judge]  # from the paragraphs of the pass before; one verdict a text, True: out
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


def opened(rows: Iterable[Document], ledger: Ledger) -> Iterator[Document]:
    """Rows of ``extract`` with mended ``paragraphs`` in place of ``text``, and what the steps and the split go by.

    ``identity`` is the hash of the mended text: the same in every run, whichever corpora and settings there are,
    and for two copies of one document, whichever of them stays. ``lost`` will count the words dropped, by reason, and
    ``gone`` show the first of them.
    """
    for row in rows:
        paragraphs, repaired = split_paragraphs(row["text"])
        ledger.repaired.update(repaired)
        ledger.read[row["source"]].update(size(paragraphs))
        headings = [mend(heading)[0] for heading in row.get("headings", ())]
        about = {key: value for key, value in row.items() if key != "text"}
        title = mend(row["title"])[0]
        digest = blake2b("\n".join(paragraphs).encode(), digest_size=8).hexdigest()
        yield {
            **about,
            "title": title,
            "headings": headings,
            "paragraphs": paragraphs,
            "identity": digest,
            "lost": {},
            "gone": "",
        }


def body(document: Document) -> list[str]:
    """The paragraphs that are no headings."""
    return [text for text in document["paragraphs"] if text not in document["headings"]]


def sift(
    documents: Iterable[Document], steps: Sequence[tuple[Step, Judge]], min_words: int, ledger: Ledger
) -> Iterator[Document]:
    """The documents that still have ``min_words`` after all ``steps``, without the paragraphs that these took."""
    for batch in _batches(documents):
        alive = batch
        for step, judge in steps:
            alive = (_judge_paragraphs if step.unit == "paragraph" else _judge_documents)(alive, step, judge, ledger)
        for document in alive:
            text = body(document)
            if sum(map(count_words, text)) >= min_words:
                yield document
            else:
                lost: dict[str, Any] = document["lost"]
                reason = max(lost, key=lambda name: lost[name]) if lost else "short"
                ledger.drop("document", document, "\n".join(text) or document["gone"], reason)


def _judge_documents(batch: list[Document], step: Step, judge: Judge, ledger: Ledger) -> list[Document]:
    title = step.unit == "article"
    judged = [document for document in batch if document["title"] or not title]
    texts = ["\n".join([*[document["title"]] * title, *document["paragraphs"]]) for document in judged]
    out = {id(document) for document, verdict in zip(judged, judge(texts), strict=True) if verdict}
    for document in judged:
        if id(document) in out:
            ledger.drop("document", document, "\n".join(document["paragraphs"]), step.reason)
    return [document for document in batch if id(document) not in out]


def _judge_paragraphs(batch: list[Document], step: Step, judge: Judge, ledger: Ledger) -> list[Document]:
    """Headings are judged by none: they go where nothing follows them."""
    bodies = [body(document) for document in batch]
    verdicts = iter(judge([text for texts in bodies for text in texts]))
    for document, texts in zip(batch, bodies, strict=True):
        out = {i for i, verdict in zip(range(len(texts)), verdicts, strict=False) if verdict}
        if out:
            for i in sorted(out):
                ledger.drop("paragraph", document, texts[i], step.reason)
            document["gone"] = document["gone"] or "\n".join(texts[i] for i in sorted(out))[:LONGEST_LINE]
            lost = sum(count_words(texts[i]) for i in out)
            document["lost"][step.reason] = document["lost"].get(step.reason, 0) + lost
            document["paragraphs"] = _without(document, out)
    return batch


def _without(document: Document, out: set[int]) -> list[str]:
    """The paragraphs but for those whose place among the ``body`` is in ``out``, and headings left over nothing."""
    kept: list[str] = []
    place = 0
    for text in document["paragraphs"]:
        heading = text in document["headings"]
        if heading or place not in out:
            kept.append(text)
        place += not heading
    while kept and kept[-1] in document["headings"]:
        kept.pop()
    return kept


def _batches(documents: Iterable[Document]) -> Iterator[list[Document]]:
    batch: list[Document] = []
    characters = 0
    for document in documents:
        batch.append(document)
        characters += sum(map(len, document["paragraphs"]))
        if characters >= BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch
