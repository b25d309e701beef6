"""Classifiers that learn from fewer labels than there are: what each kind says of documents that stay the same."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from pipeline.config import Finetune
from pipeline.metrics.decisions import Table, Truth
from pipeline.transfer import linear
from pipeline.transfer.baseline import tfidf_svm
from pipeline.transfer.bench import Bench
from pipeline.transfer.documents import all_but, folds
from pipeline.transfer.given import FOLDS
from pipeline.transfer.joining import JOINING, mixed, settle
from pipeline.transfer.networks import Job, held_out, learn, network_strategy, probabilities


def kinds(settings: Finetune) -> list[str]:
    """What there is to compare: the network, what it and a linear classifier answer, and the two controls."""
    network = [] if settings.strategy == "features" else ["network"]
    return [*network, *(["answer"] if settings.strategy in JOINING else []), "scratch", "tfidf_svm"]


def nested_order(classes: Sequence[int], seed: int) -> list[int]:
    """All documents, by index, drawn by chance so that each beginning of the list is a stratified sample.

    It holds the classes in their shares, rounded up: none is left out where there are as many documents as classes.
    """
    rng, sizes, met = np.random.default_rng(seed), Counter(classes), Counter[int]()
    place: dict[int, tuple[float, float]] = {}
    for i in rng.permutation(len(classes)).tolist():
        place[i] = (met[classes[i]] / sizes[classes[i]], rng.random())
        met[classes[i]] += 1
    return sorted(place, key=lambda i: place[i])


def with_dev(bench: Bench) -> Bench:
    """``bench``, where it has a dev split; else with a fifth of train, always the same, in its place."""
    return bench if "dev" in bench.splits else leaving_out(bench, 0)


def leaving_out(bench: Bench, fold: int) -> Bench:
    """``bench`` with a fold of train in the place of dev, and all else as train."""
    train = bench.splits["train"]
    left_out = held_out(train)[fold]
    texts = bench.texts | {"dev": [bench.texts["train"][i] for i in left_out]}
    splits = {**bench.splits, "dev": train.part(left_out)}
    return subset(bench._replace(splits=splits, texts=texts), all_but(left_out, len(train.ids)))


def subset(bench: Bench, train: Sequence[int]) -> Bench:
    """``bench`` with these documents of train alone."""
    splits = {**bench.splits, "train": bench.splits["train"].part(train)}
    return bench._replace(splits=splits, texts={**bench.texts, "train": [bench.texts["train"][i] for i in train]})


def network_probabilities(bench: Bench, kind: str, seed: int) -> Table:
    """Probabilities of the classes of each dev document, by a network of ``kind``, ``network`` or ``scratch``."""
    strategy = "scratch" if kind == "scratch" else network_strategy(bench.settings)
    size = len(bench.splits["train"].ids)
    return probabilities(learn(Job(strategy, seed, f"{size}-labels-seed-{seed}"), bench)[1])


def tfidf_probabilities(bench: Bench) -> Table:
    """The baseline's answer on each dev document, as a probability of one: it has no others."""
    fitted = tfidf_svm(bench.texts["train"], bench.splits["train"].classes())
    predicted: Truth = fitted.predict(bench.texts["dev"])
    return np.eye(len(bench.labels))[predicted]


def can_be_cross_validated(bench: Bench) -> bool:
    """Whether train has more documents than classes, and all of these: ``linear.choose`` wants one of each, two of one.

    Of beginnings of ``nested_order`` of one length, all have them or none.
    """
    classes = bench.splits["train"].classes()
    return len(set(classes)) == len(bench.labels) < len(classes)


def answer_probabilities(bench: Bench, vectors: dict[str, Table], network: Table | None) -> Table:
    """Probabilities of each dev document by the linear classifier and the ``network``, as the strategy joins them.

    ``vectors``: what the body says of the documents of either split. The network's share is settled on four fifths of
    dev for the documents of the other fifth, so that no document is measured with a share that was chosen on it.
    """
    settings, train, truth = bench.settings, bench.splits["train"].truth(), bench.splits["dev"].truth()
    texts = bench.texts["train"]
    chosen = linear.choose(texts, vectors["train"], train, settings.machine, lexical=network is not None)
    fitted = linear.fit(texts, vectors["train"], train, chosen)
    linear_probabilities = fitted.probabilities(bench.texts["dev"], vectors["dev"])
    if network is None:
        return linear_probabilities
    joined = linear_probabilities.copy()
    for fifth in folds(truth.tolist(), FOLDS):
        rest = all_but(fifth, len(truth))
        share = settle(settings.strategy, [network[rest]], linear_probabilities[rest], truth[rest])["share"]
        joined[fifth] = mixed(share, network[fifth], linear_probabilities[fifth])
    return joined
