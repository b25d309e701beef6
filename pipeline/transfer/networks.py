"""The networks that a run fine-tunes: every seed of its strategy, the folds of a cross-validation, and the control."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import geometric_mean, mean
from typing import Any, NamedTuple

import numpy as np

from pipeline.artifacts import write_json
from pipeline.config import Finetune
from pipeline.console import log
from pipeline.errors import UsageError
from pipeline.metrics import decisions
from pipeline.metrics.decisions import Table, fit_temperature
from pipeline.text.documents import Document
from pipeline.transfer import classifier
from pipeline.transfer.bench import Bench, suit_windows
from pipeline.transfer.documents import all_but, folds, require_vocabulary
from pipeline.transfer.given import FOLDS
from pipeline.transfer.side_by_side import side_by_side
from pipeline.transfer.training import Labelled, logits, train

LAYERS = "layers.json"  # how many layers train, where the settings leave it to dev
OUTCOME = "training.json"  # in each folder: what it was trained from, and how it went


class Job(NamedTuple):
    """One network to train, and the folder that it goes to."""

    strategy: str
    seed: int
    folder: str
    fold: int | None = None


def train_all(bench: Bench) -> dict[Job, Any]:
    """Train what is not there yet; the outcome of every network, in order."""
    crossed, others = jobs(bench.settings, 0 if "dev" in bench.splits else len(held_out(bench.splits["train"])))
    # the folds first: the seeds ask for their temperature
    return train_each(crossed, bench) | train_each(others, bench)


def train_each(wanted: Sequence[Job], bench: Bench) -> dict[Job, Any]:
    """Train those of ``wanted`` that are not there yet; the outcome of each, in order."""
    missing = [job for job in wanted if not (bench.out / job.folder).exists()]
    side_by_side(_learn_and_write, bench, missing, len(wanted))
    return {job: read_outcome(job, bench) for job in wanted}


def _learn_and_write(bench: Bench, job: Job) -> None:
    write(job, bench, *learn(job, bench))


def read_outcome(job: Job, bench: Bench) -> dict[str, Any]:
    bench.accelerator.wait_for_everyone()  # rank 0 writes
    outcome: dict[str, Any] = json.loads((bench.out / job.folder / OUTCOME).read_text("utf-8"))
    return outcome


def settle_layers(bench: Bench) -> Bench:
    """``bench`` with a number where its settings leave to it how many layers ``last_layers`` trains.

    One network each trains 1, 2, 4 … and all layers, no fewer than are drawn anew, for a third of the epochs. The most
    accurate on dev (without a dev split, on the first fold of train) is taken, among equals the one with the least
    loss. A strategy that trains other parts gets the default. Figures are kept in ``layers.json``. UsageError: a number
    of layers that the network does not have.
    """
    settings, path = bench.settings, bench.out / LAYERS
    if network_strategy(settings) != "last_layers":
        layers = Finetune().layers if settings.layers == "auto" else settings.layers
        return bench._replace(settings=settings.model_copy(update={"layers": layers}))
    depth = classifier.configuration(bench.checkpoint, bench.labels).num_hidden_layers
    if settings.layers != "auto":
        if settings.layers > depth:
            raise UsageError(f"finetune.layers={settings.layers}: the network has {depth}: name so many or fewer")
        return bench
    if not path.exists():
        powers = (2**power for power in range(depth.bit_length()))
        counts = [count for count in powers if settings.reinitialised_layers <= count < depth]
        tried = {count: _after_a_third(bench, count) for count in [*counts, depth]}
        chosen = min(tried, key=lambda count: (-tried[count]["accuracy"], tried[count]["nats"]))
        accuracies = ", ".join(f"{count} {each['accuracy']:.3f}" for count, each in tried.items())
        where = "dev" if "dev" in bench.splits else "a fold of train"
        log.info("finetune: last_layers: accuracy on %s by number of layers: %s; %d train", where, accuracies, chosen)
        if bench.accelerator.is_main_process:
            write_json(path, {"chosen": chosen, "tried": tried})
    bench.accelerator.wait_for_everyone()
    found = json.loads(path.read_text("utf-8"))
    return bench._replace(settings=settings.model_copy(update={"layers": found["chosen"]}))


def _after_a_third(bench: Bench, layers: int) -> dict[str, float]:
    """Accuracy and nats of a network whose top ``layers`` train, on documents that it has not learned from."""
    changes = {"layers": layers, "epochs": max(1, bench.settings.epochs // 3)}
    job = Job("last_layers", 0, f"layers-{layers}", None if "dev" in bench.splits else 0)
    _, outcome = learn(job, bench._replace(settings=bench.settings.model_copy(update=changes)))
    last = outcome["epochs"][-1]
    return {"accuracy": last["dev_accuracy"], "nats": last["dev_nats"]}


def jobs(settings: Finetune, parts: int) -> tuple[list[Job], list[Job]]:
    """Everything to train: ``parts`` folds, none beside a dev split; the seeds of the strategy, and of the control."""
    strategy = network_strategy(settings)
    own = [Job(strategy, seed, f"seed-{seed}") for seed in range(settings.seeds)]
    crossed = [Job(strategy, 0, f"folds/fold-{fold}", fold) for fold in range(parts)]
    control = [Job("scratch", seed, f"scratch/seed-{seed}") for seed in range(settings.seeds)]
    if strategy == "features":  # no network learns
        return [], control
    if strategy == "scratch":  # it would be its own control
        return crossed, own
    return crossed, [*own, *control]


def network_strategy(settings: Finetune) -> str:
    """How the network learns; ``features`` where none does."""
    return settings.network if settings.strategy in ("auto", "hybrid") else settings.strategy


def write(job: Job, bench: Bench, model: Any, outcome: dict[str, Any]) -> None:
    """Write the folder of ``job``, which appears when it is whole."""
    if bench.accelerator.is_main_process:
        part = bench.out / f"{job.folder}.part"
        part.mkdir(parents=True, exist_ok=True)
        if job.fold is None:
            model.save_pretrained(part)
            bench.tokenizer.save_pretrained(part)
        write_json(part / OUTCOME, outcome)
        part.rename(bench.out / job.folder)


def learn(job: Job, bench: Bench) -> tuple[Any, dict[str, Any]]:
    """The network of ``job``, trained, and its outcome: ``origin``, ``temperature``, ``epochs`` and, where there are
    documents that it did not learn from, ``unseen_logits``: what it says of them.
    """
    strategy = network_strategy(bench.settings) if job.strategy == "distilled" else job.strategy
    start = classifier.scratch if strategy == "scratch" else classifier.pretrained
    one_head = bench.settings.ship == "soup" and strategy != "scratch"
    model, origin = start(bench.checkpoint, bench.labels, 0 if one_head else job.seed, bench.settings)
    if bench.splits["train"].multi_label:
        model.config.problem_type = classifier.MULTI_LABEL
    suit_windows(model, bench)
    require_vocabulary(bench.splits["train"].ids, model)
    data, dev = _parts(bench.splits, job.fold)
    pad = bench.tokenizer.pad_token_id
    pieces = bench.pieces
    if strategy == "scratch":  # company comes from unlabelled text, which the control knows nothing of
        pieces = pieces._replace(company=np.zeros_like(pieces.company))
    shared = pieces if bench.settings.share_updates else None
    epochs = train(bench.accelerator, model, pad, data, dev, bench.settings, strategy, job.seed, shared)
    last, seconds = epochs[-1], sum(row["seconds"] for row in epochs)
    figures = ", ".join(
        f"{name} {last[name]:.3f}" for name in ("loss_nats", "dev_nats", "dev_accuracy") if name in last
    )
    log.info("finetune: %s, %s: %s; %.1f s", job.strategy, Path(job.folder).name, figures, seconds)
    return model, {"origin": origin, "epochs": epochs, **calibrate(bench, model, dev)}


def calibrate(bench: Bench, model: Any, dev: Labelled | None) -> dict[str, Any]:
    """Give ``model`` its temperature; it, and the logits of the documents that it was fitted on, if any."""
    outcome: dict[str, Any] = {}
    if dev is None:
        outcome["temperature"] = _folds_temperature(bench.out)
    else:
        unseen = logits(bench.accelerator, model, dev.ids, bench.tokenizer.pad_token_id).numpy()
        outcome["temperature"] = fit_temperature(unseen, dev.truth())
        outcome |= {"unseen_logits": unseen.tolist(), "several": dev.multi_label}
    model.config.calibration_temperature = outcome["temperature"]
    return outcome


def held_out(train: Labelled) -> list[list[int]]:
    """Without a dev split: the documents of ``train``, by index, that each fold leaves out.

    The only document of a class is in none: whoever learns has to know every class. Where that leaves fewer documents
    than ``FOLDS``, each is a fold.
    """
    classes = train.classes()
    sizes = Counter(classes)
    several = [i for i, label in enumerate(classes) if train.multi_label or sizes[label] > 1]
    parts = folds([classes[i] for i in several], FOLDS)
    return [[several[i] for i in part] for part in parts if part]


def unseen_probabilities(outcomes: dict[Job, Any]) -> list[Table]:
    """What each seed says of the dev documents; without a dev split, what the folds say of those that they left out."""
    crossed = [probabilities(outcome) for job, outcome in outcomes.items() if job.fold is not None]
    if crossed:
        return [np.concatenate(crossed)]
    return [probabilities(outcome) for outcome in own(outcomes).values()]


def probabilities(outcome: dict[str, Any]) -> Table:
    """What a network says of the documents that it did not learn from: (documents, classes)."""
    unseen = np.asarray(outcome["unseen_logits"])
    return decisions.probabilities(unseen / outcome["temperature"], multi_label=outcome["several"])


def _folds_temperature(out: Path) -> float:
    """The geometric mean of the temperatures of the folds, which were fitted on documents that training left out."""
    outcomes = [json.loads(path.read_text("utf-8")) for path in sorted(out.glob(f"folds/fold-*/{OUTCOME}"))]
    return geometric_mean(outcome["temperature"] for outcome in outcomes) if outcomes else 1.0


def _parts(splits: dict[str, Labelled], fold: int | None) -> tuple[Labelled, Labelled | None]:
    """What to train on and what to measure on."""
    data = splits["train"]
    if fold is None:
        return data, splits.get("dev")
    left_out = held_out(data)[fold]
    return data.part(all_but(left_out, len(data.ids))), data.part(left_out)


def own(outcomes: dict[Job, Any]) -> dict[Job, Any]:
    """Those of the networks of which one is shipped: the soup, where there is one; else the seeds."""
    soup = {job: outcome for job, outcome in outcomes.items() if job.strategy == "soup"}
    return soup or {job: outcome for job, outcome in outcomes.items() if job.folder.startswith("seed-")}


def best(outcomes: dict[Job, Any]) -> Job:
    """The network with the best dev accuracy, then the least dev loss; the first where there is no dev split."""
    last = {job: outcome["epochs"][-1] for job, outcome in outcomes.items()}
    return min(last, key=lambda job: (-last[job].get("dev_accuracy", 0), last[job].get("dev_nats", 0)))


def origin(outcomes: dict[Job, Any]) -> dict[str, Any]:
    """What the model to ship took over from the checkpoint. Where no network learns, the body is read as it is."""
    return next((outcome["origin"] for outcome in own(outcomes).values()), {"new_tensors": []})


def metrics(outcomes: dict[Job, Any]) -> Iterator[Document]:
    for job, outcome in outcomes.items():
        fold = {} if job.fold is None else {"fold": job.fold}
        for row in outcome["epochs"]:
            yield {"strategy": job.strategy, "seed": job.seed, **fold, **row}


def dev_accuracy(outcomes: dict[Job, Any]) -> dict[str, Any]:
    """Accuracy after the last epoch, of each strategy: on dev, or over the folds of train."""
    figures: dict[str, list[float]] = {}
    for job, outcome in outcomes.items():
        if "dev_accuracy" in outcome["epochs"][-1]:
            figures.setdefault(job.strategy, []).append(outcome["epochs"][-1]["dev_accuracy"])
    return {strategy: {"mean": round(mean(each), 4), "each": each} for strategy, each in figures.items()}
