"""The search: what it tries, what it measures on, and that it goes on where it was stopped."""

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import upstream

from pipeline import tune
from pipeline.artifacts import Run
from pipeline.config import Finetune, load
from pipeline.errors import UsageError
from pipeline.text.documents import read_jsonl
from pipeline.transfer import networks


def _run(root: Path, *settings: str, splits: dict[str, list[dict[str, Any]]] | None = None) -> Run:
    made = upstream.make_run(root, "bert", splits)
    test = made.input("fetch/labelled/test.jsonl")
    if test.exists():
        test.write_text("whoever reads this fails", "utf-8")
    return Run(load(made.argument, ["finetune.epochs=2", *settings]), made.argument)


def _story(accuracy: float) -> Any:
    return None, {"epochs": [{"dev_accuracy": accuracy, "dev_nats": 1 - accuracy, "seconds": 0.1}]}


@pytest.mark.parametrize("stopped", [1, 5])
def test_it_goes_on_where_it_was_stopped_and_names_the_best_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], stopped: int
) -> None:
    """Networks that are the better, the closer their rate is to 1e-3."""
    monkeypatch.chdir(tmp_path)
    run = replace(_run(tmp_path, "finetune.strategy=auto", "tune.trials=12"), settings=("model.size=mini",))
    tried: list[Any] = []

    def learned(job: networks.Job, bench: Any) -> Any:
        tried.append((job.strategy, bench.settings))
        assert job.seed == 0
        if len(tried) == stopped:
            raise KeyboardInterrupt
        return _story(1 - abs(bench.settings.learning_rate - 1e-3) * 100)

    def asked(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(tune, "learn", learned)
    with monkeypatch.context() as early:
        early.setattr(tune, "suggested", asked)
        with pytest.raises(KeyboardInterrupt):
            tune.work(run)
    with pytest.raises(KeyboardInterrupt):
        tune.work(run)
    tune.work(run)
    assert len(tried) == 13
    assert tried[stopped - 1] == tried[stopped], "what was interrupted is tried again"
    assert tried[0] == ("full", run.config.finetune), "first the run's own"
    assert len({repr(each) for each in tried}) == 12, "a restart does not repeat what was drawn before it"
    assert {strategy for strategy, _ in tried} <= set(tune.NETWORKS)
    assert all(2e-4 <= settings.learning_rate <= 2e-2 and 1 <= settings.epochs <= 6 for _, settings in tried)
    rows = list(read_jsonl(run.folder / "tune/trials.jsonl"))
    assert len(rows) == 12
    assert rows[0]["accuracy"] == max(row["accuracy"] for row in rows)
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith('make score RUN=run.yaml SET="model.size=mini finetune.')
    setting = lines[-1].split('SET="')[1].rstrip('"')
    assert load(run.argument, setting.split()).finetune.learning_rate == rows[0]["settings"]["learning_rate"]
    assert "finetune.network=" in setting
    assert sum("those of the run" in line for line in lines) == 1

    more = Run(load(run.argument, ["finetune.epochs=2", "finetune.strategy=auto", "tune.trials=14"]), run.argument)
    tune.work(more)
    assert len(tried) == 15
    with pytest.raises(UsageError, match="begun under other settings"):
        tune.work(Run(load(run.argument, ["finetune.strategy=auto"]), run.argument))


def test_what_a_run_would_refuse_is_not_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tried: list[Finetune] = []

    def learned(_: networks.Job, bench: Any) -> Any:
        tried.append(bench.settings)
        return _story(0.5)

    monkeypatch.setattr(tune, "learn", learned)
    tune.work(_run(tmp_path, "finetune.strategy=last_layers", "finetune.reinitialised_layers=2", "tune.trials=12"))
    assert len(tried) == 12
    assert all(Finetune.model_validate(settings.model_dump()) for settings in tried)


@pytest.mark.parametrize("dev", [True, False])
def test_a_trial_measures_a_network_on_documents_that_it_did_not_learn_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], dev: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    splits = {"train": upstream.documents("train", 40), **({"dev": upstream.documents("dev", 21)} if dev else {})}
    run = _run(tmp_path, "finetune.strategy=last_layers", "finetune.epochs=1", "tune.trials=1", splits=splits)
    measured: list[Any] = []

    def learned(job: networks.Job, bench: Any) -> Any:
        model, outcome = networks.learn(job, bench)
        measured.append((job.fold, len(outcome["unseen_logits"]), outcome["epochs"][-1]["dev_accuracy"]))
        return model, outcome

    monkeypatch.setattr(tune, "learn", learned)
    tune.work(run)
    assert [fold for fold, _, _ in measured] == ([None] if dev else [0, 1, 2, 3, 4])
    assert sum(documents for _, documents, _ in measured) == (21 if dev else 40)
    (row,) = read_jsonl(run.folder / "tune/trials.jsonl")
    assert row["accuracy"] == pytest.approx(sum(each for _, _, each in measured) / len(measured), abs=1e-6)
    assert row["settings"] == {
        "strategy": "last_layers", "learning_rate": 2e-3, "epochs": 1, "layer_decay": 1.0, "layers": 2,
    }  # fmt: skip
    json.dumps(row)
    assert capsys.readouterr().out.splitlines()[-1].startswith("make finetune "), "there is nothing to score on"


def test_the_budget_in_minutes_ends_it_and_without_a_network_there_is_nothing_to_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = _run(tmp_path, "tune.minutes=0.01")

    def slowly(*_: Any) -> Any:
        time.sleep(0.7)
        return _story(0.5)

    monkeypatch.setattr(tune, "learn", slowly)
    tune.work(run)
    assert len(list(read_jsonl(run.folder / "tune/trials.jsonl"))) == 1
    with pytest.raises(UsageError, match="transfers no network"):
        tune.work(_run(tmp_path, "finetune.strategy=features"))


def test_a_search_that_is_refused_is_not_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    alike = [{**row, "label": "a"} for row in upstream.documents("train", 12)]
    run = _run(tmp_path, splits={"train": alike})
    with pytest.raises(UsageError, match="all training documents are of one class"):
        tune.work(run)
    assert not (run.folder / "tune").exists()
