"""Scores of predicted classes, by `evaluate`, with the scripts beside this file: nothing is fetched or left behind."""

import atexit
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.metrics.bootstrap import Floats, interval
from pipeline.metrics.decisions import Truth


@cache
def _metric(name: str, config: str | None) -> Any:
    import evaluate

    # `evaluate` copies a script to its cache and imports the copy: a folder of ours, not one in the user's home.
    evaluate.config.HF_MODULES_CACHE = _temporary_folder()
    script = Path(__file__).parent / name / f"{name}.py"
    return evaluate.load(str(script), config, keep_in_memory=True, cache_dir=_temporary_folder())


@cache
def _temporary_folder() -> str:
    folder = tempfile.TemporaryDirectory(prefix="akshara-metrics-")
    atexit.register(folder.cleanup)
    return folder.name


def measure(name: str, predicted: npt.ArrayLike, true: npt.ArrayLike, **settings: Any) -> Any:
    """The figure that the script ``name`` gives for ``predicted`` and ``true``, a number or a list.

    Both are class indices (documents), or 0 and 1 (documents, classes) where a document may have several.
    """
    metric = _metric(name, "multilabel" if np.ndim(true) == 2 else None)
    return metric.compute(predictions=np.asarray(predicted).tolist(), references=np.asarray(true).tolist(), **settings)[
        name
    ]


def summary(predicted: npt.ArrayLike, true: npt.ArrayLike, *, ordered: bool = False) -> dict[str, float]:
    """Accuracy, macro and weighted F1 over the classes that occur in ``true``, and Matthews correlation.

    Of ``ordered`` classes also the mean absolute error, in places, and the quadratic weighted kappa. Where a document
    may have several: the share of documents with all classes right, micro and macro F1.
    """
    table = np.asarray(true)
    if table.ndim == 2:
        return _summary_multi_label(predicted, table)
    occurring = np.unique(table).tolist()
    of_order = ("mean_absolute_error", "quadratic_weighted_kappa") if ordered else ()
    return {
        "accuracy": measure("accuracy", predicted, true),
        "macro_f1": measure("f1", predicted, true, labels=occurring, average="macro"),
        "weighted_f1": measure("f1", predicted, true, labels=occurring, average="weighted"),
        "mcc": measure("matthews_correlation", predicted, true),
        **{name: measure(name, predicted, true) for name in of_order},
    }


def _summary_multi_label(predicted: npt.ArrayLike, true: npt.NDArray[Any]) -> dict[str, float]:
    occurring = np.flatnonzero(true.any(0)).tolist()
    return {
        "accuracy": measure("accuracy", predicted, true),
        "micro_f1": measure("f1", predicted, true, average="micro"),
        "macro_f1": measure("f1", predicted, true, labels=occurring, average="macro"),
    }


def over_seeds(
    seeds: Sequence[Truth], true: Truth, resampled: Mapping[str, Floats], *, ordered: bool
) -> dict[str, dict[str, Any]]:
    """Each figure of ``summary``: mean and standard deviation over ``seeds``, the ends of the bootstrap's 95 % interval
    (``resampled``: by figure, of each draw), and each seed's.
    """
    each = [summary(predicted, true, ordered=ordered) for predicted in seeds]
    return {name: _spread([one[name] for one in each], resampled[name]) for name in each[0]}


def _spread(per_seed: Sequence[float], resampled: Floats) -> dict[str, Any]:
    low, high = interval(resampled)
    sd = stdev(per_seed) if len(per_seed) > 1 else 0.0
    return {"mean": mean(per_seed), "sd": sd, "low": low, "high": high, "per_seed": list(per_seed)}


def in_detail(predicted: Truth, true: Truth, labels: Sequence[str]) -> dict[str, Any]:
    """Figures by class and, where each document has one class, which is taken for which."""
    figures = {"per_class": by_class(predicted, true, labels)}
    if true.ndim == 2:
        return figures
    counts = measure("confusion_matrix", predicted, true, labels=list(range(len(labels))))
    return {**figures, "confusion_matrix": {"labels": labels, "counts": counts}}


def by_class(predicted: npt.ArrayLike, true: npt.ArrayLike, labels: Sequence[str]) -> dict[str, dict[str, float]]:
    """Precision, recall, F1 and the number of documents of each class."""
    indices = list(range(len(labels)))
    columns = {
        name: measure(name, predicted, true, labels=indices, average=None) for name in ("precision", "recall", "f1")
    }
    table = np.asarray(true)
    documents = table.sum(0) if table.ndim == 2 else np.bincount(table, minlength=len(labels))
    return {
        label: {**{name: column[i] for name, column in columns.items()}, "documents": int(documents[i])}
        for i, label in enumerate(labels)
    }
