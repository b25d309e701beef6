"""Tokenizers side by side: what they make of held-out text, and what they cost.

    python -m benchmarks.tokenizer [ALGORITHM ...] [--repeat 100] [--one-in N]

Reads the corpora under ``AKSHARA_DATA`` and prints a table a language. Held out is a
tenth of the documents of the named sources, by hash; everything else trains. ``--repeat`` times training on that
many MB of text instead, made by drawing the training words anew, one in ten with the end of another word, so that
the number of different words grows as it does with more text. ``--one-in`` reads every Nth document alone.
"""

import argparse
import hashlib
import json
import multiprocessing
import random
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import get_args

from benchmarks.data import DATA
from pipeline.program import peak_memory_bytes
from pipeline.text.encoded import encode
from pipeline.text.tokenization import Algorithm, count_words, train
from pipeline.text.tokenizer_measures import measure

LANGUAGES = {
    "Odia": ("or_*", ("or_wikipedia_partial", "or_common_voice")),
    "Somali": ("so_*", ("so_wikipedia_20250901",)),
}
SIZE = 16_000
FIGURES = ("fertility", "bytes_per_token", "cut_clusters", "whole_words", "unused", "renyi_efficiency", "round_trip")


def documents(pattern: str) -> Iterator[tuple[str, str]]:
    """(source, text) of every document."""
    for path in sorted((DATA / "corpora").glob(pattern)):
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                yield path.stem, json.loads(line)["text"] if path.suffix == ".jsonl" else line.rstrip("\n")


def split(pattern: str, sources: tuple[str, ...], one_in: int = 1) -> tuple[list[str], list[str]]:
    training: list[str] = []
    held_out: list[str] = []
    for source, text in islice(documents(pattern), 0, None, one_in):
        chosen = source in sources and hashlib.sha256(text.encode()).digest()[0] < 26
        (held_out if chosen else training).append(text)
    return training, held_out


def row(algorithm: Algorithm, language: str, one_in: int) -> str:
    training, held_out = split(*LANGUAGES[language], one_in)
    clock = time.perf_counter()
    tokenizer = train(count_words(training)[0], algorithm, SIZE)
    seconds, memory = time.perf_counter() - clock, peak_memory_bytes()
    figures = measure(tokenizer, held_out)
    returned = measure(tokenizer, training)["round_trip"]
    clock = time.process_time()
    with TemporaryDirectory() as folder:
        counts = encode(training, tokenizer, Path(folder), "train")
        speed = counts["bytes"] / 1e6 / (time.process_time() - clock)
        size = sum(path.stat().st_size for path in Path(folder).iterdir()) / counts["tokens"]
    cells = [
        *(figures[name] for name in FIGURES),
        returned,
        round(seconds, 1),
        memory >> 20,
        round(speed, 1),
        round(size, 2),
    ]
    return f"| {algorithm} | " + " | ".join(map(str, cells)) + " |"


def repeated(megabytes: int) -> Iterator[str]:
    words = [word for text in split(*LANGUAGES["Odia"])[0] for word in text.split()]
    draw = random.Random(0)  # noqa: S311 -- text, not secrets
    written = 0
    while written < megabytes * 1_000_000:
        text = " ".join(
            word[:4] + draw.choice(words)[-4:] if draw.random() < 0.1 else word for word in draw.choices(words, k=300)
        )
        written += len(text.encode())
        yield text


def training_row(algorithm: Algorithm, megabytes: int) -> str:
    clock = time.perf_counter()
    words, total = count_words(repeated(megabytes))
    counted = time.perf_counter()
    train(words, algorithm, SIZE)
    cells = (
        f"{total:,}",
        f"{len(words):,}",
        round(counted - clock),
        round(time.perf_counter() - counted),
        peak_memory_bytes() >> 20,
    )
    return f"| {algorithm} | " + " | ".join(map(str, cells)) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("algorithm", nargs="*", choices=[[], *get_args(Algorithm)])
    parser.add_argument("--repeat", type=int, metavar="MB")
    parser.add_argument("--one-in", type=int, default=1, metavar="N")
    arguments = parser.parse_args()
    algorithms = arguments.algorithm or get_args(Algorithm)
    # a fresh process each, for its own peak of memory
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), max_tasks_per_child=1) as fresh:
        header: tuple[str, ...]
        if arguments.repeat:
            print(f"Odia, {arguments.repeat} MB, {SIZE:,} entries\n")
            header = ("algorithm", "words", "different", "s to make and count", "s to train", "MB of memory")
            print("| " + " | ".join(header) + " |\n|" + "---|" * len(header))
            for algorithm in algorithms:
                print(fresh.submit(training_row, algorithm, arguments.repeat).result(), flush=True)
            return
        for language in LANGUAGES:
            print(f"\n{language}, {SIZE:,} entries\n")
            header = (
                "algorithm",
                *FIGURES,
                "round_trip of training text",
                "train s",
                "MB of memory",
                "encode MB/s a core",
                "bytes stored a token",
            )
            print("| " + " | ".join(header) + " |\n|" + "---|" * len(header))
            for algorithm in algorithms:
                print(fresh.submit(row, algorithm, language, arguments.one_in).result(), flush=True)


if __name__ == "__main__":
    main()
