"""What a pretrained body is worth to a classifier, by the labelled train and dev documents; test stays closed."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pipeline.metrics.decisions import right
from pipeline.transfer.bench import Bench
from pipeline.transfer.networks import Job, held_out, learn, probabilities
from pipeline.transfer.training import Labelled


def cross_validated(bench: Bench) -> Bench:
    """``bench`` with all of its labelled documents in train, of which folds are left out."""
    each = bench.splits.values()
    together = Labelled([ids for split in each for ids in split.ids], np.concatenate([split.targets for split in each]))
    texts = [text for split in bench.splits for text in bench.texts[split]]
    return bench._replace(splits={"train": together}, texts={"train": texts})


def right_when_left_out(bench: Bench, seed: int, folds: Sequence[int]) -> npt.NDArray[np.bool_]:
    """Which documents of ``folds`` a network that has not learned from their fold is right on."""
    outcomes = (learn(Job("full", seed, f"fold {fold}", fold), bench)[1] for fold in folds)
    table = np.concatenate([probabilities(outcome) for outcome in outcomes])
    left_out = [document for fold in folds for document in held_out(bench.splits["train"])[fold]]
    return right(table.argmax(-1), np.asarray(bench.splits["train"].classes())[left_out])
