"""Swap the head of the masked language model and learn the classes.

Reads ``pretrain/``, ``tokenizer/``, ``encode/`` and ``fetch/labelled/{train,dev}.jsonl``, never the test documents.
Writes ``seed-<i>/`` (a network a seed), ``scratch/seed-<i>/`` (the same network without transfer, unless the first are
that already), ``linear/seed-0/`` (a linear classifier on lexical features and the frozen body) where the strategy asks
for it, ``soup/seed-0/`` (the mean of the seeds) or ``distilled/seed-<i>/`` (networks that learned from all of them and
from passages of ``filter/train.jsonl``) where ``finetune.ship`` does, ``model/`` (what is shipped: a network, the
linear classifier, or both joined) and ``metrics.jsonl`` (a line an epoch). The config.json of each network holds the
temperature of its probabilities, fitted on dev. Without a dev split, ``folds/`` holds figures of a cross-validation.
"""

from pathlib import Path
from typing import Any

from accelerate.utils import broadcast_object_list

from pipeline.artifacts import Run, sha256
from pipeline.console import log
from pipeline.errors import UsageError
from pipeline.program import stage_main
from pipeline.text.documents import read_jsonl, write_jsonl
from pipeline.text.passages import passages
from pipeline.transfer import shipped
from pipeline.transfer.bench import Bench, open_bench
from pipeline.transfer.ensembles import distil, soup
from pipeline.transfer.joining import JOINING, join
from pipeline.transfer.networks import best, dev_accuracy, metrics, origin, own, settle_layers, train_all


def work(run: Run, out: Path) -> dict[str, Any]:
    opened, counts = open_bench(run, out)
    bench = settle_layers(opened)
    texts = unlabelled(run, bench) if bench.settings.ship == "distilled" else []
    trained = train_all(bench)
    outcomes = trained | (soup(bench, trained) if bench.settings.ship == "soup" else {})
    choice: dict[str, Any] = (
        join(bench, outcomes) if bench.settings.strategy in JOINING else {"answer": "network", "share": 1.0}
    )
    candidates = own(outcomes)
    if bench.settings.ship == "distilled":
        (share,) = broadcast_object_list([choice.get("share")])  # known to rank 0
        pupils = distil(bench, outcomes, share, texts)
        outcomes, candidates = outcomes | pupils, pupils
        choice |= {"answer": "distilled", "share": 1.0, "teacher_share": share}
    seed = best(candidates).folder if candidates else ""
    bench.accelerator.wait_for_everyone()  # with reading: rank 0 gives the folder its final name
    if not bench.accelerator.is_main_process:
        return {}
    write_jsonl(out / "metrics.jsonl", metrics(trained))
    shipped.ship(choice["answer"], choice["share"], out / seed, out / "linear" / "seed-0", out / "model")
    with_network = "" if choice["answer"] == "linear" else f", {seed}"
    log.info("finetune: the model to ship: %s%s", choice["answer"], with_network)
    return {
        **counts,
        "transfer": {"checkpoint_sha256": sha256(bench.checkpoint / "model.safetensors"), **origin(outcomes)},
        "control": next(outcome["origin"] for job, outcome in outcomes.items() if job.strategy == "scratch"),
        "dev_accuracy": dev_accuracy(outcomes),
        "layers": bench.settings.layers,
        "choice": choice,
        "shipped": seed,
    }


def unlabelled(run: Run, bench: Bench) -> list[str]:
    """Passages for pupils to learn from, as long as the documents of train, which are left out where
    `labelled.as_corpus` has put them into the corpus. UsageError: there are none.
    """
    inside = run.config.labelled is not None and run.config.labelled.as_corpus
    rows = read_jsonl(run.input("filter/train.jsonl"))
    corpus = (row for row in rows if not inside or row["source"] != "labelled")
    texts = passages(corpus, [len(text) for text in bench.texts["train"]], bench.settings.unlabelled)
    if not texts:
        raise UsageError(
            "finetune.ship=distilled: the corpus has no passage half as long as the labelled documents to learn from: "
            "add text with `corpus.extra`, or ship another"
        )
    return texts


if __name__ == "__main__":
    stage_main("finetune", work)
