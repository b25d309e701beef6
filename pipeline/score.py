"""Read the test documents, once, and measure what the transfer was worth.

Reads ``finetune/`` and ``fetch/labelled/{train,test}.jsonl``; no other stage opens the test documents. Writes
``scores.json`` (every figure with its interval, beside the baselines', and the verdict) and ``predictions.jsonl``
(what the shipped model says of each test document).
"""

from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import numpy.typing as npt
from accelerate import Accelerator

from pipeline.artifacts import Run, sha256, write_json
from pipeline.errors import UsageError
from pipeline.metrics import bootstrap, scores
from pipeline.program import log, stage_main
from pipeline.text.documents import Document, read_jsonl, write_jsonl
from pipeline.training.processes import processes
from pipeline.transfer.baseline import tfidf_svm
from pipeline.transfer.classifier import load, quiet_transformers
from pipeline.transfer.training import classify

Classes = list[int]


def work(run: Run, out: Path) -> dict[str, Any]:
    quiet_transformers()
    accelerator, folder = processes(), run.input("finetune")
    model, tokenizer = load(folder / "model")
    labels = [model.config.id2label[i] for i in range(model.config.num_labels)]
    test = read_test(run, labels)
    texts, true = [row["text"] for row in test], [labels.index(row["label"]) for row in test]

    seen = {name: classes_by_seed(accelerator, folder / place, texts) for name, place in PLACES.items()}
    seen["tfidf_svm"] = [lexical_classes(run, texts, labels)]
    drawn = bootstrap.draws(len(test), run.config.score.resamples)
    resampled = {name: bootstrap.resampled(drawn, seeds, true, len(labels)) for name, seeds in seen.items()}
    figures = {name: summary(seeds, true, resampled[name]) for name, seeds in seen.items()}
    said = classify(accelerator, model, tokenizer, texts)
    shipped = said.argmax(-1).tolist()

    result = {
        "test": {
            **figures["test"],
            "documents": len(test),
            "per_class": scores.by_class(shipped, true, labels),
            "confusion_matrix": {
                "labels": labels,
                "counts": scores.measure("confusion_matrix", shipped, true, labels=list(range(len(labels)))),
            },
        },
        "shipped": scores.summary(shipped, true),
        "baselines": {name: figures[name] for name in BASELINES},
        **verdict(figures, resampled),
    }
    write_json(out / "scores.json", result)
    write_jsonl(out / "predictions.jsonl", predictions(test, said, labels))
    log.info("score: %s test documents; %s", f"{len(test):,}", result["evidence"])
    return {
        "test_documents": len(test),
        "test_sha256": sha256(run.input("fetch/labelled/test.jsonl")),
        "accuracy": {name: each["accuracy"]["mean"] for name, each in figures.items()},
        "verdict": result["verdict"],
    }


PLACES = {"test": ".", "scratch": "scratch"}  # under finetune/
BASELINES = {"tfidf_svm": "character TF-IDF with a linear SVM", "scratch": "the same network without transfer"}


def read_test(run: Run, labels: list[str]) -> list[Document]:
    """The test documents. UsageError: there are none, or one is of a class that train never saw."""
    path = run.input("fetch/labelled/test.jsonl")
    test = list(read_jsonl(path)) if path.exists() else []
    if not test:
        raise UsageError(
            f"{path}: no test documents to score on: name them with `labelled.test=`, a file or a data set"
        )
    unseen = sorted({row["label"] for row in test} - set(labels))
    if unseen:
        raise UsageError(f"the class `{unseen[0]}` is in test and has no training document: add some, or take it out")
    return test


def classes_by_seed(accelerator: Accelerator, folder: Path, texts: list[str]) -> list[Classes]:
    """What the classifier of each seed says."""
    seeds = sorted(folder.glob("seed-*"), key=lambda seed: int(seed.name.removeprefix("seed-")))
    return [classify(accelerator, *load(seed), texts).argmax(-1).tolist() for seed in seeds]


def lexical_classes(run: Run, texts: list[str], labels: list[str]) -> Classes:
    """What the baseline says that learns from the same training documents."""
    train = list(read_jsonl(run.input("fetch/labelled/train.jsonl")))
    fitted = tfidf_svm([row["text"] for row in train], [row["label"] for row in train])
    return [labels.index(label) for label in fitted.predict(texts)]


def summary(seeds: list[Classes], true: Classes, resampled: dict[str, bootstrap.Floats]) -> dict[str, Any]:
    """Each figure: mean and standard deviation over seeds, ends of the bootstrap's 95 % interval, and each seed's."""
    each = [scores.summary(predicted, true) for predicted in seeds]
    return {name: _spread([one[name] for one in each], resampled[name]) for name in each[0]}


def _spread(per_seed: Sequence[float], resampled: bootstrap.Floats) -> dict[str, Any]:
    low, high = bootstrap.interval(resampled)
    sd = stdev(per_seed) if len(per_seed) > 1 else 0.0
    return {"mean": mean(per_seed), "sd": sd, "low": low, "high": high, "per_seed": list(per_seed)}


def verdict(figures: dict[str, Any], resampled: dict[str, dict[str, bootstrap.Floats]]) -> dict[str, Any]:
    """Whether transfer beats the better baseline in accuracy, by a paired bootstrap, and a sentence of evidence."""
    rival = max(BASELINES, key=lambda name: figures[name]["accuracy"]["mean"])
    low, high = bootstrap.interval(resampled["test"]["accuracy"] - resampled[rival]["accuracy"])
    word = "positive" if low > 0 else "negative" if high < 0 else "neutral"
    ours, theirs = figures["test"]["accuracy"]["mean"], figures[rival]["accuracy"]["mean"]
    return {
        "verdict": word,
        "evidence": f"transfer is {word}: accuracy {ours:.3f}, and {theirs:.3f} of {BASELINES[rival]}, the better "
        f"baseline; difference {ours - theirs:+.3f}, 95 % interval {low:+.3f} to {high:+.3f} (paired bootstrap)",
        "difference": {"baseline": rival, "mean": ours - theirs, "low": low, "high": high},
    }


def predictions(test: list[Document], said: npt.NDArray[np.float64], labels: list[str]) -> list[Document]:
    return [
        {
            "id": row["id"],
            "label": row["label"],
            "predicted": labels[int(each.argmax())],
            "probabilities": {label: round(float(p), 6) for label, p in zip(labels, each, strict=True)},
        }
        for row, each in zip(test, said, strict=True)
    ]


if __name__ == "__main__":
    stage_main("score", work)
