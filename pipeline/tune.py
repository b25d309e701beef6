"""Search for settings of fine-tuning that do better on dev, with Optuna, within a budget.

Reads what the finetune stage reads, never the test documents. A trial trains one network by other settings (without a
dev split: one a fold of train); the first trial has those of the run. Writes ``runs/<run>/tune/``: ``journal.log``,
from which the same command goes on, and ``trials.jsonl``; prints the trials, the best first, and the best settings.
"""

import shutil
import time
from collections.abc import Iterator
from statistics import mean
from typing import Any, get_args

import optuna
from optuna.samplers import TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import Trial, TrialState

from pipeline.artifacts import Run, begin, ingredients, require_upstream
from pipeline.config import Finetune
from pipeline.console import log
from pipeline.program import beside_main
from pipeline.recipe import LINE
from pipeline.text.documents import Document, write_jsonl
from pipeline.transfer.bench import Bench, open_bench
from pipeline.transfer.classifier import configuration
from pipeline.transfer.given import require_strategy
from pipeline.transfer.networks import Job, held_out, learn, network_strategy, settle_layers

NETWORKS: tuple[str, ...] = get_args(Finetune.model_fields["network"].annotation)
OWN = "of_the_run"  # whether a trial has the run's own settings
CHANCE_TRIALS = 6  # before the sampler goes by what it has seen


def work(run: Run) -> None:
    require_upstream(LINE["finetune"], run)
    budget, folder = run.config.tune, run.folder / "tune"
    require_strategy("tune", run.config.finetune)
    opened, _ = open_bench(run, folder)
    if run.force:
        shutil.rmtree(folder, ignore_errors=True)
    begin(folder, ingredients(LINE["finetune"], run))
    bench = settle_layers(opened)
    settings = bench.settings
    depth = configuration(bench.checkpoint, bench.labels).num_hidden_layers
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = JournalStorage(JournalFileBackend(str(folder / "journal.log")))
    study = optuna.create_study(storage=storage, study_name=run.config.run, direction="maximize", load_if_exists=True)
    take_up(study, settings)
    clock = time.monotonic()
    while (done := len(finished(study))) < budget.trials:
        if budget.minutes is not None and time.monotonic() - clock > 60 * budget.minutes:
            log.info("tune: %d of %d trials in tune.minutes; the same command goes on", done, budget.trials)
            break
        study.sampler = TPESampler(seed=len(study.trials), n_startup_trials=CHANCE_TRIALS)  # another after a restart
        trial = study.ask()
        changes = suggested(trial, settings, depth)
        own = trial.user_attrs.get(OWN, False)
        row: Document = {"trial": trial.number, OWN: own, **tried(bench, changes, trial.number), "settings": changes}
        trial.set_user_attr("row", row)
        study.tell(trial, row["accuracy"])
    rows = sorted((each.user_attrs["row"] for each in finished(study)), key=lambda row: (-row["accuracy"], row["nats"]))
    write_jsonl(folder / "trials.jsonl", rows)
    print("\n".join(table(rows, run, "dev" if "dev" in bench.splits else "the folds of train")))


def take_up(study: optuna.Study, settings: Finetune) -> None:
    """Have the settings of the run tried first, and once more what an interrupted attempt was trying."""
    if not study.trials:
        names = ("learning_rate", "epochs", "layer_decay", "layers")
        study.enqueue_trial(
            {"network": network_strategy(settings), **{name: getattr(settings, name) for name in names}},
            user_attrs={OWN: True},
        )
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
        asked = trial.system_attrs.get("fixed_params", {})  # `params` has only what had been suggested so far
        study.enqueue_trial(asked | trial.params, user_attrs=trial.user_attrs)


def finished(study: optuna.Study) -> list[Any]:
    return study.get_trials(states=(TrialState.COMPLETE,))


def suggested(trial: Trial, settings: Finetune, depth: int) -> dict[str, Any]:
    """Settings to try, around those of the run: the network's strategy, and what that strategy obeys."""
    rate, epochs, decay = settings.learning_rate, settings.epochs, settings.layer_decay
    anew = settings.reinitialised_layers  # they have to train
    strategy = trial.suggest_categorical("network", [each for each in NETWORKS if each != "lora" or not anew])
    changes: dict[str, Any] = {
        "strategy" if settings.strategy in NETWORKS else "network": strategy,
        "learning_rate": float(f"{trial.suggest_float('learning_rate', rate / 10, rate * 10, log=True):.3g}"),
        "epochs": trial.suggest_int("epochs", max(1, epochs // 2), 3 * epochs),
    }
    if strategy not in ("gradual", "lora"):  # the one has its own, the adapters of the other are not told apart
        changes["layer_decay"] = round(trial.suggest_float("layer_decay", min(0.6, decay), 1.0), 3)
    if strategy == "last_layers":
        changes["layers"] = trial.suggest_int("layers", max(min(1, int(settings.layers)), anew), depth)
    return changes


def tried(bench: Bench, changes: dict[str, Any], number: int) -> dict[str, float]:
    """Accuracy, loss in nats a document and seconds of one network that learns by the ``changes``, or one a fold."""
    changed = bench._replace(settings=bench.settings.model_copy(update=changes))
    strategy = network_strategy(changed.settings)
    folds = [None] if "dev" in bench.splits else range(len(held_out(bench.splits["train"])))
    outcomes = [learn(Job(strategy, 0, f"trial-{number}", fold), changed)[1] for fold in folds]
    last = [outcome["epochs"][-1] for outcome in outcomes]
    return {
        "accuracy": round(mean(row["dev_accuracy"] for row in last), 6),
        "nats": round(mean(row["dev_nats"] for row in last), 6),
        "seconds": round(sum(row["seconds"] for outcome in outcomes for row in outcome["epochs"]), 2),
    }


def table(rows: list[Document], run: Run, measured_on: str) -> Iterator[str]:
    """The trials, in their order, and the command that takes the settings of the first."""
    yield f"\naccuracy   nats   seconds   trial   settings, measured on {measured_on}"
    for row in rows:
        settings = f"{spelled(row['settings'])}{'   (those of the run)' if row[OWN] else ''}"
        yield f"{row['accuracy']:8.3f} {row['nats']:6.3f} {row['seconds']:9.1f} {row['trial']:7d}   {settings}"
    if rows:
        tested = run.input("fetch/labelled/test.jsonl").exists()
        where = ", and on the test documents" if tested else ""
        yield f"\nThe best of {len(rows)} flatters itself. How it does with other seeds{where}:"
        yield run.command("score" if tested else "finetune", *spelled(rows[0]["settings"]).split())


def spelled(changes: dict[str, Any]) -> str:
    return " ".join(f"finetune.{name}={value}" for name, value in changes.items())


if __name__ == "__main__":
    beside_main("tune", work, ("tune", "finetune"))
