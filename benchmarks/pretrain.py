"""Pretraining beside the plain recipe: tokens a second, loss and memory, alternately on one machine.

    python -m benchmarks.pretrain configs/or-local.yaml --seconds 120 --rounds 3 --judge
    python -m benchmarks.pretrain configs/or-local.yaml --seconds 200 --plain-seconds 1200

The same tokenizer and text, 6 layers × 256, blocks of 128. Our seconds count the start vectors, the trial of the plan
and compilation; the plain recipe's (benchmarks/plain_mlm.py) count training alone. Our tokens a second are the median
over the lines of the log: of training as it goes once it is compiled. Both models are measured by the plain recipe's
own validation. Everything lies under runs/benchmark-pretrain.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

import numpy as np
import torch
import transformers
from transformers import AutoModelForMaskedLM, AutoTokenizer

from benchmarks.flops import feed_forward, flops_a_token
from benchmarks.judging import cross_validated, right_when_left_out
from benchmarks.plain_mlm import packed, valid_nats
from pipeline import config
from pipeline.artifacts import Run
from pipeline.metrics.bootstrap import draws
from pipeline.metrics.comparison import paired
from pipeline.model.masked_lm import SIZES
from pipeline.training.precision import product_rate
from pipeline.transfer.bench import open_bench
from pipeline.transfer.given import FOLDS

RUN = Path("runs/benchmark-pretrain")
PLAIN = RUN / "plain"
LENGTH = 128  # of a block
SIZE = "small"
ROWS = 4096  # tokens in a micro-batch


def write_texts() -> None:
    """A document a line, as the plain recipe reads them."""
    for split in ("train", "valid"):
        with (RUN / f"{split}.txt").open("w", encoding="utf-8") as out:
            for line in (RUN / "filter" / f"{split}.jsonl").open(encoding="utf-8"):
                out.write(" ".join(json.loads(line)["text"].split()) + "\n")


def ours(config: str, seconds: float) -> dict[str, Any]:
    minutes = f"pretrain.max_minutes={seconds / 60}"
    _run("-m", "pipeline.pretrain", config, f"run={RUN.name}", f"model.size={SIZE}", minutes, "--force")
    manifest = json.loads((RUN / "pretrain/manifest.json").read_text("utf-8"))
    tokenizer = AutoTokenizer.from_pretrained(RUN / "tokenizer")
    valid = packed(RUN / "valid.txt", tokenizer, LENGTH)[:512]
    nats = valid_nats(AutoModelForMaskedLM.from_pretrained(RUN / "pretrain"), valid, tokenizer)
    counts = manifest["counts"]
    log = [json.loads(line) for line in (RUN / "pretrain/metrics.jsonl").open(encoding="utf-8")]
    return {
        "tokens_per_s": median(line["tokens_per_s"] for line in log if "tokens_per_s" in line),
        "valid_nats": nats,
        "peak_memory_bytes": manifest["peak_memory_bytes"],
        "seconds": manifest["seconds"],
        "tokens": counts["tokens"],
        "parameters": counts["parameters"],
    }


def plain(seconds: float) -> dict[str, Any]:
    names = (RUN / name for name in ("tokenizer", "train.txt", "valid.txt"))
    printed = _run("benchmarks/plain_mlm.py", *map(str, names), f"--seconds={seconds}", f"--out={PLAIN}")
    figures: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return figures | {"tokens": figures["tokens_per_s"] * figures["seconds"]}


def judged(path: str) -> str:
    """What networks that start from either model are right on, each seed on a fold of train and dev of its own."""
    run = Run(config.load(path, [f"run={RUN.name}"]), path)
    transformers.logging.set_verbosity_error()
    bench = cross_validated(open_bench(run, RUN / "judged")[0])
    theirs, own = (
        [right_when_left_out(bench._replace(checkpoint=body), fold, [fold]) for fold in range(FOLDS)]
        for body in (PLAIN, RUN / "pretrain")
    )
    drawn = draws(len(bench.texts["train"]), 10_000) / len(bench.texts["train"])
    gap = paired(drawn @ np.concatenate(own), drawn @ np.concatenate(theirs))
    shares = [[100 * float(right.mean()) for right in side] for side in (theirs, own)]
    shown = [f"{mean(each):.1f} ± {stdev(each):.1f} %" for each in shares]
    return (
        f"Fine-tuned, and right on documents of train and dev that were left out, {FOLDS} seeds with a fold each: "
        f"plain {shown[0]}, ours {shown[1]}. 95 % interval of the gap, paired by document: "
        f"{100 * gap['low']:+.1f} to {100 * gap['high']:+.1f} points, p = {gap['p']:.2g}."
    )


def _run(*command: str) -> str:
    return subprocess.run([sys.executable, *command], stdout=subprocess.PIPE, text=True, check=True).stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config")
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--plain-seconds", type=float, help="default: as many")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--judge", action="store_true", help="fine-tune both models of the last round, five times")
    options = parser.parse_args()
    _run("-m", "pipeline", "encode", options.config, f"run={RUN.name}")
    write_texts()
    rows, rates = [], []
    _, width, _ = SIZES[SIZE]
    columns = 2 * feed_forward(SIZE)
    for _ in range(options.rounds):
        shapes = (ROWS, 1024, 1024), (ROWS, width, columns)
        rates.append([product_rate(torch.device("cpu"), "bf16", *shape) for shape in shapes])
        rows.append((plain(options.plain_seconds or options.seconds), ours(options.config, options.seconds)))
    print("| | plain | ours | ours / plain |\n|---|---:|---:|---:|")
    for name, unit in (
        ("tokens_per_s", 1),
        ("tokens", 1),
        ("seconds", 1),
        ("valid_nats", 1),
        ("peak_memory_bytes", 2**20),
        ("parameters", 1),
    ):
        theirs, own = (median(row[side][name] / unit for row in rows) for side in (0, 1))
        shown = name.replace("peak_memory_bytes", "peak_memory_mib")
        print(f"| {shown} | {theirs:,.4g} | {own:,.4g} | {own / theirs:.3g} |")
    vocabulary = len(AutoTokenizer.from_pretrained(RUN / "tokenizer"))
    rate = median(row[1]["tokens_per_s"] for row in rows) * flops_a_token(SIZE, LENGTH, vocabulary)
    large, small = (median(pair[i] for pair in rates) for i in (0, 1))
    print(f"\n{options.rounds} rounds, medians. Ours computes {rate / 1e9:,.0f} GFLOP/s of the model, which is")
    print(
        f"{rate / large:.0%} of a bfloat16 product ({ROWS}, 1024) × (1024, 1024) here, {large / 1e9:,.0f} GFLOP/s, and"
    )
    print(f"{rate / small:.0%} of its own largest, ({ROWS}, {width}) × ({width}, {columns}), {small / 1e9:,.0f}.")
    if options.judge:
        print(f"\n{judged(options.config)}")


if __name__ == "__main__":
    main()
