"""Measure accuracy against the number of labels: of the transferred classifier, of its control and of the baseline.

Reads what the finetune stage reads, never the test documents. Each classifier learns from stratified parts of train,
the smaller within the larger, and is measured on dev (without a dev split: on a fixed fifth of train). Writes
``runs/<run>/curve/``: ``points/``, a file a classifier, which the same command goes on from; ``curve.json``, all
figures; and ``index.html``, the picture.
"""

import json
import shutil
import time
from collections.abc import Callable
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pipeline.artifacts import Run, begin, ingredients, require_upstream, write_json
from pipeline.console import log
from pipeline.errors import UsageError
from pipeline.metrics import bootstrap
from pipeline.metrics.decisions import Table
from pipeline.metrics.learning_curve import contrasts, labels_until
from pipeline.program import beside_main
from pipeline.recipe import LINE
from pipeline.reporting import learning
from pipeline.reporting.page import render
from pipeline.transfer.bench import Bench, open_bench
from pipeline.transfer.given import read_labelled, require_curve, require_strategy
from pipeline.transfer.joining import frozen_body
from pipeline.transfer.networks import settle_layers
from pipeline.transfer.side_by_side import side_by_side
from pipeline.transfer.subsets import (
    answer_probabilities,
    can_be_cross_validated,
    kinds,
    nested_order,
    network_probabilities,
    subset,
    tfidf_probabilities,
    with_dev,
)

Points = dict[str, dict[int, list[Any]]]  # kind, number of labels → what is in the file of each seed
OURS = ("network", "answer")  # the kinds that transfer
NETWORKS = ("network", "scratch")  # the kinds that take long


def work(run: Run) -> None:
    require_upstream(LINE["finetune"], run)
    require_strategy("curve", run.config.finetune)
    require_curve(read_labelled(run)[0])
    folder = run.folder / "curve"
    opened, _ = open_bench(run, folder)
    bench = with_dev(opened)
    labels = len(bench.splits["train"].ids)
    sizes = sorted({size for size in run.config.curve.sizes if size < labels} | {labels})
    if len(sizes) < 2:
        raise UsageError(f"there are {labels} documents to learn from: name a smaller number in curve.sizes")
    if run.force:
        shutil.rmtree(folder, ignore_errors=True)
    begin(folder, ingredients(LINE["finetune"], run))
    measured = measure(settle_layers(bench), sizes, run.config.curve.seeds)
    result = {
        "measured_on": "dev" if "dev" in opened.splits else "train, a fifth held out",
        "seeds": run.config.curve.seeds,
        "sizes": sizes,
        **compare(measured, bench.splits["dev"].classes(), run.config.score.resamples),
    }
    write_json(folder / "curve.json", result)
    story = list(learning.story(result))
    shown = {"run": run, "chart": learning.chart(result["curves"]), "story": story}
    words = {"names": learning.names(result["curves"]), "needed": learning.needed}
    (folder / "index.html").write_text(render(result | shown | words, "curve.html.jinja"), "utf-8")
    for sentence in story:
        log.info("curve: %s", sentence)
    log.info("curve: open %s", folder / "index.html")


class Point(NamedTuple):
    """One classifier: its kind, how many labels it learns from, and the seed by which they are drawn."""

    kind: str
    labels: int
    seed: int

    def path(self, bench: Bench) -> Path:
        return bench.out / "points" / f"{self.kind}-{self.labels}-{self.seed}.json"


def measure(bench: Bench, sizes: list[int], seeds: int) -> Points:
    """Every point of every curve; those that an earlier attempt has measured are read."""
    found: Points = {kind: {} for kind in kinds(bench.settings)}
    points = [Point(kind, size, seed) for seed, size, kind in product(range(seeds), sizes, found)]
    of_networks = [point for point in points if point.kind in NETWORKS]
    missing = [point for point in of_networks if not point.path(bench).exists()]
    side_by_side(measure_point, bench, missing, len(of_networks))
    vectors = cache(lambda: frozen_body(bench)[1])
    for point in points:
        if point.kind == "answer" and not can_be_cross_validated(subset(bench, documents(bench, point))):
            continue
        if not point.path(bench).exists():
            measure_point(bench, point, vectors)
        found[point.kind].setdefault(point.labels, []).append(json.loads(point.path(bench).read_text("utf-8")))
    return found


def documents(bench: Bench, point: Point) -> list[int]:
    """The documents of train, by index, that the classifier of ``point`` learns from."""
    return sorted(nested_order(bench.splits["train"].classes(), point.seed)[: point.labels])


def measure_point(bench: Bench, point: Point, vectors: Callable[[], dict[str, Table]] | None = None) -> None:
    """Train the classifier of ``point`` and write what it says of each dev document, as a whole file or none.

    The kind ``answer`` wants the body's ``vectors`` of all documents, and the network of as many labels before it.
    """
    clock, chosen = time.perf_counter(), documents(bench, point)
    part = subset(bench, chosen)
    if point.kind == "answer":
        assert vectors, "the caller has read the documents"
        path = point._replace(kind="network").path(bench)
        network = np.array(json.loads(path.read_text("utf-8"))["probabilities"]) if path.exists() else None
        table = answer_probabilities(part, vectors() | {"train": vectors()["train"][chosen]}, network)
    elif point.kind == "tfidf_svm":
        table = tfidf_probabilities(part)
    else:
        table = network_probabilities(part, point.kind, point.seed)
    prediction = {"predicted": table.argmax(-1).tolist(), "probabilities": table.round(6).tolist()}
    point.path(bench).parent.mkdir(exist_ok=True)
    write_json(point.path(bench), {"seconds": round(time.perf_counter() - clock, 2), **prediction})
    name = learning.names(kinds(bench.settings))[point.kind]
    log.info("curve: %d labels, seed %d: %s", point.labels, point.seed, name)


def compare(measured: Points, truth: list[int], resamples: int) -> dict[str, Any]:
    """Mean and spread of every point, how the curves differ, and the labels until the baseline's height."""
    hits = {
        kind: {size: np.array([point["predicted"] for point in seeds]) == truth for size, seeds in points.items()}
        for kind, points in measured.items()
        if points
    }
    curves = {kind: [spread(size, table.mean(1)) for size, table in sizes.items()] for kind, sizes in hits.items()}
    drawn = bootstrap.draws(len(truth), resamples)
    right = {kind: {size: table.mean(0) for size, table in sizes.items()} for kind, sizes in hits.items()}
    pairs = product(
        (kind for kind in OURS if len(right.get(kind, ())) > 1), (kind for kind in right if kind not in OURS)
    )
    height = curves["tfidf_svm"][-1]["mean"]
    until = {kind: labels_until(height, [(at["labels"], at["mean"]) for at in curve]) for kind, curve in curves.items()}
    return {
        "documents": len(truth),
        "curves": curves,
        "contrasts": [{"ours": a, "theirs": b, **contrasts(right[a], right[b], drawn)} for a, b in pairs],
        "labels_until": {"accuracy": height, "labels": until},
        "seconds": round(
            sum(point["seconds"] for sizes in measured.values() for s in sizes.values() for point in s), 1
        ),
    }


def spread(labels: int, accuracy: Table) -> dict[str, Any]:
    """A point of a curve, from the accuracy of each seed; one alone has no ``sd``."""
    sd = float(accuracy.std(ddof=1)) if len(accuracy) > 1 else None
    return {"labels": labels, "mean": float(accuracy.mean()), "sd": sd, "each": accuracy.tolist()}


if __name__ == "__main__":
    beside_main("curve", work, ("curve", "finetune"))
