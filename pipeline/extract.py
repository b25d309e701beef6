"""Turn wikitext and extra corpora into plain documents.

Reads   ``fetch/sources.json``: a list of {name, kind: dump | text | jsonl | dataset, path, sha256}.
Writes  ``extract/<name>.00000.jsonl`` … for a dump, ``extract/<name>.jsonl`` for any other corpus, whose name has no
        dot: ``id``, ``title``, ``text``, ``source`` (the corpus' name); for articles also ``headings``, ``categories``
        and ``links``.

``text`` holds one paragraph, list item or section heading a line, free of markup; ``headings`` lists the lines
that are headings. Two documents are the same only where both ``source`` and ``id`` are.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import chain, count, islice
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.artifacts import Run, write_json
from pipeline.config import Config
from pipeline.console import log, progress
from pipeline.errors import UsageError
from pipeline.parallel import Spread, cores, spreading
from pipeline.program import stage_main
from pipeline.text import dump, habits, mediawiki, wikitext
from pipeline.text.documents import Document, read_jsonl
from pipeline.text.plain import DOCUMENTS
from pipeline.text.wikipedias import same_wikipedia

SHARD_CHUNKS = 64  # of about a megabyte of XML each
LEARNING_CHUNKS = 16  # from which a wiki's habits are learned; all of a small one

Counts = Counter[str]


class Line(NamedTuple):
    """A document as it will be written. Made where the document was, so that processes pass on and read little."""

    id: str
    words: int
    text_bytes: int
    json: bytes


Batch = tuple[Counts, list[Line]]
"""What became of some pages or rows, by reason, and the documents that some of them are."""


def line(document: Document) -> Line:
    text, row = document["text"], json.dumps(document, ensure_ascii=False)
    return Line(document["id"], len(text.split()), len(text.encode("utf-8")), row.encode("utf-8") + b"\n")


def work(run: Run, out: Path) -> dict[str, Any]:
    """Extract every source; the counts of each, by its name."""
    sources = json.loads(run.input("fetch/sources.json").read_text("utf-8"))
    counts: dict[str, Counts] = {}
    with spreading(cores(run.config.extract.workers), preload="pipeline.text.wikitext") as spread:
        for source in sources:
            name, path = source["name"], Path(source["path"])
            if source["kind"] == "dump":
                counts[name] = _dump(name, path, run.config, out, spread)
            else:
                counts[name] = _corpus(name, DOCUMENTS[source["kind"]](path), out)
            log.info("extract: %s: %s", name, _sentence(counts[name]))
            if source["kind"] == "text" and _seems_wrapped(counts[name]):
                log.warning(
                    "extract: %s: each of its lines counts as a document, and blank ones part them into groups, "
                    "as where a book is wrapped: write a document a line, or .jsonl",
                    name,
                )
    if not any(kept["documents"] for kept in counts.values()):
        raise UsageError("no source holds a document: check corpus.dump and corpus.extra")
    return {name: dict(sorted(each.items())) for name, each in counts.items()}


def _seems_wrapped(counts: Counts) -> bool:
    """Whether blank lines part the others into groups: neither hardly any, nor one between each two."""
    blank, others = counts["empty"], counts["documents"]
    return others > 20 and others / 20 < blank < others / 1.5


def _sentence(counts: Counts) -> str:
    said = ("pages", "documents", "words", "text_bytes")
    read = f"{counts['pages']:,} pages read, " if counts["pages"] else ""
    unused = ", ".join(f"{n:,} {reason.replace('_', ' ')}" for reason, n in counts.most_common() if reason not in said)
    return f"{read}{counts['documents']:,} documents kept ({counts['words']:,} words); not used: {unused or 'none'}"


# -- dumps


def _dump(name: str, path: Path, config: Config, out: Path, spread: Spread) -> Counts:
    """Write the articles of a dump, in shards; those that an interrupted attempt finished stay as they are."""
    info, chunks = dump.read(path, allow_truncated=config.corpus.allow_truncated, spread=spread)
    languages = same_wikipedia(config.language)
    if info.dbname and info.language not in languages:
        log.warning("extract: %s says that it is %s, but the language is `%s`", path, info.dbname, config.language)
    chunks, site = _site(chunks, (*languages, *same_wikipedia(info.language)), info, spread)
    counts, seen = Counts(), _Seen()
    for number in count():
        shard = out / f"{name}.{number:05}.jsonl"
        if not _counts_file(shard).exists():
            break
        counts += _kept_counts(shard)
        for row in read_jsonl(shard):
            seen.add(int(row["id"]))
    batches = spread(partial(_articles, name, site), islice(chunks, number * SHARD_CHUNKS, None))
    batches = (_unseen(batch, seen) for batch in progress(batches, desc=f"extract {name}", unit=" MB"))
    for first in batches:
        counts += _write(shard, chain([first], islice(batches, SHARD_CHUNKS - 1)))
        number += 1
        shard = out / f"{name}.{number:05}.jsonl"
    return counts


def _site(
    chunks: Iterator[bytes], languages: tuple[str, ...], info: dump.SiteInfo, spread: Spread
) -> tuple[Iterator[bytes], mediawiki.Site]:
    """What the wiki calls things, partly learned from the first chunks; and all chunks, those included."""
    first = list(islice(chunks, LEARNING_CHUNKS))
    known = mediawiki.site(languages, info.namespaces)
    learned = habits.learn(spread(partial(habits.habits, site=known), first))
    site = mediawiki.site(languages, info.namespaces, learned.closing(), learned.disambiguation_templates())
    return chain(first, chunks), site


def _articles(name: str, site: mediawiki.Site, chunk: bytes) -> Batch:
    """The articles of a chunk of a dump. Runs in any process."""
    counts, lines = Counts(), []
    for page in dump.pages(chunk):
        counts["pages"] += 1
        if page.problem:
            counts[page.problem] += 1
        elif not site.is_article(page.title, page.namespace):
            counts["other_namespaces"] += 1
        elif page.redirect:
            counts["redirect"] += 1
        elif page.model != "wikitext":
            counts["other_content_models"] += 1
        else:
            article = wikitext.article(page.title, page.text, site)
            if article.kind != "article":
                counts[article.kind] += 1
                continue
            document = {
                "id": str(page.id),
                "title": page.title,
                "text": article.text,
                "source": name,
                "headings": article.headings,
                "categories": article.categories,
                "links": article.links,
            }
            lines.append(line(document))
    return counts, lines


class _Seen:
    """Which page ids there were: one bit each, so that the largest wiki costs some megabytes."""

    def __init__(self) -> None:
        self.bits = bytearray()

    def add(self, number: int) -> bool:
        """Note ``number``; False where it was there before."""
        byte, bit = number >> 3, 1 << (number & 7)
        if byte >= len(self.bits):
            self.bits.extend(bytes(max(byte + 1, 2 * len(self.bits)) - len(self.bits)))
        new = not self.bits[byte] & bit
        self.bits[byte] |= bit
        return new


def _unseen(batch: Batch, seen: _Seen) -> Batch:
    counts, lines = batch
    new = [each for each in lines if seen.add(int(each.id))]
    counts["duplicate_id"] += len(lines) - len(new)
    return counts, new


# -- corpora that are plain text already


def _corpus(name: str, rows: Iterable[Document | str], out: Path) -> Counts:
    file = out / f"{name}.jsonl"
    if _counts_file(file).exists():
        return _kept_counts(file)

    def batches() -> Iterator[Batch]:
        for row in progress(rows, desc=f"extract {name}", unit=" documents"):
            yield (Counts([row]), []) if isinstance(row, str) else (Counts(), [line({**row, "source": name})])

    return _write(file, batches())


# -- files


def _write(path: Path, batches: Iterable[Batch]) -> Counts:
    """Write documents as JSON lines; the file has its name only once it is whole, and then its counts follow."""
    counts, unfinished = Counts(), path.with_suffix(".unfinished")
    with unfinished.open("wb") as file:
        for reasons, lines in batches:
            counts += reasons
            for each in lines:
                counts["documents"] += 1
                counts["words"] += each.words
                counts["text_bytes"] += each.text_bytes
                file.write(each.json)
    unfinished.replace(path)
    _counts_file(path).parent.mkdir(exist_ok=True)
    write_json(_counts_file(path), counts)
    return counts


def _counts_file(path: Path) -> Path:
    """What a later attempt knows a finished file by. It is needed until the stage is finished."""
    return path.parent / "counts" / path.with_suffix(".json").name


def _kept_counts(path: Path) -> Counts:
    return Counts(json.loads(_counts_file(path).read_text("utf-8")))


if __name__ == "__main__":
    stage_main("extract", work)
