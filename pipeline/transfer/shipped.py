"""A finished classifier: a network, a linear classifier on a frozen body, or both with a share in the answer.

A folder holds a network as transformers writes it; or ``classifier.json``, which says where the ``network`` and the
``linear`` classifier lie, seen from there, and the network's ``share`` in the probabilities.
"""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from accelerate import Accelerator
from transformers import AutoModel, AutoTokenizer

from pipeline.metrics.decisions import Table
from pipeline.transfer import classifier, linear
from pipeline.transfer.baseline import no_vectors
from pipeline.transfer.documents import encode
from pipeline.transfer.embeddings import Body, embeddings
from pipeline.transfer.training import classify as classify_by_network

ABOUT = "classifier.json"
PIECES = ("piece_vectors", "token_weights")  # of a body, files of their own


class Frozen(NamedTuple):
    """A linear classifier with the body that it reads, if any."""

    labels: list[str]
    linear: linear.Linear
    body: Body | None = None
    tokenizer: Any = None


class Classifier(NamedTuple):
    labels: list[str]
    network: tuple[Any, Any] | None  # model, tokenizer
    frozen: Frozen | None
    share: float  # of the network in the answer
    multi_label: bool  # a document may have several labels

    @property
    def temperature(self) -> float | None:
        """Of a network that answers alone; None where the parts bring their own."""
        return classifier.temperature(self.network[0]) if self.network and self.share == 1 else None


def load(folder: Path) -> Classifier:
    """The classifier in ``folder``. UsageError: there is none, or its head was never trained."""
    path = folder / ABOUT
    about: dict[str, Any] = {"network": ".", "share": 1.0}
    if path.exists():
        about = json.loads(path.read_text("utf-8"))
    network = classifier.load(folder / about["network"]) if "network" in about else None
    frozen = _load_frozen(folder / about["linear"]) if "linear" in about else None
    if network:
        model, _ = network
        labels = [model.config.id2label[i] for i in range(model.config.num_labels)]
        return Classifier(labels, network, frozen, about["share"], classifier.is_multi_label(model))
    assert frozen, "a folder holds one of them at least"
    return Classifier(frozen.labels, None, frozen, about["share"], frozen.linear.multi_label)


def classify(accelerator: Accelerator, shipped: Classifier, texts: Sequence[str]) -> Table:
    """Probabilities of the classes of each text: (texts, classes)."""
    table = np.zeros((len(texts), len(shipped.labels)))
    if shipped.network:
        table += shipped.share * classify_by_network(accelerator, *shipped.network, texts)
    if shipped.frozen:
        table += (1 - shipped.share) * classify_frozen(accelerator, shipped.frozen, texts)
    return table


def classify_frozen(accelerator: Accelerator, frozen: Frozen, texts: Sequence[str]) -> Table:
    if not frozen.body:
        return frozen.linear.probabilities(texts, no_vectors(texts))
    ids, _ = encode(frozen.tokenizer, texts, frozen.tokenizer.model_max_length)
    pad = frozen.tokenizer.pad_token_id
    return frozen.linear.probabilities(texts, embeddings(accelerator, frozen.body, ids, pad))


def save_frozen(frozen: Frozen, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    linear.save(frozen.linear, folder)
    if frozen.body:
        frozen.body.network.save_pretrained(folder)
        frozen.tokenizer.save_pretrained(folder)
        for name in PIECES:
            np.save(folder / f"{name}.npy", getattr(frozen.body, name))
    about = {"linear": ".", "share": 0.0, "labels": frozen.labels, "body": bool(frozen.body)}
    (folder / ABOUT).write_text(json.dumps(about, ensure_ascii=False, indent=1), "utf-8")


def ship(answer: str, share: float, network: Path, linear: Path, target: Path) -> None:
    """Copy to ``target`` what answers: the ``network``, the ``linear`` classifier, or ``joined`` both.

    ``target`` is there only when it is whole. A joined one is a folder of the network with more in it, so transformers
    reads the network alone from it.
    """
    part = target.with_suffix(".part")
    for leftover in (part, target):
        shutil.rmtree(leftover, ignore_errors=True)
    shutil.copytree(linear if answer == "linear" else network, part)
    if answer == "joined":
        shutil.copytree(linear, part / "linear")
        about = {"network": ".", "linear": "linear", "share": share}
        (part / ABOUT).write_text(json.dumps(about, indent=1), "utf-8")
    part.rename(target)


def _load_frozen(folder: Path) -> Frozen:
    about = json.loads((folder / ABOUT).read_text("utf-8"))
    if not about["body"]:
        return Frozen(about["labels"], linear.load(folder))
    network = AutoModel.from_pretrained(folder, use_safetensors=True, local_files_only=True)
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    body = Body(network, **{name: np.load(folder / f"{name}.npy", allow_pickle=False) for name in PIECES})
    return Frozen(about["labels"], linear.load(folder), body, tokenizer)
