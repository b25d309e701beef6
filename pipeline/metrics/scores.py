"""Scores of predicted classes, by `evaluate`, with the scripts beside this file: nothing is fetched or left behind."""

import atexit
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any


@cache
def _metric(name: str) -> Any:
    import evaluate

    # `evaluate` copies a script to its cache and imports the copy: a folder of ours, not one in the user's home.
    evaluate.config.HF_MODULES_CACHE = _temporary_folder()
    script = Path(__file__).parent / name / f"{name}.py"
    return evaluate.load(str(script), keep_in_memory=True, cache_dir=_temporary_folder())


@cache
def _temporary_folder() -> str:
    folder = tempfile.TemporaryDirectory(prefix="akshara-metrics-")
    atexit.register(folder.cleanup)
    return folder.name


def measure(name: str, predicted: Sequence[int], true: Sequence[int], **settings: Any) -> Any:
    """The figure that the script ``name`` gives for class indices ``predicted`` and ``true``, a number or a list."""
    return _metric(name).compute(predictions=predicted, references=true, **settings)[name]


def summary(predicted: Sequence[int], true: Sequence[int], *, ordered: bool = False) -> dict[str, float]:
    """Accuracy, macro and weighted F1 over the classes that occur in ``true``, and Matthews correlation.

    Of ``ordered`` classes also the mean absolute error, in places, and the quadratic weighted kappa.
    """
    occurring = sorted(set(true))
    of_order = ("mean_absolute_error", "quadratic_weighted_kappa") if ordered else ()
    return {
        "accuracy": measure("accuracy", predicted, true),
        "macro_f1": measure("f1", predicted, true, labels=occurring, average="macro"),
        "weighted_f1": measure("f1", predicted, true, labels=occurring, average="weighted"),
        "mcc": measure("matthews_correlation", predicted, true),
        **{name: measure(name, predicted, true) for name in of_order},
    }


def by_class(predicted: Sequence[int], true: Sequence[int], labels: Sequence[str]) -> dict[str, dict[str, float]]:
    """Precision, recall, F1 and the number of documents of each class."""
    indices = list(range(len(labels)))
    columns = {
        name: measure(name, predicted, true, labels=indices, average=None) for name in ("precision", "recall", "f1")
    }
    return {
        label: {**{name: column[i] for name, column in columns.items()}, "documents": list(true).count(i)}
        for i, label in enumerate(labels)
    }
