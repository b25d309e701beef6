"""Train the subword tokenizer, or take one that exists, and measure it on text it never saw.

Reads ``filter/train.jsonl`` and ``filter/valid.jsonl``; writes a folder that
``AutoTokenizer.from_pretrained`` loads, and ``measures.json``.
"""

import logging
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from pipeline.artifacts import Run, write_json
from pipeline.console import log, progress
from pipeline.errors import UsageError
from pipeline.model.checkpoints import TOKENIZER_FILES, folder_of, load_tokenizer
from pipeline.program import stage_main
from pipeline.text.documents import read_jsonl
from pipeline.text.tokenization import automatic_size, count_words, save, train
from pipeline.text.tokenizer_measures import measure


def work(run: Run, out: Path) -> dict[str, Any]:
    settings = run.config.tokenizer
    if settings.existing:
        tokenizer, counts = _taken(settings.existing, out)
    else:
        tokenizer, counts = _learned(run, out)
    measures = {"this": _measured(tokenizer, run)}
    for path in settings.compare:
        measures[path] = _measured(_load(path), run)
    write_json(out / "measures.json", measures)
    return {**counts, "held_out": measures}


def _taken(name: str, out: Path) -> tuple[Tokenizer, dict[str, Any]]:
    taken = load_tokenizer(folder_of(name, TOKENIZER_FILES))
    log.info("tokenizer: that of %s, %s entries", name, f"{len(taken):,}")
    taken.save_pretrained(out)
    return Tokenizer.from_file(str(out / "tokenizer.json")), {"vocab_size": len(taken), "taken_from": name}


def _learned(run: Run, out: Path) -> tuple[Tokenizer, dict[str, Any]]:
    settings = run.config.tokenizer
    rows = progress(read_jsonl(run.input("filter/train.jsonl")), desc="counting words", unit=" documents")
    words, total = count_words(row["text"] for row in rows)
    log.info("tokenizer: %s words read, %s different pieces of text between cuts", f"{total:,}", f"{len(words):,}")
    asked, reason = (
        automatic_size(total) if settings.vocab_size == "auto" else (settings.vocab_size, "tokenizer.vocab_size")
    )
    tokenizer = train(words, settings.algorithm, asked)
    entries = tokenizer.get_vocab_size()
    if entries < asked:
        reason = f"{asked:,} by {reason}, of which the text supports {entries:,}"
    level = logging.WARNING if entries < asked and settings.vocab_size != "auto" else logging.INFO
    log.log(level, "tokenizer: %s, %s entries: %s", settings.algorithm, f"{entries:,}", reason)
    save(tokenizer, out)
    return tokenizer, {"words": total, "vocab_size": entries, "vocab_size_reason": reason}


def _measured(tokenizer: Tokenizer, run: Run) -> dict[str, Any]:
    rows = progress(read_jsonl(run.input("filter/valid.jsonl")), desc="measuring", unit=" documents")
    figures = measure(tokenizer, (row["text"] for row in rows))
    log.info("tokenizer: held out: " + ", ".join(f"{name} {value}" for name, value in figures.items()))
    return figures


def _load(path: str) -> Tokenizer:
    if not Path(path).is_dir():
        raise UsageError(f"tokenizer.compare: {path} is not a folder: name one that holds a tokenizer")
    tokenizer: Tokenizer = load_tokenizer(Path(path), needed=()).backend_tokenizer
    return tokenizer


if __name__ == "__main__":
    stage_main("tokenizer", work)
