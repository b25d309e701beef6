"""Options of pretraining: each does what it says, and a run that is stopped ends as if it had not been."""

import json
import logging
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small import small_session
from transformers import PreTrainedTokenizerFast
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from pipeline.config import Model
from pipeline.errors import Interrupted, UsageError
from pipeline.training import masked, planning
from pipeline.training.averaging import WeightMean
from pipeline.training.planning import Tried
from pipeline.training.pretraining import train
from pipeline.training.session import Plan

STEPS = 8
BASE: dict[str, Any] = {"max_steps": STEPS, "log_steps": 1, "evaluations": 2}


def _log(folder: Path) -> list[dict[str, float]]:
    """The lines of the log, without the time."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text("utf-8").splitlines()]
    return [{name: value for name, value in row.items() if not name.endswith(("seconds", "_s"))} for row in rows]


def _trained(tokenizer: PreTrainedTokenizerFast, out: Path, **more: Any) -> dict[str, torch.Tensor]:
    """The weights of a small run in ``out``, begun again as often as it is stopped."""
    out.mkdir(exist_ok=True)
    while True:
        torch.compiler.reset()  # as in a new process
        try:
            model, *_ = train(small_session(tokenizer, 8, 16, **BASE | more), out, 0.0, 1.0)
        except Interrupted:
            continue
        return dict(model.state_dict())


@pytest.mark.parametrize(
    "option",
    [
        *({"masking": "spans"}, {"average_share": 0.6}, {"z_loss": 0.1}, {"contrastive": 0.5}, {"short_share": 0.5}),
        pytest.param({"short_share": 0.5, "compile": "always"}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_with_an_option_a_stopped_run_ends_in_the_same_weights_and_log(
    option: dict[str, Any], tokenizer: PreTrainedTokenizerFast, stops: list[int], tmp_path: Path
) -> None:
    weights = _trained(tokenizer, tmp_path / "one", **option)
    stops.extend([STEPS + 2, STEPS + 6, 2 * STEPS])
    again = _trained(tokenizer, tmp_path / "other", **option)
    assert all(torch.equal(weights[name], again[name]) for name in weights)
    assert _log(tmp_path / "one") == _log(tmp_path / "other")
    plain = _trained(tokenizer, tmp_path / "plain")
    assert any(not torch.equal(weights[name], plain[name]) for name in weights), "the option does something"


@pytest.mark.parametrize("model", [Model(type="bert", size="tiny"), Model(size="tiny", config={"mlp_dropout": 0.1})])
def test_with_dropout_a_stopped_run_ends_in_the_same_weights(
    model: Model, tokenizer: PreTrainedTokenizerFast, stops: list[int], tmp_path: Path
) -> None:
    weights = _trained(tokenizer, tmp_path / "one", model=model, micro_batch_blocks=4)
    stops.extend([STEPS + 2, 2 * STEPS])
    again = _trained(tokenizer, tmp_path / "other", model=model, micro_batch_blocks=4)
    assert all(torch.equal(weights[name], again[name]) for name in weights)


def test_the_result_is_the_mean_of_the_weights_after_the_last_steps_and_so_is_what_is_evaluated(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    after: list[list[torch.Tensor]] = []
    monkeypatch.setattr(WeightMean, "add", _noting(after))
    for name in ("mean", "plain"):
        (tmp_path / name).mkdir()
    share = {"mean": 0.35, "plain": 0}
    sessions = {name: small_session(tokenizer, 8, 16, **BASE, average_share=share[name]) for name in share}
    trained = {name: train(session, tmp_path / name, 0.0, 1.0) for name, session in sessions.items()}
    assert len(after) == 3
    means = [torch.stack(each).mean(0) for each in zip(*after, strict=True)]
    model, plan, figures = trained["mean"]
    for mine, mean in zip(model.parameters(), means, strict=True):
        torch.testing.assert_close(mine, mean, rtol=1e-6, atol=1e-7)
    for mine, last in zip(trained["plain"][0].parameters(), after[-1], strict=True):
        assert torch.equal(mine, last), "averaging leaves the run itself alone"
    assert sessions["mean"].valid_nats(model, plan) == figures["valid_nats"] != trained["plain"][2]["valid_nats"]


def _noting(after: list[list[torch.Tensor]]) -> Any:
    add = WeightMean.add

    def noting(mean: WeightMean) -> None:
        after.append([parameter.detach().clone() for parameter in mean.param_groups[0]["params"]])
        add(mean)

    return noting


def test_short_blocks_come_first_and_every_step_reads_as_many_tokens(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[torch.Tensor] = []

    def summed_loss(model: Any, batch: dict[str, torch.Tensor], **more: Any) -> torch.Tensor:
        read.append(batch["input_ids"])
        return masked.summed_loss(model, batch, **more)

    monkeypatch.setattr("pipeline.training.session.summed_loss", summed_loss)
    _trained(tokenizer, tmp_path / "run", short_share=0.3, micro_batch_blocks=4)
    assert [tuple(ids.shape) for ids in read] == [(8, 8)] * 6 + [(4, 16)] * 10, "3 of 8 steps, in two micro-batches"


@pytest.mark.parametrize(("evaluation_seconds", "evaluations"), [(0.1, 10), (0.3, 4), (5.0, 1)])
def test_validation_takes_at_most_a_fiftieth_of_a_budget_of_time(
    evaluation_seconds: float, evaluations: int, tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "_trial", lambda _session, _plan: Tried(0.5, evaluation_seconds))
    session = small_session(tokenizer, 4, 16, max_minutes=1, evaluations=10)
    plan = planning.make_plan(session, 4, time.monotonic())
    assert plan.evaluations == evaluations
    assert plan.steps == pytest.approx((60 - evaluations * evaluation_seconds) / 0.5, abs=2)


@pytest.mark.parametrize(
    ("other", "seconds", "taken"),
    [("sdpa", 0.4, True), ("sdpa", 0.6, False), ("blind", 0.4, False)],
    ids=["faster and the same", "slower", "faster and something else"],
)
def test_attention_is_by_the_other_implementation_where_it_is_faster_and_the_same(
    other: str, seconds: float, taken: bool, tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    def blind(module: Any, query: Any, key: Any, value: Any, attention_mask: Any, **more: Any) -> Any:
        return sdpa_attention_forward(module, query, key, value, None, **more)

    monkeypatch.setitem(ALL_ATTENTION_FUNCTIONS._global_mapping, "blind", blind)
    tried = {"": Tried(0.5, 0.1), other: Tried(seconds, 0.1)}
    monkeypatch.setattr(planning, "ALTERNATIVES", {"cpu": other})
    monkeypatch.setattr(planning, "_trial", lambda _session, plan: tried[plan.attention])
    monkeypatch.setattr(planning, "can_compile", lambda: True)
    monkeypatch.setattr("pipeline.training.session.compile_layers", lambda _model: None)

    def planned(**settings: Any) -> Plan:
        session = small_session(tokenizer, 4, 16, **settings)
        blocks = np.where(session.train.blocks % 4 == 0, 7, session.train.blocks)
        train = session.train._replace(blocks=blocks, separator=7)
        return planning.make_plan(replace(session, train=train), 4, time.monotonic())

    plan = planned(max_minutes=10, compile="always")
    assert plan.attention == (other if taken else "")
    assert plan.step_seconds == (seconds if taken else 0.5), "the budget is that of what is taken"
    assert planned(max_steps=10, compile="always").attention == plan.attention
    assert not planned(max_minutes=10, compile="never").attention, "it is slow where it is not compiled"
    assert not planned(max_minutes=10, compile="always", attention="blocks").attention


def test_without_a_compiler_auto_does_without_and_always_is_refused(
    tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "can_compile", lambda: False)
    monkeypatch.setattr(planning, "_trial", lambda _session, _plan: Tried(100.0, 0.1))

    def planned(compile: str) -> Plan:
        return planning.make_plan(small_session(tokenizer, 4, 16, max_steps=10, compile=compile), 4, time.monotonic())

    assert not planned("auto").compiled
    with pytest.raises(UsageError, match=r"compile=always needs a C\+\+ compiler"):
        planned("always")


def test_an_implementation_of_attention_that_does_not_run_here_is_left_out(
    tokenizer: PreTrainedTokenizerFast,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(planning, "ALTERNATIVES", {"cpu": "flex_attention"})  # it has no backward pass on a CPU
    monkeypatch.setattr(planning, "can_compile", lambda: True)
    monkeypatch.setattr("pipeline.training.session.compile_layers", lambda _model: None)
    session = small_session(tokenizer, 4, 16, max_steps=2, compile="always")
    session = replace(session, train=session.train._replace(separator=3), valid=session.valid._replace(separator=3))
    with caplog.at_level(logging.INFO):
        _, plan, _ = train(session, tmp_path, 0.0, 1.0)
    assert (plan.steps, plan.attention) == (2, "")
    assert (
        "attention by flex_attention does not run here: FlexAttention does not support backward on CPU" in caplog.text
    )
