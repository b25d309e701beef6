"""The ways to transfer side by side: what each is right on of labelled documents that it has not learned from.

    python -m benchmarks.strategies configs/or-local.yaml configs/so-local.yaml

Of each run, which must have pretrained, the documents of train and dev are cut into five folds. Each strategy learns
from four and answers on the fifth, with another seed for every fold; the test documents stay closed. `hybrid` and
`auto` join the network of `full` with a linear classifier; the baselines are those of `score`. Results are kept in
runs/strategies/, a line a classifier; the same command goes on from them, and prints a column for every run. Seconds
are of CPU, over all threads.
"""

import argparse
import json
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np

from benchmarks.judging import cross_validated
from pipeline import config
from pipeline.artifacts import Run
from pipeline.metrics.decisions import right
from pipeline.text.documents import read_jsonl
from pipeline.transfer.baseline import no_vectors, without_body
from pipeline.transfer.bench import Bench, open_bench
from pipeline.transfer.given import FOLDS
from pipeline.transfer.joining import JOINING, frozen_body
from pipeline.transfer.subsets import answer_probabilities, leaving_out, network_probabilities, tfidf_probabilities

RESULTS = Path("runs/strategies")
SETTINGS: dict[str, dict[str, Any]] = {  # beside those of the run, where a strategy wants others
    "full": {},
    "last_layers": {},
    "head_then_all": {},
    "gradual": {},
    "lora": {"learning_rate": 2e-3},
    "features": {},
    "hybrid": {},
    "auto": {},
    "scratch": {},
}


def lexical_probabilities(bench: Bench) -> Any:
    """What the linear classifier says of each dev document without the body."""
    fitted = without_body(bench.texts["train"], bench.splits["train"].truth())
    return fitted.probabilities(bench.texts["dev"], no_vectors(bench.texts["dev"]))


BASELINES = {"lexical": lexical_probabilities, "tfidf_svm": tfidf_probabilities}
ALL = [*SETTINGS, *BASELINES]


def measured(bench: Bench, fold: int, strategies: list[str]) -> Iterator[dict[str, Any]]:
    """A row a strategy: its share of right answers on ``fold``, and the seconds that it took to learn and answer."""
    part = leaving_out(bench, fold)
    vectors = cache(lambda: frozen_body(part)[1])

    @cache
    def network(strategy: str) -> Any:
        clock = time.process_time()
        settings = part.settings.model_copy(update={"strategy": strategy} | SETTINGS[strategy])
        kind = "scratch" if strategy == "scratch" else "network"
        return network_probabilities(part._replace(settings=settings), kind, fold), time.process_time() - clock

    for strategy in strategies:
        clock, before = time.process_time(), 0.0
        if strategy in JOINING:
            joining = part._replace(settings=part.settings.model_copy(update={"strategy": strategy}))
            of_network = None
            if strategy != "features":
                of_network, before = network("full")
                clock = time.process_time()
            probabilities = answer_probabilities(joining, vectors(), of_network)
        else:
            probabilities = BASELINES[strategy](part) if strategy in BASELINES else network(strategy)[0]
        seconds = before + time.process_time() - clock
        truth = np.asarray(part.splits["dev"].classes())
        accuracy = float(right(probabilities.argmax(-1), truth).mean())
        labels = len(part.splits["train"].ids)
        yield {"strategy": strategy, "fold": fold, "labels": labels, "accuracy": accuracy, "seconds": seconds}


def column(rows: list[dict[str, Any]], strategy: str) -> str:
    mine = [row for row in rows if row["strategy"] == strategy]
    if len(mine) < FOLDS:
        return "–"
    accuracy = [100 * row["accuracy"] for row in mine]
    return f"{mean(accuracy):.1f} ± {stdev(accuracy):.1f}, {mean(row['seconds'] for row in mine):.0f} s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("configs", nargs="+")
    parser.add_argument("--only", nargs="+", choices=ALL, default=ALL, metavar="STRATEGY")
    options = parser.parse_args()
    results: list[tuple[Run, list[dict[str, Any]]]] = []
    for path in options.configs:
        run = Run(config.load(path, []), path)
        kept = RESULTS / f"{run.folder.name}.jsonl"
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.touch()
        bench = cross_validated(open_bench(run, run.folder / "strategies")[0])
        for fold in range(FOLDS):
            done = {row["strategy"] for row in read_jsonl(kept) if row["fold"] == fold}
            for row in measured(bench, fold, [strategy for strategy in options.only if strategy not in done]):
                with kept.open("a", encoding="utf-8") as out:
                    out.write(json.dumps(row, ensure_ascii=False) + "\n")
        results.append((run, list(read_jsonl(kept))))
    titles = [f"{run.folder.name}, {rows[0]['labels']} labels" for run, rows in results]
    print(f"| | {' | '.join(titles)} |\n|---|{'---:|' * len(titles)}")
    for strategy in options.only:
        print(f"| `{strategy}` | {' | '.join(column(rows, strategy) for _, rows in results)} |")


if __name__ == "__main__":
    main()
