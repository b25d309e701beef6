"""Networks made of those of all seeds: one of their mean weights, or pupils that learned from what they say.

A soup (Wortsman et al. 2022, arXiv 2203.05482) wants networks that started from the same weights, head included, and
differ in the order of documents and in dropout: ``networks.learn`` sees to that. Distillation (Hinton et al. 2015,
arXiv 1503.02531) wants documents that the teacher has not learned from, so that its probabilities can be believed.
"""

from typing import Any

import numpy as np
import torch

from pipeline.console import log
from pipeline.metrics.decisions import Table
from pipeline.transfer import classifier, shipped
from pipeline.transfer.bench import Bench
from pipeline.transfer.documents import encode
from pipeline.transfer.networks import Job, calibrate, origin, own, read_outcome, train_each, write
from pipeline.transfer.training import Labelled, evaluation

SOUP = Job("soup", 0, "soup/seed-0")
READINGS = 26_000  # of a document by a pupil: the more passages, the fewer epochs


def soup(bench: Bench, outcomes: dict[Job, Any]) -> dict[Job, Any]:
    """Write the network whose weights are the mean of the seeds', unless it is there; its outcome."""
    if not (bench.out / SOUP.folder).exists():
        first, *others = (bench.out / job.folder for job in own(outcomes))
        model, _ = classifier.load(first)
        with torch.no_grad():
            for count, folder in enumerate(others, start=2):
                for mean, each in zip(model.parameters(), classifier.load(folder)[0].parameters(), strict=True):
                    mean += (each - mean) / count
        dev = bench.splits.get("dev")
        calibration = calibrate(bench, model.to(bench.accelerator.device), dev)
        epochs = [evaluation(torch.tensor(calibration["unseen_logits"]), dev) if dev else {}]
        figures = "".join(f", {name} {figure:.3f}" for name, figure in epochs[0].items())
        log.info("finetune: soup of %d networks%s", 1 + len(others), figures)
        write(SOUP, bench, model, {"origin": origin(outcomes), "epochs": epochs, **calibration})
    return {SOUP: read_outcome(SOUP, bench)}


def distil(bench: Bench, outcomes: dict[Job, Any], share: float, texts: list[str]) -> dict[Job, Any]:
    """Write the networks, one a seed, that learned from what would answer in their place of unlabelled ``texts``,
    unless they are there; their outcomes. ``share``: that of the seeds in the answer, beside the linear classifier.
    """
    pupils = [Job("distilled", seed, f"distilled/seed-{seed}") for seed in range(bench.settings.seeds)]
    if not all((bench.out / job.folder).exists() for job in pupils):
        train = taught(bench, outcomes, share, texts)
        epochs = min(bench.settings.epochs, max(1, round(READINGS / len(train.ids))))
        settings = bench.settings.model_copy(update={"epochs": epochs})
        bench = bench._replace(settings=settings, splits={**bench.splits, "train": train})
    return train_each(pupils, bench)


def taught(bench: Bench, outcomes: dict[Job, Any], share: float, texts: list[str]) -> Labelled:
    """The documents of train with their own labels, and ``texts`` with what the teacher says of them.

    The teacher is the mean over the seeds' probabilities in a ``share``, the linear classifier's in the rest.
    """

    def teacher_probabilities(folder: str) -> Table:
        return shipped.classify(bench.accelerator, shipped.load(bench.out / folder), texts)

    networks = own(outcomes)
    weights = {"linear/seed-0": 1 - share} | {job.folder: share / len(networks) for job in networks}
    table = np.sum([weight * teacher_probabilities(folder) for folder, weight in weights.items() if weight], axis=0)
    log.info(
        "finetune: %d passages of the corpus to learn from; the teacher is sure by %.2f",
        len(texts),
        table.max(-1).mean(),
    )
    ids, _ = encode(bench.tokenizer, texts, bench.tokenizer.model_max_length)
    train = bench.splits["train"]
    return Labelled(train.ids + ids, np.concatenate([train.targets, table.astype(np.float32)]), train.multi_label)
