"""Clean, deduplicate and split the documents.

Reads   ``extract/*.jsonl``; ``fetch/weights.json`` of the corpora, in their order; ``fetch/labelled/{dev,test}.jsonl``,
        where there are any, for what the corpus must not contain.
Writes  ``train.jsonl`` and ``valid.jsonl``: ``id``, ``title``, ``text``, ``source`` and what else extract knows of a
        document. ``dropped.jsonl``: for each reason some of the documents and paragraphs that it took.
"""

import json
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pipeline.artifacts import Run
from pipeline.console import log, progress
from pipeline.errors import UsageError
from pipeline.parallel import cores, spreading
from pipeline.program import stage_main
from pipeline.text import contamination, duplicates, language, mix, script, stubs
from pipeline.text.documents import Document, read_jsonl, write_jsonl
from pipeline.text.judge import Judge
from pipeline.text.sieve import Ledger, Step, body, opened, sift

REPETITIVE = 0.1  # compressed to less than this share of its size, a text says one thing over and over; prose has 0.3
WORTH_SPREADING = 4_000_000  # bytes of documents, from which starting processes takes less time than they save


def work(run: Run, out: Path) -> dict[str, Any]:
    settings = run.config.filter
    ledger, passes = Ledger(), list(_passes(run))  # a wrong setting is said before the corpus is read
    current, following = out / "current.jsonl", out / "following.jsonl"
    size = sum(path.stat().st_size for path in run.input("extract").glob("*.jsonl"))
    workers = cores(settings.workers) if size >= WORTH_SPREADING else 1
    with spreading(workers, preload="pipeline.text.duplicates") as spread:
        write_jsonl(current, opened(_extracted(run), ledger, spread))
        for passing in passes:
            judges = [(step, step.learn(_paragraphs(current))) for step in passing]
            names = ", ".join(step.reason for step in passing)
            documents = progress(read_jsonl(current), desc=f"filter: {names}", unit=" documents")
            write_jsonl(following, sift(documents, judges, settings.min_words, ledger, spread))
            following.replace(current)
    kept = mix.write_splits(current, out, settings, _weights(run))
    current.unlink()
    write_jsonl(out / "dropped.jsonl", sorted(ledger.samples, key=lambda row: (row["unit"], row["reason"])))
    counts = {
        "read": _table(ledger.read),
        "repaired": dict(sorted(ledger.repaired.items())),
        "dropped": {unit: dict(reasons.most_common()) for unit, reasons in ledger.dropped.items()},
        "kept": {name: _table(sizes) for name, sizes in kept.items()},
    }
    _report(counts)
    return counts


def _passes(run: Run) -> Iterator[tuple[Step, ...]]:
    """The recipe. A pass reads the documents once; its steps learn from what the pass before has left.

    UsageError: a setting names a script or a file that does not exist.
    """
    settings = run.config.filter
    cap, least = settings.stub_cap, settings.min_script_share
    named = None if settings.scripts == "auto" else script.named_scripts(settings.scripts)

    def foreign_script(paragraphs: Iterable[str]) -> Judge:
        scripts = _scripts(run, paragraphs) if named is None else named
        return _each(partial(_foreign_script, scripts, least))

    yield (
        Step("duplicate", lambda _: duplicates.exact_duplicates(), "document"),
        Step("repetitive", lambda _: _each(_repetitive)),
        Step("script", foreign_script),
        Step("duplicate", lambda _: duplicates.exact_duplicates(duplicates.MIN_WORDS)),
    )
    if cap is not None:
        yield (Step("stub", lambda _: stubs.stub_judge(cap), "article"),)
    if settings.language_model:
        judge = language.fasttext_judge(settings.language_model, run.config.language)
        yield (Step("language", lambda _: judge),)
    elif settings.language_check:
        yield (Step("language", language.learn_foreign),)
    yield (
        Step("near_duplicate", lambda _: duplicates.near_duplicates(), "document"),
        Step("near_duplicate", lambda _: duplicates.near_duplicates()),
        Step("contamination", lambda _: contamination.learn_contamination(_labelled(run))),
    )


# -- what is read


def _extracted(run: Run) -> Iterator[Document]:
    """As the corpora are configured, the dump first: what two hold is the first one's, and has its weight."""
    for name in _weights(run):
        for path in sorted(run.input("extract").glob(f"{name}.*jsonl")):
            yield from progress(read_jsonl(path), desc=f"filter: mend {path.stem}", unit=" documents")


def _paragraphs(current: Path) -> Iterator[str]:
    for document in read_jsonl(current):
        yield from body(document)


def _labelled(run: Run) -> Iterator[str]:
    for split in ("dev", "test"):
        path = run.input(f"fetch/labelled/{split}.jsonl")
        if path.exists():
            yield from (row["text"] for row in read_jsonl(path))


def _weights(run: Run) -> dict[str, float]:
    weights: dict[str, float] = json.loads(run.input("fetch/weights.json").read_text("utf-8"))
    return weights


# -- judges that need no module of their own


def _each(judge: Callable[[str], bool]) -> Judge:
    return Judge(partial(_one_by_one, judge))


def _one_by_one(judge: Callable[[str], bool], texts: Sequence[str]) -> list[bool]:
    return [judge(text) for text in texts]


def _repetitive(text: str) -> bool:
    data = text.encode()
    return len(data) >= 200 and len(zlib.compress(data, 1)) < REPETITIVE * len(data)


def _foreign_script(scripts: tuple[str, ...], least: float, text: str) -> bool:
    return script.script_share(text, scripts) < least


def _scripts(run: Run, paragraphs: Iterable[str]) -> tuple[str, ...]:
    """Those of the language; or, where CLDR does not know it or is wrong, of most of the corpus."""
    expected = script.expected_scripts(run.config.language)
    some = " ".join(language.even_sample(paragraphs))
    if expected and script.script_share(some, expected) > 0.2:
        return expected
    found = script.common_scripts(some)
    if expected and found:
        log.warning(
            "filter: %s is expected in %s, but most of the corpus is in %s, which is kept: if that is wrong, set "
            "filter.scripts=[%s]",
            *(run.config.language, "/".join(expected), "/".join(found), expected[0]),
        )
        return found
    return expected or found


# -- what is told


def _table(sizes: dict[str, Counter[str]]) -> dict[str, Any]:
    total: Counter[str] = Counter(documents=0, words=0, bytes=0)
    for row in sizes.values():
        total.update(row)
    return {**total, "by_source": {name: dict(row) for name, row in sorted(sizes.items())}}


def _report(counts: dict[str, Any]) -> None:
    read, train, valid = counts["read"], counts["kept"]["train"], counts["kept"]["valid"]
    dropped = counts["dropped"].get("documents", {})
    log.info("filter: %s documents, %s words read", f"{read['documents']:,}", f"{read['words']:,}")
    for unit, reasons in counts["dropped"].items():
        log.info("filter: %s dropped: %s", unit, ", ".join(f"{n:,} {reason}" for reason, n in reasons.items()))
    for name, row in (("train", train), ("valid", valid)):
        log.info("filter: %s documents, %s words kept for %s", f"{row['documents']:,}", f"{row['words']:,}", name)
    if not train["documents"] or not valid["documents"]:
        why = f" (most dropped as: {max(dropped, key=lambda reason: int(dropped[reason]))})" if dropped else ""
        raise UsageError(
            f"of {read['documents']:,} documents {train['documents']:,} are left to train on, {valid['documents']:,} "
            f"to validate{why}: add text in corpus.extra, check `language`, or relax filter.*"
        )


if __name__ == "__main__":
    stage_main("filter", work)
