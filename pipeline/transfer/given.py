"""The labelled documents that a run has to learn from, and whether they will do: known as soon as fetch is done."""

import json
from collections import Counter

from pipeline.artifacts import Run
from pipeline.config import Finetune
from pipeline.errors import UsageError
from pipeline.text.documents import Document, read_jsonl
from pipeline.text.labelled import labels_of

FOLDS = 5  # of a cross-validation on train, where there is no dev split


def read_labelled(run: Run) -> tuple[dict[str, list[Document]], list[str]]:
    """The documents of train, and of dev where there is one; and the classes, in their order or else sorted.

    The test split stays closed. UsageError: they are not enough to learn from, or not of the kind that settings want.
    """
    folder = run.input("fetch/labelled")
    documents = {
        s: list(read_jsonl(folder / f"{s}.jsonl")) for s in ("train", "dev") if (folder / f"{s}.jsonl").exists()
    }
    if not documents.get("train"):
        raise UsageError(
            f"{folder} holds no training documents: name them with `labelled.train=`, a file or a data set"
        )
    labels = class_order(run) or sorted({*all_labels(documents["train"])})
    if len(labels) < 2:
        raise UsageError(f"all training documents are of one class, `{labels[0]}`: a classifier needs two or more")
    unseen = sorted({*all_labels(documents.get("dev", []))} - {*labels})
    if unseen:
        raise UsageError(f"the class `{unseen[0]}` is in dev and has no training document: add some, or take it out")
    if "dev" not in documents and len(documents["train"]) < FOLDS:
        count = len(documents["train"])
        raise UsageError(f"{count} training documents are too few without a dev split: {FOLDS} or more are needed")
    if len(single_documents(documents["train"])) == len(labels):
        raise UsageError("every class has one training document alone: a classifier needs two or more of a class")
    require_single(run.config.finetune, multi_label=is_multi_label(documents["train"]))
    return documents, labels


def single_documents(rows: list[Document]) -> list[str]:
    """The classes that one of ``rows`` alone is of."""
    return [label for label, count in Counter(all_labels(rows)).items() if count == 1]


def all_labels(rows: list[Document]) -> list[str]:
    return [label for row in rows for label in labels_of(row)]


def is_multi_label(rows: list[Document]) -> bool:
    """Whether documents may have several labels: each row then has a list of them."""
    return not isinstance(rows[0]["label"], str)


def require_single(settings: Finetune, *, multi_label: bool) -> None:
    """UsageError: documents have several labels, and ``settings`` ask for what wants one of each."""
    asked = [name for name in ("r_drop", "label_smoothing") if getattr(settings, name) not in (0, "auto")]
    asked += ["class_weights"] if settings.class_weights != "none" else []
    asked += ["machine=neighbours"] if settings.machine == "neighbours" else []
    if multi_label and asked:
        raise UsageError(
            f"finetune.{asked[0]} is for documents with one label each, and these have several: leave it out"
        )


def require_strategy(program: str, settings: Finetune) -> None:
    """UsageError: the strategy in ``settings`` leaves ``program``, curve or tune, nothing to measure."""
    lacking = {"curve": {"scratch": "nothing"}, "tune": {"scratch": "no network", "features": "no network"}}
    if lack := lacking[program].get(settings.strategy):
        raise UsageError(f"finetune.strategy={settings.strategy} transfers {lack}: name another for {program}")


def require_curve(documents: dict[str, list[Document]]) -> None:
    """UsageError: no curve can be drawn over the ``documents`` of these splits."""
    if is_multi_label(documents["train"]):
        raise UsageError("a curve is drawn over documents with one label each, and these have several")
    if len(documents.get("dev", ())) == 1:
        raise UsageError("one document of dev measures no curve: add some, or leave `labelled.dev` out")


def class_order(run: Run) -> list[str]:
    """The classes from the lowest to the highest; empty where they have no order."""
    path = run.input("fetch/labelled/order.json")
    order: list[str] = json.loads(path.read_text("utf-8")) if path.exists() else []
    return order
