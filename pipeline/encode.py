"""Turn text into token ids.

Reads ``filter/train.jsonl``, ``filter/valid.jsonl`` and ``tokenizer/``; writes ``train.tokens.npy``,
``train.offsets.npy`` and the same for valid: see ``pipeline.text.encoded``.
"""

import os
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from transformers import AutoTokenizer

from pipeline.artifacts import Run
from pipeline.console import log, progress
from pipeline.program import stage_main
from pipeline.text.documents import read_jsonl
from pipeline.text.encoded import encode


def work(run: Run, out: Path) -> dict[str, Any]:
    if run.config.encode.workers != "auto":
        os.environ["RAYON_NUM_THREADS"] = str(run.config.encode.workers)  # read when `tokenizers` first encodes
    tokenizer = Tokenizer.from_file(str(run.input("tokenizer/tokenizer.json")))
    tokenizer.no_truncation()  # a tokenizer that came with a model may hold to its length
    tokenizer.no_padding()
    separator = AutoTokenizer.from_pretrained(run.input("tokenizer")).sep_token
    counts: dict[str, Any] = {}
    for split in ("train", "valid"):
        rows = progress(read_jsonl(run.input(f"filter/{split}.jsonl")), desc=f"encoding {split}", unit=" documents")
        about: dict[str, Any] = encode((row["text"] for row in rows), tokenizer, out, split, separator)
        about["tokens_per_word"] = round(about["tokens"] / max(1, about["words"]), 4)
        about["bytes_per_token"] = round(about["bytes"] / max(1, about["tokens"]), 4)
        counts[split] = about
        log.info(
            "encode: %s: %s documents, %s tokens, %.2f a word",
            split,
            f"{about['documents']:,}",
            f"{about['tokens']:,}",
            about["tokens_per_word"],
        )
    return counts


if __name__ == "__main__":
    stage_main("encode", work)
