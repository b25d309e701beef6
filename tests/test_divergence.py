"""Steps that must not be taken: skipped and counted, then the way back, then the end."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from transformers import PreTrainedTokenizerFast

from pipeline.config import Model, Pretrain
from pipeline.errors import Interrupted, UsageError
from pipeline.model.masked_lm import masked_lm
from pipeline.training import masked
from pipeline.training.masked import MaskedBlocks
from pipeline.training.pretraining import train
from pipeline.training.session import Session
from pipeline.training.watch import BAD_IN_A_ROW, MEMORY_STEPS, DivergedError, Watch

SETTINGS = Pretrain(
    max_steps=90,
    evaluations=3,
    log_steps=7,
    length_tokens=16,
    global_batch_blocks=4,
    precision="fp32",
    compile="never",
)
Train = Callable[[str], tuple[dict[str, torch.Tensor], dict[str, Any]]]


class Blocks(MaskedBlocks):
    """Blocks whose batches know their seed and step."""

    def batch(self, which: Any, rows: Any, *, rate: float, seed: int, step: int) -> dict[str, torch.Tensor]:
        return super().batch(which, rows, rate=rate, seed=seed, step=step) | {"of": torch.tensor([seed, step])}


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[int, int], float]:
    """What to add to the loss of a micro-batch, by the seed of its blocks and its step."""
    added: dict[tuple[int, int], float] = {}

    def summed_loss(model: Any, batch: dict[str, torch.Tensor], **more: Any) -> torch.Tensor:
        seed, step = batch.pop("of").tolist()
        return masked.summed_loss(model, batch, **more) + added.get((seed, step), 0.0)

    monkeypatch.setattr("pipeline.training.session.summed_loss", summed_loss)
    return added


@pytest.fixture
def train_in(
    tokenizer: PreTrainedTokenizerFast, faults: Any, stops: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Train:
    """``train_in(name)`` trains in the folder ``name``, as often as it is stopped, and returns weights and figures."""
    ids = np.random.default_rng(0).integers(5, 100, (40, 16)).astype(np.uint16)
    blocks = Blocks(ids, np.arange(5), 4, 100)

    def run(name: str) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        (tmp_path / name).mkdir(exist_ok=True)
        while True:
            session = Session(
                SETTINGS,
                Accelerator(cpu=True),
                blocks,
                MaskedBlocks(*blocks),
                lambda: masked_lm(Model(size="tiny"), tokenizer, 16),
            )
            try:
                model, plan, figures = train(session, tmp_path / name, 0.0, 1.0)
            except Interrupted:
                continue
            return model.state_dict(), plan._asdict() | figures

    return run


def _log(folder: Path) -> list[dict[str, float]]:
    """The lines of the log, without the time."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text("utf-8").splitlines()]
    return [{name: value for name, value in row.items() if not name.endswith(("seconds", "_s"))} for row in rows]


@pytest.mark.parametrize("fault", [math.nan, 1e4])
def test_a_bad_step_is_skipped_and_counted(
    fault: float, faults: dict[tuple[int, int], float], train_in: Train, tmp_path: Path
) -> None:
    faults |= {(0, step): fault for step in (55, 57)}
    _, figures = train_in("run")
    assert figures["skipped_steps"] == 2
    assert figures["detours"] == ()
    assert next(row["step"] for row in _log(tmp_path / "run") if "skipped_steps" in row) == 56
    assert all(row["loss_nats"] < 10 for row in _log(tmp_path / "run") if "loss_nats" in row)


def test_many_bad_steps_lead_back_to_the_last_good_checkpoint_and_on_with_other_blocks(
    faults: dict[tuple[int, int], float], train_in: Train, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    faults |= {(0, step): math.nan for step in range(65, 65 + BAD_IN_A_ROW)}
    _, figures = train_in("run")
    assert figures["detours"] == (60,)
    assert figures["skipped_steps"] == 0, "they lie on the way that was left"
    assert [r.getMessage() for r in caplog.records if "back to step 60, and on with other blocks" in r.getMessage()]
    steps = [row["step"] for row in _log(tmp_path / "run")]
    assert steps == sorted(set(steps))


def test_bad_steps_at_the_same_place_again_end_the_run_with_the_remedy(
    faults: dict[tuple[int, int], float], train_in: Train
) -> None:
    faults |= {(seed, step): 1e4 for step in range(65, 90) for seed in (0, 1)}
    with pytest.raises(UsageError, match=r"after step 60 and again .* lower pretrain.learning_rate \(it is 0.002\)"):
        train_in("run")


def test_a_run_that_diverges_too_late_for_a_way_back_is_not_done(
    train_in: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = {"learning_rate": 1e9, "max_steps": 3, "evaluations": 1}
    monkeypatch.setitem(globals(), "SETTINGS", SETTINGS.model_copy(update=changes))
    with pytest.raises(UsageError, match=r"diverged in its last steps: delete .* lower pretrain.learning_rate"):
        train_in("run")


def test_a_run_with_bad_steps_and_a_way_back_is_resumed_exactly(
    faults: dict[tuple[int, int], float], stops: list[int], train_in: Train, tmp_path: Path
) -> None:
    faults |= {(0, step): math.nan for step in (55, *range(65, 65 + BAD_IN_A_ROW))} | {(1, 70): 1e4}
    weights, figures = train_in("uninterrupted")
    stops.extend([20, 57, 68, 76, 90])  # before, after one bad step, among many, on the way after them
    stops[:] = [stop + 104 for stop in stops]  # the first run has asked that often: 90, and 14 on the way it left
    again, same = train_in("stopped")
    assert all(torch.equal(weights[name], again[name]) for name in weights)
    assert _log(tmp_path / "uninterrupted") == _log(tmp_path / "stopped")
    assert figures["skipped_steps"] == same["skipped_steps"] == 2


def test_neither_noise_nor_a_change_of_less_than_a_nat_is_a_spike() -> None:
    watch, norm = Watch(), torch.tensor(1.0)
    noise = torch.Generator().manual_seed(0)
    for _ in range(500):
        assert watch.sound(5 + 3 * torch.randn((), generator=noise), norm)
    assert not watch.sound(torch.tensor(60.0), norm)
    watch = Watch()
    assert all(watch.sound(torch.tensor(0.01), norm) for _ in range(MEMORY_STEPS))
    assert watch.sound(torch.tensor(0.9), norm)
    assert not watch.sound(torch.tensor(3.0), norm)
    with pytest.raises(DivergedError):
        [watch.sound(torch.tensor(1.0), torch.tensor(math.inf)) for _ in range(BAD_IN_A_ROW)]
