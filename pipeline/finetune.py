"""Swap the head of the masked language model and learn the classes.

Reads ``pretrain/``, ``tokenizer/`` and ``fetch/labelled/{train,dev}.jsonl``, never the test documents. Writes
``seed-<i>/`` (a classifier a seed), ``scratch/seed-<i>/`` (the same network without transfer), ``model/`` (the one to
ship) and ``metrics.jsonl`` (a line an epoch). The config.json of each classifier holds the temperature of its
probabilities, fitted on dev. Without a dev split, ``folds/`` holds the figures of a cross-validation.
"""

import json
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from statistics import geometric_mean, mean
from typing import Any, NamedTuple

from accelerate import Accelerator
from transformers import AutoTokenizer

from pipeline.artifacts import Run, sha256, write_json
from pipeline.config import Finetune
from pipeline.errors import UsageError
from pipeline.metrics.calibration import temperature
from pipeline.program import log, stage_main
from pipeline.text.documents import Document, read_jsonl, write_jsonl
from pipeline.training.processes import processes
from pipeline.transfer import classifier
from pipeline.transfer.documents import (
    encode,
    folds,
    longest_input,
    only_unknown,
    require_same_tokenizer,
    require_vocabulary,
)
from pipeline.transfer.training import Labelled, logits, train

FOLDS = 5  # of a cross-validation on train, where there is no dev split
STORY = "training.json"  # in each folder: what it was trained from, and how it went


class Job(NamedTuple):
    """One classifier to train, and the folder that it goes to."""

    strategy: str
    seed: int
    folder: str
    fold: int | None = None


class Bench(NamedTuple):
    """What every job of the run works with."""

    accelerator: Accelerator
    settings: Finetune
    checkpoint: Path
    tokenizer: Any
    labels: list[str]
    splits: dict[str, Labelled]
    out: Path


def work(run: Run, out: Path) -> dict[str, Any]:
    settings, checkpoint = run.config.finetune, run.input("pretrain")
    classifier.require_safetensors(checkpoint)
    require_same_tokenizer(checkpoint, run.input("tokenizer"))
    documents, labels = read_labelled(run)
    accelerator = processes()
    accelerator.wait_for_everyone()  # rank 0 prepares the folder
    classifier.quiet_transformers()
    tokenizer = AutoTokenizer.from_pretrained(run.input("tokenizer"))
    length = longest_input(classifier.scratch(checkpoint, labels, 0)[0], settings.max_length_tokens)
    tokenizer.model_max_length = length
    splits, cut, unknown = {}, {}, {}
    for split, rows in documents.items():
        ids, cut[split] = encode(tokenizer, [row["text"] for row in rows], length)
        splits[split] = Labelled(ids, [labels.index(row["label"]) for row in rows])
        unknown[split] = only_unknown(tokenizer, ids)
        if unknown[split]:
            log.warning("finetune: %d documents of %s hold no piece that the tokenizer knows", unknown[split], split)
    log.info("finetune: %s, %d classes; longer than %d tokens and cut: %s", _sizes(splits), len(labels), length, cut)

    bench = Bench(accelerator, settings, checkpoint, tokenizer, labels, splits, out)
    wanted = jobs(settings, "dev" in splits)
    for job in wanted:
        if not (out / job.folder).exists():
            train_one(job, bench)
    if not accelerator.is_main_process:
        return {}
    stories = {job: json.loads((out / job.folder / STORY).read_text("utf-8")) for job in wanted}
    shipped = best(stories)
    write_jsonl(out / "metrics.jsonl", metrics(stories))
    copy_whole(out / shipped.folder, out / "model")
    log.info("finetune: %s is the model to ship", shipped.folder)
    return {
        "documents": {split: len(rows) for split, rows in documents.items()},
        "cut": cut,
        "only_unknown": unknown,
        "length_tokens": length,
        "labels": {s: dict(sorted(Counter(row["label"] for row in rows).items())) for s, rows in documents.items()},
        "transfer": {"checkpoint_sha256": sha256(checkpoint / "model.safetensors"), **stories[shipped]["origin"]},
        "control": next(story["origin"] for job, story in stories.items() if job.strategy == "scratch"),
        "dev_accuracy": dev_accuracy(stories),
        "temperature": stories[shipped]["temperature"],
        "shipped": shipped.folder,
    }


def jobs(settings: Finetune, has_dev: bool) -> list[Job]:
    """Everything to train, in order: the folds where there is no dev split, the strategy's seeds, the control."""
    own = [Job(settings.strategy, seed, f"seed-{seed}") for seed in range(settings.seeds)]
    crossed = [] if has_dev else [Job(settings.strategy, 0, f"folds/fold-{fold}", fold) for fold in range(FOLDS)]
    control = [Job("scratch", seed, f"scratch/seed-{seed}") for seed in range(settings.seeds)]
    return [*crossed, *own, *control]  # the folds first: where there is no dev split, they give the seeds' temperature


def read_labelled(run: Run) -> tuple[dict[str, list[Document]], list[str]]:
    """The documents of train, and of dev where there is one; and the classes, sorted. The test split stays closed."""
    folder = run.input("fetch/labelled")
    documents = {
        s: list(read_jsonl(folder / f"{s}.jsonl")) for s in ("train", "dev") if (folder / f"{s}.jsonl").exists()
    }
    if not documents.get("train"):
        raise UsageError(
            f"{folder} holds no training documents: name them with `labelled.train=`, a file or a data set"
        )
    labels = sorted({row["label"] for row in documents["train"]})
    if len(labels) < 2:
        raise UsageError(f"all training documents are of one class, `{labels[0]}`: a classifier needs two or more")
    unseen = sorted({row["label"] for row in documents.get("dev", [])} - set(labels))
    if unseen:
        raise UsageError(f"the class `{unseen[0]}` is in dev and has no training document: add some, or take it out")
    if "dev" not in documents and len(documents["train"]) < FOLDS:
        raise UsageError(f"{len(documents['train'])} training documents are too few: {FOLDS} or more are needed")
    single = [label for label in labels if [row["label"] for row in documents["train"]].count(label) == 1]
    if "dev" not in documents and single:
        log.warning("finetune: cross-validation cannot measure classes of a single document: %s", ", ".join(single))
    return documents, labels


def train_one(job: Job, bench: Bench) -> None:
    """Train the classifier of ``job`` and write its folder, which appears when it is whole."""
    start = classifier.scratch if job.strategy == "scratch" else classifier.pretrained
    model, origin = start(bench.checkpoint, bench.labels, job.seed)
    require_vocabulary(bench.splits["train"].ids, model)
    data, dev = _parts(bench.splits, job.fold)
    pad = bench.tokenizer.pad_token_id
    epochs = train(bench.accelerator, model, pad, data, dev, bench.settings, job.strategy, job.seed)
    last, seconds = epochs[-1], sum(row["seconds"] for row in epochs)
    figures = ", ".join(
        f"{name} {last[name]:.3f}" for name in ("loss_nats", "dev_nats", "dev_accuracy") if name in last
    )
    log.info("finetune: %s, %s: %s; %.1f s", job.strategy, Path(job.folder).name, figures, seconds)
    unseen, truth = (logits(bench.accelerator, model, dev.ids, pad), dev.labels) if dev else (None, [])
    if bench.accelerator.is_main_process:
        heat = folds_temperature(bench.out) if unseen is None else temperature(unseen, truth)
        model.config.calibration_temperature = heat
        part = bench.out / f"{job.folder}.part"
        part.mkdir(parents=True, exist_ok=True)
        if job.fold is None:
            model.save_pretrained(part)
            bench.tokenizer.save_pretrained(part)
        write_json(part / STORY, {"origin": origin, "temperature": heat, "epochs": epochs})
        part.rename(bench.out / job.folder)


def folds_temperature(out: Path) -> float:
    """The geometric mean of the temperatures of the folds, which were fitted on documents that training left out."""
    stories = [json.loads(path.read_text("utf-8")) for path in sorted(out.glob(f"folds/fold-*/{STORY}"))]
    return geometric_mean(story["temperature"] for story in stories)


def _parts(splits: dict[str, Labelled], fold: int | None) -> tuple[Labelled, Labelled | None]:
    """What to train on and what to measure on."""
    data = splits["train"]
    if fold is None:
        return data, splits.get("dev")
    held_out = folds(data.labels, FOLDS)[fold]
    kept = [i for i in range(len(data.ids)) if i not in set(held_out)]
    part, dev = (Labelled([data.ids[i] for i in some], [data.labels[i] for i in some]) for some in (kept, held_out))
    return part, dev


def best(stories: dict[Job, Any]) -> Job:
    """The seed with the best dev accuracy, then the least dev loss; the first where there is no dev split."""
    own = [job for job in stories if job.folder.startswith("seed-")]
    last = {job: stories[job]["epochs"][-1] for job in own}
    return min(own, key=lambda job: (-last[job].get("dev_accuracy", 0), last[job].get("dev_nats", 0)))


def metrics(stories: dict[Job, Any]) -> Iterator[Document]:
    for job, story in stories.items():
        fold = {} if job.fold is None else {"fold": job.fold}
        for row in story["epochs"]:
            yield {"strategy": job.strategy, "seed": job.seed, **fold, **row}


def dev_accuracy(stories: dict[Job, Any]) -> dict[str, Any]:
    """Accuracy after the last epoch, of each strategy: on dev, or over the folds of train."""
    figures: dict[str, list[float]] = {}
    for job, story in stories.items():
        if "dev_accuracy" in story["epochs"][-1]:
            figures.setdefault(job.strategy, []).append(story["epochs"][-1]["dev_accuracy"])
    return {strategy: {"mean": round(mean(each), 4), "each": each} for strategy, each in figures.items()}


def copy_whole(source: Path, target: Path) -> None:
    """Copy a folder so that ``target`` is there only when it is whole."""
    part = target.with_suffix(".part")
    for leftover in (part, target):
        shutil.rmtree(leftover, ignore_errors=True)
    shutil.copytree(source, part)
    part.rename(target)


def _sizes(splits: dict[str, Labelled]) -> str:
    return ", ".join(f"{len(data.ids):,} {split} documents" for split, data in splits.items())


if __name__ == "__main__":
    stage_main("finetune", work)
