"""The log, told to Accelerate's trackers."""

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from small import small_session
from transformers import PreTrainedTokenizerFast

from pipeline.errors import UsageError
from pipeline.training import trackers
from pipeline.training.pretraining import train
from pipeline.training.processes import processes
from pipeline.training.trackers import settle_trackers, start_trackers


def test_tensorboard_where_it_is_installed_shows_what_the_log_says(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    session = small_session(tokenizer, 4, 16, max_steps=4, log_steps=2)
    train(replace(session, accelerator=processes(settle_trackers("auto"), tmp_path)), tmp_path, time.monotonic(), 1.0)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text("utf-8").splitlines()]
    shown = EventAccumulator(str(tmp_path / "akshara")).Reload()
    for name in ("loss_nats", "valid_nats"):
        logged = [(row["step"], pytest.approx(row[name])) for row in rows if name in row]
        assert [(event.step, event.value) for event in shown.Scalars(name)] == logged != []


def test_a_tracker_that_does_not_start_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise RuntimeError("no API key configured.\nUse `wandb login`")

    accelerator = processes()
    monkeypatch.setattr(accelerator, "init_trackers", refuse)
    with pytest.raises(UsageError, match=r"pretrain.trackers: no API key configured. Use `wandb login`: mend that"):
        start_trackers(accelerator, tmp_path, 0)


def test_a_tracker_that_is_named_has_to_be_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trackers, "get_available_trackers", lambda: ["wandb"])
    assert settle_trackers("auto") == []
    assert settle_trackers(["wandb"]) == ["wandb"]
    with pytest.raises(UsageError, match=r"`tensorboard` is not installed \(there is wandb\)"):
        settle_trackers(["tensorboard"])
