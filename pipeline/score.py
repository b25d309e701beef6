"""Read the test documents, once, and measure what the transfer was worth.

Reads ``finetune/``, ``fetch/labelled/{train,test}.jsonl`` and, for word vectors, ``filter/train.jsonl``; fetch and
filter read the test documents to take them out elsewhere, no other stage opens them. Writes ``scores.json`` (every
figure with its interval, beside the baselines', the tests against the controls, how far probabilities can be
believed, and the verdict), ``predictions.jsonl`` (what the shipped model says of each test document) and
``hardest.jsonl`` (the documents that all seeds together are most confidently wrong about).
"""

from collections import Counter
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from accelerate import Accelerator

from pipeline.artifacts import Run, read_manifest, sha256, write_json
from pipeline.console import log
from pipeline.errors import UsageError
from pipeline.metrics import bootstrap, calibration, comparison, decisions, scores
from pipeline.metrics.decisions import Table, Truth
from pipeline.metrics.verdict import verdict
from pipeline.program import stage_main
from pipeline.text.documents import Document, read_jsonl, write_jsonl
from pipeline.text.labelled import labels_of
from pipeline.training.processes import processes
from pipeline.transfer.baseline import as_linear, no_vectors, tfidf_svm, without_body
from pipeline.transfer.classifier import quiet_transformers
from pipeline.transfer.given import class_order, is_multi_label
from pipeline.transfer.joining import mixed
from pipeline.transfer.linear import Choice, Linear
from pipeline.transfer.shipped import Frozen, classify, load, save_frozen
from pipeline.transfer.static import SAMPLE_WORDS, fasttext_logistic

# What finetune may have trained, and where it lies in finetune/.
PLACES = {name: name for name in ("linear", "soup", "distilled", "scratch")} | {"network": "."}
CONTROLS = {  # what the verdict asks the answer to be ahead of
    "tfidf_svm": "character TF-IDF with a linear SVM",
    "lexical": "the linear classifier that reads characters alone",
    "scratch": "the same network from random weights",
}
BASELINES = ("tfidf_svm", "lexical", "fasttext_logistic", "scratch", "majority")
ANSWERING = {
    "network": "the transferred network",
    "linear": "a linear classifier that reads the pretrained body",
    "soup": "the network of the transferred networks' mean weights",
    "distilled": "the network that learned from what others say of unlabelled text",
    "joined": "the transferred network together with a linear classifier",
}
HARDEST = 20


def work(run: Run, out: Path) -> dict[str, Any]:
    quiet_transformers()
    accelerator, classifier = processes(), load(run.input("finetune/model"))
    labels = classifier.labels
    test = read_test(run, labels)
    texts, true = [row["text"] for row in test], truth(test, labels)

    probabilities = probabilities_by_kind(run, accelerator, texts)
    networks = "soup" if "soup" in probabilities else "network"  # those of which one is shipped
    choice = finetuned(run)["choice"]
    answer = networks if choice["answer"] == "network" else choice["answer"]
    probabilities["test"] = probabilities[answer]
    decide = partial(decisions.decided, multi_label=true.ndim == 2)
    # by kind of classifier, one a seed
    answers = {name: [decide(each) for each in seeds.values()] for name, seeds in probabilities.items()}
    train = list(read_jsonl(run.input("fetch/labelled/train.jsonl")))
    learned, largest = ([row["text"] for row in train], truth(train, labels)), largest_class(train)
    fitted = baselines(learned, Choice(**choice["linear"]) if "linear" in choice else None)
    answers |= {name: [classes] for name, classes in baseline_answers(run, fitted, learned, texts).items()}
    answers["majority"] = [truth([largest] * len(test), labels)]
    ordered = bool(class_order(run))
    measured = measure(answers, true, len(labels), run.config.score.resamples, ordered=ordered)

    shipped_probabilities = classify(accelerator, classifier, texts)
    shipped = decide(shipped_probabilities)
    rivals = {name: answers[name][0] for name in CONTROLS} | {
        "scratch": decide(of_shipped(run, probabilities["scratch"]))
    }
    ours = described(answer, choice)
    if run.config.finetune.strategy == "scratch":  # it is no control of itself
        ours = "a network from random weights"
        del rivals["scratch"]

    figures = measured.figures
    result = {
        "test": {**figures["test"], "documents": len(test), **scores.in_detail(shipped, true, labels)},
        "shipped": scores.summary(shipped, true, ordered=ordered),
        "calibration": calibration.before_and_after(shipped_probabilities, true, classifier.temperature),
        "answer": answer,
        "parts": {name: figures[name] for name in ANSWERING if name in figures},
        "baselines": {name: figures[name] for name in BASELINES},
        "largest_class": largest,
        **judged(measured, "test", shipped, rivals, ours),
    }
    if answer != networks and networks in probabilities:  # what the network is worth without what it is joined with
        one = decide(of_shipped(run, probabilities[networks]))
        result["network_alone"] = judged(measured, networks, one, rivals, ANSWERING[networks])
    result["offered"] = offered(fitted, result["offer"], labels, out)
    write_json(out / "scores.json", result)
    write_jsonl(out / "predictions.jsonl", predictions(test, shipped_probabilities, labels))
    write_jsonl(out / "hardest.jsonl", hardest(test, list(probabilities["test"].values()), labels))
    log.info("score: %s test documents; %s", f"{len(test):,}", result["story"])
    return {
        "test_documents": len(test),
        "test_sha256": sha256(run.input("fetch/labelled/test.jsonl")),
        "accuracy": {name: each["accuracy"]["mean"] for name, each in figures.items()},
        "verdict": result["verdict"],
    }


def described(name: str, choice: dict[str, Any]) -> str:
    """What answers, in words; ``choice`` is finetune's."""
    if name != "linear":
        return ANSWERING[name]
    pieces, top_layer = choice["linear"]["weights"]
    if top_layer:
        return ANSWERING[name]
    reads = "reads vectors of pieces and " if pieces else ""
    return f"a linear classifier that {reads}takes nothing from the pretrained body"


def read_test(run: Run, labels: list[str]) -> list[Document]:
    """The test documents. UsageError: there are none, or one is of a class that train never saw."""
    path = run.input("fetch/labelled/test.jsonl")
    test = list(read_jsonl(path)) if path.exists() else []
    if not test:
        raise UsageError(
            f"{path}: no test documents to score on: name them with `labelled.test=`, a file or a data set"
        )
    unseen = sorted({label for row in test for label in labels_of(row)} - {*labels})
    if unseen:
        raise UsageError(f"the class `{unseen[0]}` is in test and has no training document: add some, or take it out")
    return test


def probabilities_by_kind(run: Run, accelerator: Accelerator, texts: list[str]) -> dict[str, dict[str, Table]]:
    """What each kind of classifier that finetune has trained says, by seed; and both together, where they answer so."""
    found = {
        name: probabilities_by_seed(accelerator, run.input("finetune") / place, texts) for name, place in PLACES.items()
    }
    probabilities = {name: seeds for name, seeds in found.items() if seeds}
    probabilities.setdefault("scratch", probabilities.get("network", {}))  # finetune.strategy=scratch trains it once
    choice = finetuned(run)["choice"]
    if choice["answer"] == "joined":
        (linear,) = probabilities["linear"].values()
        networks = probabilities.get("soup") or probabilities["network"]
        probabilities["joined"] = {seed: mixed(choice["share"], each, linear) for seed, each in networks.items()}
    return probabilities


def probabilities_by_seed(accelerator: Accelerator, folder: Path, texts: list[str]) -> dict[str, Table]:
    """The probabilities that the classifier of each seed gives, by the name of its folder: (documents, classes)."""
    seeds = sorted(folder.glob("seed-*"), key=lambda seed: int(seed.name.removeprefix("seed-")))
    return {seed.name: classify(accelerator, load(seed), texts) for seed in seeds}


def of_shipped(run: Run, seeds: dict[str, Table]) -> Table:
    """What the one of ``seeds`` says that met the documents in the same order as the shipped model; else the first."""
    return seeds.get(finetuned(run)["shipped"], next(iter(seeds.values())))


def finetuned(run: Run) -> dict[str, Any]:
    """What the finetune stage counted."""
    manifest = read_manifest(run.folder / "finetune")
    assert manifest, "the recipe asks for the finetune stage first"
    counts: dict[str, Any] = manifest["counts"]
    return counts


def truth(rows: list[Document], labels: list[str]) -> Truth:
    """The class of each row; or, where rows have lists of labels, 0 or 1 for each class: (documents, classes)."""
    if is_multi_label(rows):
        return np.array([[int(label in row["label"]) for label in labels] for row in rows])
    return np.array([labels.index(row["label"]) for row in rows])


def baselines(learned: tuple[list[str], Truth], with_body: Choice | None = None) -> dict[str, Linear]:
    """Linear classifiers of characters, fitted on the texts and classes that the networks have ``learned`` from.

    ``with_body``: what finetune settled.
    """
    return {"tfidf_svm": as_linear(tfidf_svm(*learned), *learned), "lexical": without_body(*learned, with_body)}


def baseline_answers(
    run: Run, fitted: dict[str, Linear], learned: tuple[list[str], Truth], texts: list[str]
) -> dict[str, Truth]:
    """The classes of ``texts`` by ``fitted``, and by word vectors that have ``learned`` from the same documents."""
    filtered = read_manifest(run.folder / "filter")
    assert filtered, "the recipe asks for the filter stage first"
    every = max(1, round(filtered["counts"]["kept"]["train"]["words"] / SAMPLE_WORDS))
    corpus = (row["text"] for row in islice(read_jsonl(run.input("filter/train.jsonl")), 0, None, every))
    fasttext = fasttext_logistic(corpus, *learned)
    none = no_vectors(texts)
    answers = {
        name: decisions.decided(each.probabilities(texts, none), multi_label=each.multi_label)
        for name, each in fitted.items()
    }
    return {**answers, "fasttext_logistic": fasttext.predict(texts)}


def offered(fitted: dict[str, Linear], offer: str, labels: list[str], out: Path) -> str:
    """Where the model to use lies in the run's folder; a linear baseline is written to ``offer/`` in ``out``."""
    if offer in ("transfer", "scratch"):
        return "finetune/model" if offer == "transfer" else "finetune/scratch/seed-0"
    save_frozen(Frozen(labels, fitted[offer]), out / "offer")
    return "score/offer"


def largest_class(train: list[Document]) -> dict[str, Any]:
    """The class (or the list of labels) with the most training documents, and its share of them."""
    sizes = Counter(tuple(sorted(labels_of(row))) for row in train)
    ((commonest, count),) = sizes.most_common(1)
    return {"label": [*commonest] if is_multi_label(train) else commonest[0], "share": count / len(train)}


class Measured(NamedTuple):
    """Every classifier on the same test documents, by its name."""

    true: Truth
    figures: dict[str, Any]
    resampled: dict[str, dict[str, bootstrap.Floats]]  # each figure, of each draw of documents


def measure(answers: dict[str, list[Truth]], true: Truth, classes: int, resamples: int, *, ordered: bool) -> Measured:
    """``answers``: by classifier, what each of its seeds decides."""
    drawn = bootstrap.draws(len(true), resamples)
    resampled = {
        name: bootstrap.resampled(drawn, seeds, true, classes, ordered=ordered) for name, seeds in answers.items()
    }
    figures = {
        name: scores.over_seeds(seeds, true, resampled[name], ordered=ordered) for name, seeds in answers.items()
    }
    return Measured(true, figures, resampled)


def judged(measured: Measured, name: str, own: Truth, rivals: dict[str, Truth], ours: str) -> dict[str, Any]:
    """The verdict on the classifier ``name``, called ``ours``. ``own`` and ``rivals``: what one seed of it decides, and
    one of each control.
    """
    return verdict(
        measured.figures[name]["accuracy"]["mean"],
        {control: evidence(measured, name, own, control, rival) for control, rival in rivals.items()},
        len(measured.true),
        CONTROLS,
        ours,
    )


def evidence(measured: Measured, ours: str, own: Truth, theirs: str, rival: Truth) -> dict[str, Any]:
    """How ``ours`` does against ``theirs``. ``own`` and ``rival``: what one seed of each decides."""
    accuracy = measured.figures[theirs]["accuracy"]["mean"]
    ahead = measured.figures[ours]["accuracy"]["mean"] - accuracy
    draws = (measured.resampled[name]["accuracy"] for name in (ours, theirs))
    return {
        "accuracy": accuracy,
        "difference": {"mean": round(ahead, bootstrap.DIGITS), **comparison.paired(*draws)},
        "mcnemar": comparison.mcnemar(own, rival, measured.true),
    }


def hardest(test: list[Document], probabilities: list[Table], labels: list[str]) -> list[Document]:
    """The documents that the mean over seeds is wrong about, the surest first, at most ``HARDEST``."""
    mean_of_seeds, true = np.mean(probabilities, 0), truth(test, labels)
    multi_label = true.ndim == 2
    decided = decisions.decided(mean_of_seeds, multi_label=multi_label)
    confidence, of_label = (
        decisions.of_truth(mean_of_seeds, each).reshape(len(test), -1).prod(1) for each in (decided, true)
    )
    wrong = ~np.stack([decisions.right(decisions.decided(one, multi_label=multi_label), true) for one in probabilities])
    missed = np.flatnonzero(~decisions.right(decided, true))
    return [
        {
            "id": test[i]["id"],
            "text": test[i]["text"],
            "label": test[i]["label"],
            "predicted": decisions.names(decided[i], labels),
            "probability": round(float(confidence[i]), 6),
            "probability_of_label": round(float(of_label[i]), 6),
            "seeds_wrong": int(wrong[:, i].sum()),
        }
        for i in sorted(missed.tolist(), key=lambda i: -confidence[i])[:HARDEST]
    ]


def predictions(test: list[Document], probabilities: Table, labels: list[str]) -> list[Document]:
    answers = decisions.decided(probabilities, multi_label=is_multi_label(test))
    return [
        {
            "id": row["id"],
            "label": row["label"],
            "predicted": decisions.names(decided, labels),
            "probabilities": {label: round(float(p), 6) for label, p in zip(labels, each, strict=True)},
        }
        for row, each, decided in zip(test, probabilities, answers, strict=True)
    ]


if __name__ == "__main__":
    stage_main("score", work)
