"""Ablations of pretraining: each row of the table is a run that differs from the defaults in some settings.

    python -m benchmarks.ablations configs/or-local.yaml --seeds 0 1 --only default "random start"

Validation loss, on the same hidden tokens in all, judges a run, and the share of the labelled train and dev documents
that a classifier is right on when it has not learned from them, over five folds: a linear one on the frozen body, alone
and beside character TF-IDF, and the fine-tuned network. The test documents stay closed. Results are kept in
runs/ablations/, a line a run; the same command goes on from them, and two commands with different seeds can run side by
side.
"""

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.judging import cross_validated, right_when_left_out
from pipeline import config
from pipeline.artifacts import Run
from pipeline.text.documents import read_jsonl
from pipeline.transfer import linear
from pipeline.transfer.bench import open_bench
from pipeline.transfer.given import FOLDS
from pipeline.transfer.joining import frozen_body

RESULTS = Path("runs/ablations")
VARIANTS = {
    "default": [],
    "Muon": ["pretrain.optimizer=muon"],
    "random start": ["pretrain.start=random"],
    "4 layers": ["model.size=mini"],
    "feed-forward of 680": ["model.config.intermediate_size=680"],
    "feed-forward of 512": ["model.config.intermediate_size=512"],
    "squared ReLU": ["model.config.hidden_activation=relu2"],
    "rate × 2": ["pretrain.learning_rate=4e-3"],
    "rate ÷ 2": ["pretrain.learning_rate=1e-3"],
    "steps of 32 blocks": ["pretrain.global_batch_blocks=32"],
    "no weight decay": ["pretrain.weight_decay=0"],
    "weight decay × 10": ["pretrain.weight_decay=0.1"],
    "weight decay × 100": ["pretrain.weight_decay=1"],
    "dropout 0.1": [f"model.config.{part}_dropout=0.1" for part in ("attention", "embedding", "mlp")],
    "masks 30 %": ["pretrain.mask_rate_end=0.3"],
    "masks 15 %": ["pretrain.mask_rate=0.15"],
    "masks 40 → 15 %": ["pretrain.mask_rate=0.4"],
    "rate falls for half of the steps": ["pretrain.decay_share=0.5"],
    "attention across documents": ["pretrain.attention=blocks"],
    "whole words": ["pretrain.masking=words"],
    "spans": ["pretrain.masking=spans"],
    "vectors × 2": ["pretrain.start_scale=2"],
    "vectors × 4": ["pretrain.start_scale=4"],
    "contrast of halves 0.1": ["pretrain.contrastive=0.1"],
    "short blocks for half of the steps": ["pretrain.short_share=0.5"],
    "z-loss 1e-4": ["pretrain.z_loss=1e-4"],
    "mean of the last fifth": ["pretrain.average_share=0.2"],
    "mean of the last fifth in place of the fall": ["pretrain.average_share=0.2", "pretrain.decay_share=0"],
}
COLUMNS = ("valid_nats", "probe_body", "probe_with_tfidf", "network", "tokens_per_s")


def measured(path: str, variant: str, seed: int, tokens: int) -> dict[str, Any]:
    """Train one run on ``tokens`` tokens and judge it."""
    settings = [f"run=ablations-{seed}", f"pretrain.seed={seed}", *VARIANTS[variant]]
    shape = config.load(path, settings).pretrain
    steps = tokens // (shape.global_batch_blocks * shape.length_tokens)
    settings += ["pretrain.max_minutes=null", f"pretrain.max_steps={steps}"]
    shutil.rmtree(Path("runs", f"ablations-{seed}", "pretrain.part"), ignore_errors=True)  # of an interrupted command
    for command in (["pipeline", "encode"], ["pipeline.pretrain"]):
        force = ["--force"] if command == ["pipeline.pretrain"] else []
        subprocess.run([sys.executable, "-m", *command, path, *settings, *force], check=True)
    run = Run(config.load(path, settings), path)
    counts = json.loads((run.folder / "pretrain/manifest.json").read_text("utf-8"))["counts"]
    figures = {name: counts[name] for name in ("steps", "valid_nats", "valid_bits_per_byte", "tokens_per_s")}
    return {"variant": variant, "seed": seed, "settings": VARIANTS[variant], **figures, **probes(run)}


def probes(run: Run) -> dict[str, float]:
    """Accuracy on documents that the classifier did not learn from."""
    bench = cross_validated(open_bench(run, run.folder / "probe")[0])
    top = frozen_body(bench)[1]["train"][:, 1:]  # without the pieces' vectors, which no pretraining changes
    classes = bench.splits["train"].classes()
    linears = {
        name: linear.choose(bench.texts["train"], top, classes, "svm", lexical=lexical).accuracy
        for name, lexical in (("probe_body", False), ("probe_with_tfidf", True))
    }
    return {**linears, "network": float(right_when_left_out(bench, run.config.pretrain.seed, range(FOLDS)).mean())}


def table(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Means over seeds, the least loss first; the losses of each seed in brackets."""
    by_variant: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_variant.setdefault(row["variant"], []).append(row)
    titles = "seeds | steps | validation nats | frozen body | body and TF-IDF | fine-tuned | tokens/s"
    yield f"| | {titles} |\n|---|" + "---:|" * 7
    for name, runs in sorted(by_variant.items(), key=lambda item: mean(row["valid_nats"] for row in item[1])):
        nats, body, union, tuned, rate = (mean(row[column] for row in runs) for column in COLUMNS)
        each = ", ".join(f"{row['valid_nats']:.3f}" for row in runs)
        judged = f"{nats:.3f} ({each}) | {body:.1%} | {union:.1%} | {tuned:.1%} | {rate:,.0f}"
        yield f"| {name} | {len(runs)} | {runs[0]['steps']} | {judged} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--tokens", type=int, default=2_400_000, help="that each run trains on (2,400,000)")
    parser.add_argument("--only", nargs="+", choices=VARIANTS, default=[*VARIANTS], metavar="VARIANT")
    options = parser.parse_args()
    path = RESULTS / f"{Path(options.config).stem}-{options.tokens}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    for variant in options.only:
        for seed in options.seeds:
            if not any((row["variant"], row["seed"]) == (variant, seed) for row in read_jsonl(path)):
                row = measured(options.config, variant, seed, options.tokens)
                with path.open("a", encoding="utf-8") as out:
                    out.write(json.dumps(row, ensure_ascii=False) + "\n")
    print("\n".join(table([row for row in read_jsonl(path) if row["variant"] in options.only])))


if __name__ == "__main__":
    main()
