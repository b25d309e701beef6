"""Fine-tuning beside a plain run of transformers' Trainer: documents a second, alternately on one machine.

    python -m benchmarks.finetune configs/or-local.yaml --rounds 3

Both start from the run's pretrained network, train all of it on the same documents with the same rate, epochs and batch
size, and measure dev after each epoch. Trainer is as its guide has it: batches padded to their longest document, in
random order, float32. Seconds count training and dev, not the reading of documents and weights; but all that the stage
needs for its networks, processes that are started and files that are written too, in the row of a whole run: its seeds
and as many controls, side by side on a CPU.
"""

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import transformers
from datasets import Dataset
from transformers import (
    AutoModelForSequenceClassification,
    DataCollatorWithPadding,
    PrinterCallback,
    Trainer,
    TrainingArguments,
)

from pipeline import config
from pipeline.artifacts import Run
from pipeline.transfer.bench import Bench, open_bench
from pipeline.transfer.networks import Job, learn, own, train_all


def ours(bench: Bench, seed: int) -> tuple[float, float]:
    """Seconds and dev accuracy."""
    epochs = learn(Job("full", seed, ""), bench)[1]["epochs"]
    return sum(row["seconds"] for row in epochs), epochs[-1]["dev_accuracy"]


def whole_run(bench: Bench, folder: Path) -> tuple[float, float]:
    """Seconds a network and dev accuracy of the seeds, when the stage trains all that it asks for."""
    clock = time.perf_counter()
    outcomes = train_all(bench._replace(out=folder))
    seconds = (time.perf_counter() - clock) / len(outcomes)
    return seconds, float(np.mean([outcome["epochs"][-1]["dev_accuracy"] for outcome in own(outcomes).values()]))


def plain(bench: Bench, seed: int, folder: str) -> tuple[float, float]:
    """Seconds and dev accuracy."""
    transformers.set_seed(seed)
    model = AutoModelForSequenceClassification.from_pretrained(bench.checkpoint, num_labels=len(bench.labels))
    settings = bench.settings
    arguments = TrainingArguments(
        folder,
        learning_rate=settings.learning_rate,
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=settings.batch_documents,
        per_device_eval_batch_size=settings.batch_documents,
        weight_decay=settings.weight_decay,
        eval_strategy="epoch",
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        seed=seed,
        use_cpu=bench.accelerator.device.type == "cpu",
    )
    data = {
        split: Dataset.from_dict({"input_ids": each.ids, "labels": each.classes()})
        for split, each in bench.splits.items()
    }
    trainer = Trainer(
        model,
        arguments,
        train_dataset=data["train"],
        eval_dataset=data["dev"],
        data_collator=DataCollatorWithPadding(bench.tokenizer),
        compute_metrics=lambda dev: {"accuracy": float((dev.predictions.argmax(-1) == dev.label_ids).mean())},
    )
    trainer.remove_callback(PrinterCallback)
    clock = time.perf_counter()
    trainer.train()
    return time.perf_counter() - clock, trainer.state.log_history[-2]["eval_accuracy"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config")
    parser.add_argument("setting", nargs="*", help="section.key=value")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    run = Run(config.load(options.config, options.setting), options.config)
    transformers.logging.set_verbosity_error()
    with tempfile.TemporaryDirectory() as folder:
        bench, _ = open_bench(run, Path(folder))
        rows = [
            (plain(bench, seed, folder), ours(bench, seed), whole_run(bench, Path(folder, str(seed))))
            for seed in range(options.rounds)
        ]
    read = len(bench.splits["train"].ids) * bench.settings.epochs
    print(f"{len(bench.splits['train'].ids)} documents, {bench.settings.epochs} epochs, medians of {options.rounds}\n")
    print("| | seconds | documents/s | dev accuracy |\n|---|---:|---:|---:|")
    names = "transformers' Trainer", "Akshara", "Akshara, each of a run's networks"
    sides: dict[str, Any] = dict(zip(names, zip(*rows, strict=True), strict=True))
    for name, side in sides.items():
        seconds = median(each for each, _ in side)
        print(f"| {name} | {seconds:.1f} | {read / seconds:.0f} | {np.mean([right for _, right in side]):.3f} |")
    ratios = ", ".join(f"{trainer[0] / one[0]:.2f} and {trainer[0] / each[0]:.2f}" for trainer, one, each in rows)
    print(f"\nRatio of documents a second, one network and each of a run's, a round each: {ratios}")


if __name__ == "__main__":
    main()
