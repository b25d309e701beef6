"""What fine-tuning works with: the run's documents of train and dev as the network reads them, and the checkpoint."""

import json
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from accelerate import Accelerator
from transformers import AutoTokenizer

from pipeline.artifacts import Run
from pipeline.config import Finetune
from pipeline.errors import UsageError
from pipeline.model.masked_lm import longest_input
from pipeline.program import log
from pipeline.text.documents import Document, read_jsonl
from pipeline.text.encoded import stream
from pipeline.text.labelled import labels_of
from pipeline.training.processes import await_folder, processes
from pipeline.transfer import classifier
from pipeline.transfer.documents import encode, only_unknown, require_same_tokenizer
from pipeline.transfer.embeddings import token_weights
from pipeline.transfer.targets import of_ordered
from pipeline.transfer.training import Labelled

FOLDS = 5  # of a cross-validation on train, where there is no dev split


class Bench(NamedTuple):
    """What every job of the run works with."""

    accelerator: Accelerator
    settings: Finetune
    checkpoint: Path
    tokenizer: Any
    labels: list[str]  # the classes, in the order of the logits
    splits: dict[str, Labelled]  # train and, where there is one, dev
    texts: dict[str, list[str]]  # of the same documents
    token_weights: npt.NDArray[np.float32]  # (vocabulary,)
    out: Path  # the folder to work in


def open_bench(run: Run, out: Path) -> tuple[Bench, dict[str, Any]]:
    """The bench of ``run``, which works in ``out``, and what there is to count of the documents by split."""
    settings, checkpoint = run.config.finetune, run.input("pretrain")
    classifier.require_safetensors(checkpoint)
    require_same_tokenizer(checkpoint, run.input("tokenizer"))
    documents, labels = read_labelled(run)
    several = has_several(documents["train"])
    require_single(settings, several=several)
    each = of_ordered(len(labels)) if class_order(run) else np.eye(len(labels), dtype=np.float32)
    accelerator = processes()
    await_folder(accelerator, out)
    classifier.quiet_transformers()
    tokenizer = AutoTokenizer.from_pretrained(run.input("tokenizer"))
    length = longest_input(classifier.scratch(checkpoint, labels, 0, settings)[0], settings.max_length_tokens)
    tokenizer.model_max_length = length
    tokenizer.init_kwargs["long_documents"] = settings.long_documents  # saved with it, for all who read texts by it
    splits, cut, unknown = {}, {}, {}
    for split, rows in documents.items():
        ids, cut[split] = encode(tokenizer, [row["text"] for row in rows], length)
        table = np.stack([each[[labels.index(label) for label in labels_of(row)]].sum(0) for row in rows])
        splits[split] = Labelled(ids, table, several)
        unknown[split] = only_unknown(tokenizer, ids)
        if unknown[split]:
            log.warning("finetune: %d documents of %s hold no piece that the tokenizer knows", unknown[split], split)
    told = " and ".join(f"{count:,} of {split}" for split, count in cut.items())
    log.info("finetune: %s, %d classes; longer than %d tokens and cut: %s", _sizes(splits), len(labels), length, told)
    texts = {split: [row["text"] for row in rows] for split, rows in documents.items()}
    weights = token_weights(stream(run.input("encode"), "train"), tokenizer.all_special_ids, len(tokenizer))
    return Bench(accelerator, settings, checkpoint, tokenizer, labels, splits, texts, weights, out), {
        "documents": {split: len(rows) for split, rows in documents.items()},
        "cut": cut,
        "only_unknown": unknown,
        "length_tokens": length,
        "labels": {s: dict(sorted(Counter(_all_labels(rows)).items())) for s, rows in documents.items()},
    }


def suit_windows(model: Any, bench: Bench) -> None:
    """Have ``model`` say in its configuration how long the windows of documents are, if it reads windows."""
    if bench.settings.long_documents == "windows":
        model.config.window_tokens = bench.tokenizer.model_max_length


def read_labelled(run: Run) -> tuple[dict[str, list[Document]], list[str]]:
    """The documents of train, and of dev where there is one; and the classes, in their order or else sorted.

    The test split stays closed.
    """
    folder = run.input("fetch/labelled")
    documents = {
        s: list(read_jsonl(folder / f"{s}.jsonl")) for s in ("train", "dev") if (folder / f"{s}.jsonl").exists()
    }
    if not documents.get("train"):
        raise UsageError(
            f"{folder} holds no training documents: name them with `labelled.train=`, a file or a data set"
        )
    labels = class_order(run) or sorted({*_all_labels(documents["train"])})
    if len(labels) < 2:
        raise UsageError(f"all training documents are of one class, `{labels[0]}`: a classifier needs two or more")
    unseen = sorted({*_all_labels(documents.get("dev", []))} - {*labels})
    if unseen:
        raise UsageError(f"the class `{unseen[0]}` is in dev and has no training document: add some, or take it out")
    if "dev" not in documents and len(documents["train"]) < FOLDS:
        raise UsageError(f"{len(documents['train'])} training documents are too few: {FOLDS} or more are needed")
    counts = Counter(_all_labels(documents["train"]))
    single = [label for label, count in counts.items() if count == 1]
    if len(single) == len(labels):
        raise UsageError("every class has one training document alone: a classifier needs two or more of a class")
    if "dev" not in documents and single:
        log.warning("finetune: cross-validation cannot measure classes of a single document: %s", ", ".join(single))
    return documents, labels


def _all_labels(rows: list[Document]) -> list[str]:
    return [label for row in rows for label in labels_of(row)]


def has_several(rows: list[Document]) -> bool:
    """Whether documents may have several labels: each row then has a list of them."""
    return not isinstance(rows[0]["label"], str)


def require_single(settings: Finetune, *, several: bool) -> None:
    """UsageError: documents have several labels, and ``settings`` ask for what wants one of each."""
    asked = [name for name in ("r_drop", "label_smoothing") if getattr(settings, name)]
    asked += ["class_weights"] if settings.class_weights != "none" else []
    asked += ["machine=neighbours"] if settings.machine == "neighbours" else []
    if several and asked:
        raise UsageError(
            f"finetune.{asked[0]} is for documents with one label each, and these have several: leave it out"
        )


def class_order(run: Run) -> list[str]:
    """The classes from the lowest to the highest; empty where they have no order."""
    path = run.input("fetch/labelled/order.json")
    order: list[str] = json.loads(path.read_text("utf-8")) if path.exists() else []
    return order


def _sizes(splits: dict[str, Labelled]) -> str:
    return ", ".join(f"{len(data.ids):,} {split} documents" for split, data in splits.items())
