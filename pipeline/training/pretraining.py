"""A run of masked-LM pretraining: planned once, stopped and resumed at will, the same on any number of processes."""

import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from transformers import PreTrainedModel

from pipeline.config import Pretrain
from pipeline.program import progress
from pipeline.training import checkpoint
from pipeline.training.journal import Journal
from pipeline.training.loop import adamw, fit, warmup_stable_decay
from pipeline.training.masked import MaskedBlocks, masked_tokens, summed_loss, training_steps, validation_nats
from pipeline.training.precision import faster_precision
from pipeline.training.stopping import StopRequest

MICRO_BATCH_TOKENS = 8192  # what `micro_batch_blocks: auto` holds at once
WARM_UP_STEPS, MEASURED_STEPS = 3, 8


class Plan(NamedTuple):
    """What the first attempt settles and every later one keeps, so that a resumed run is the same run."""

    steps: int
    precision: str


@dataclass(frozen=True)
class Session:
    settings: Pretrain
    accelerator: Accelerator
    train: MaskedBlocks
    valid: MaskedBlocks
    new_model: Callable[[], PreTrainedModel]

    @property
    def tokens_a_step(self) -> int:
        return self.settings.global_batch_blocks * self.settings.length_tokens

    @property
    def micro_batch(self) -> int:
        given = self.settings.micro_batch_blocks
        return given if isinstance(given, int) else max(1, MICRO_BATCH_TOKENS // self.settings.length_tokens)

    def start(self) -> tuple[PreTrainedModel, Any, Any]:
        """The model at step 0, the same as the launcher shares it out, and its optimizer."""
        torch.manual_seed(self.settings.seed)
        model = self.new_model()
        wrapped, optimizer = self.accelerator.prepare(
            model, adamw(model, self.settings.learning_rate, self.settings.weight_decay)
        )
        return model, wrapped, optimizer

    def take_steps(
        self, wrapped: Any, optimizer: Any, plan: Plan, steps: range, after_step: Callable[..., None]
    ) -> None:
        """Take ``steps`` of the run that ``plan`` lays out."""
        s = self.settings
        fit(
            self.accelerator,
            wrapped,
            optimizer,
            training_steps(
                self.train,
                self.accelerator,
                steps,
                global_batch=s.global_batch_blocks,
                micro_batch=self.micro_batch,
                rate=lambda step: s.mask_rate + (s.mask_rate_end - s.mask_rate) * step / plan.steps,
                seed=s.seed,
            ),
            items=masked_tokens,
            summed_loss=summed_loss,
            rate=lambda step: warmup_stable_decay(step, plan.steps, s.warmup_share, s.decay_share),
            after_step=after_step,
            precision=plan.precision,
        )

    def valid_nats(self, wrapped: Any, plan: Plan) -> float:
        return validation_nats(
            wrapped, self.valid, self.accelerator, micro_batch=self.micro_batch, precision=plan.precision
        )


def make_plan(session: Session) -> Plan:
    """Settle precision and number of steps; under a time budget by trying a few steps, which are then forgotten."""
    settings, accelerator = session.settings, session.accelerator
    precision = faster_precision(accelerator.device) if settings.precision == "auto" else settings.precision
    if settings.max_steps:
        steps = settings.max_steps
    elif settings.max_epochs:
        steps = math.ceil(settings.max_epochs * len(session.train.blocks) / settings.global_batch_blocks)
    else:
        steps = _steps_within(settings.max_minutes * 60, session, precision)  # type: ignore[operator]
    plan = [Plan(steps, precision)]
    broadcast_object_list(plan)
    return Plan(*plan[0])


def _steps_within(seconds: float, session: Session, precision: str) -> int:
    """How many steps, with the evaluations between them, fit into ``seconds`` from now on."""
    begun = time.monotonic()
    _, wrapped, optimizer = session.start()
    trial = Plan(1000, precision)
    at: list[float] = []
    session.take_steps(
        wrapped, optimizer, trial, range(WARM_UP_STEPS + MEASURED_STEPS), lambda *_: at.append(time.monotonic())
    )
    step_seconds = (at[-1] - at[WARM_UP_STEPS - 1]) / MEASURED_STEPS
    evaluation_begun = time.monotonic()
    session.valid_nats(wrapped, trial)
    evaluation_seconds = time.monotonic() - evaluation_begun
    session.accelerator.free_memory()
    left = seconds - (time.monotonic() - begun) - session.settings.evaluations * evaluation_seconds
    return max(session.settings.evaluations, int(left / step_seconds))


def train(session: Session, plan: Plan, out: Path, tokens_per_byte: float) -> tuple[PreTrainedModel, dict[str, Any]]:
    """Train from the newest checkpoint in ``out`` to the last step of ``plan``.

    Returns the model and what the log ends with. Raises Interrupted, after a checkpoint, when a signal asks to stop.
    """
    settings, accelerator = session.settings, session.accelerator
    stop = StopRequest()
    model, wrapped, optimizer = session.start()
    before = checkpoint.load(out / "checkpoints", model, optimizer) or {"step": 0, "seconds": 0.0}
    journal = Journal(
        out / "metrics.jsonl" if accelerator.is_main_process else Path(os.devnull),
        first_step=before["step"],
        seconds_before=before["seconds"],
        tokens_a_step=session.tokens_a_step,
        every=settings.log_steps,
    )
    evaluations = {round((i + 1) * plan.steps / settings.evaluations) for i in range(settings.evaluations)}
    bar = progress(desc="pretrain", unit="step", total=plan.steps, initial=before["step"])
    last_saved = time.monotonic()
    figures: dict[str, Any] = {}

    def after_step(step: int, loss: torch.Tensor, norm: torch.Tensor) -> None:
        nonlocal last_saved
        done = step + 1
        journal.add(done, loss, norm)
        bar.update()
        if done in evaluations:
            nats = session.valid_nats(wrapped, plan)
            figures.update(valid_nats=nats, valid_bits_per_byte=nats * tokens_per_byte / math.log(2))
            journal.write(done, **figures)
        stopping = stop.agreed(accelerator)
        if stopping or time.monotonic() - last_saved > settings.checkpoint_minutes * 60:
            if accelerator.is_main_process:
                checkpoint.save(out / "checkpoints", done, model, optimizer, {"seconds": journal.seconds})
            last_saved = time.monotonic()
        if stopping:
            accelerator.wait_for_everyone()  # a launcher kills the rest once one process has ended
            stop.stop()

    session.take_steps(wrapped, optimizer, plan, range(before["step"], plan.steps), after_step)
    tokens = plan.steps * session.tokens_a_step
    figures |= {"seconds": round(journal.seconds, 1), "tokens": tokens, "tokens_per_s": round(tokens / journal.seconds)}
    return model, figures | {"skipped_steps": journal.skipped}
