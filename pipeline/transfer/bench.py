"""What fine-tuning works with: the run's documents of train and dev as the network reads them, and the checkpoint."""

from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from accelerate import Accelerator
from transformers import AutoTokenizer

from pipeline.artifacts import Run
from pipeline.config import Finetune
from pipeline.console import log
from pipeline.model.masked_lm import longest_input
from pipeline.text.labelled import labels_of
from pipeline.training.processes import await_folder, processes
from pipeline.transfer import classifier
from pipeline.transfer.documents import encode, only_unknown, require_same_tokenizer
from pipeline.transfer.given import all_labels, class_order, is_multi_label, read_labelled, single_documents
from pipeline.transfer.pieces import Pieces, known_pieces
from pipeline.transfer.targets import of_ordered
from pipeline.transfer.training import Labelled


class Bench(NamedTuple):
    """What every job of the run works with."""

    accelerator: Accelerator
    settings: Finetune
    checkpoint: Path
    tokenizer: Any
    labels: list[str]  # the classes, in the order of the logits
    splits: dict[str, Labelled]  # train and, where there is one, dev
    texts: dict[str, list[str]]  # of the same documents
    pieces: Pieces  # what is known of the tokenizer's
    encoded: Path  # the folder of the corpus that the checkpoint has read
    out: Path  # the folder to work in


def open_bench(run: Run, out: Path) -> tuple[Bench, dict[str, Any]]:
    """The bench of ``run``, which works in ``out``, and what there is to count of the documents by split."""
    settings, checkpoint = run.config.finetune, run.input("pretrain")
    classifier.require_safetensors(checkpoint)
    require_same_tokenizer(checkpoint, run.input("tokenizer"))
    documents, labels = read_labelled(run)
    multi_label = is_multi_label(documents["train"])
    target = of_ordered(len(labels)) if class_order(run) else np.eye(len(labels), dtype=np.float32)  # of each class
    if "dev" not in documents and not multi_label and (single := single_documents(documents["train"])):
        log.warning("finetune: cross-validation cannot measure classes of a single document: %s", ", ".join(single))
    accelerator = processes()
    await_folder(accelerator, out)
    classifier.quiet_transformers()
    # "[SEP]" in a text is text, for all who read by the tokenizer that is saved with a classifier
    tokenizer = AutoTokenizer.from_pretrained(run.input("tokenizer"), split_special_tokens=True)
    network = classifier.scratch(checkpoint, labels, 0, settings)[0]
    length = longest_input(network, settings.max_length_tokens)
    tokenizer.model_max_length = length
    tokenizer.init_kwargs["long_documents"] = settings.long_documents  # saved with it, for all who read texts by it
    splits, cut, unknown = {}, {}, {}
    texts = {split: [row["text"] for row in rows] for split, rows in documents.items()}
    for split, rows in documents.items():
        ids, cut[split] = encode(tokenizer, texts[split], length)
        targets = np.stack([target[[labels.index(label) for label in labels_of(row)]].sum(0) for row in rows])
        splits[split] = Labelled(ids, targets, multi_label)
        unknown[split] = only_unknown(tokenizer, ids)
        if unknown[split]:
            log.warning("finetune: %d documents of %s hold no piece that the tokenizer knows", unknown[split], split)
    sizes = ", ".join(f"{len(data.ids):,} {split} documents" for split, data in splits.items())
    way = "read in windows" if settings.long_documents == "windows" else "cut"
    cuts = " and ".join(f"{count:,} of {split}" for split, count in cut.items())
    log.info("finetune: %s, %d classes; longer than %d tokens and %s: %s", sizes, len(labels), length, way, cuts)
    encoded = run.input("encode")
    pieces = known_pieces(accelerator, tokenizer, encoded, network.config.hidden_size)
    bench = Bench(accelerator, settings, checkpoint, tokenizer, labels, splits, texts, pieces, encoded, out)
    return bench, {
        "documents": {split: len(rows) for split, rows in documents.items()},
        "cut": cut,
        "only_unknown": unknown,
        "length_tokens": length,
        "labels": {split: dict(sorted(Counter(all_labels(rows)).items())) for split, rows in documents.items()},
    }


def suit_windows(model: Any, bench: Bench) -> None:
    """Have ``model`` say in its configuration how long the windows of documents are, if it reads windows."""
    if bench.settings.long_documents == "windows":
        model.config.window_tokens = bench.tokenizer.model_max_length
