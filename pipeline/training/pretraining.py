"""A run of masked-LM pretraining: planned once, stopped and resumed at will, the same on any number of processes."""

import json
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, gather_object
from torch.distributed.tensor import DTensor
from transformers import PreTrainedModel

from pipeline.artifacts import write_json
from pipeline.config import Pretrain
from pipeline.console import log, progress
from pipeline.errors import UsageError
from pipeline.model.attention import ALTERNATIVES, suit_attention
from pipeline.training import checkpoint
from pipeline.training.averaging import WeightMean
from pipeline.training.compilation import can_compile, compile_layers
from pipeline.training.journal import Journal
from pipeline.training.loop import Batch, adamw, fit, warmup_stable_decay
from pipeline.training.masked import MaskedBlocks, masked_tokens, summed_loss, training_steps, validation_nats
from pipeline.training.memory import halved, is_out_of_memory
from pipeline.training.optimizers import muon_and_adamw
from pipeline.training.precision import autocast, settle_precision
from pipeline.training.stopping import StopRequest
from pipeline.training.trackers import tracked_by
from pipeline.training.watch import BAD_IN_A_ROW, DivergedError, Watch

MICRO_BATCH_TOKENS = {"cpu": 4096, "cuda": 65536}  # what `micro_batch_blocks: auto` holds at once
WARM_UP_STEPS, MEASURED_STEPS = 2, 5
WAY_BACK_SECONDS = 60  # least time between checkpoints to go back to; one takes some 0.5 s for 6 × 256
SAME_GRADIENTS = 0.02  # how far, in proportion, those of two implementations of attention may lie apart
COMPILING_PAYS_SECONDS = 60  # it takes some 10 to 20 seconds and saves a third of a run
EVALUATING_SHARE = 0.02  # of a budget of time, at most


class Plan(NamedTuple):
    """What the first attempt settles and every later one keeps, so that a resumed run is the same run."""

    steps: int  # 0: still to be settled
    precision: str
    compiled: bool
    micro_batch: int  # blocks at once in one process
    evaluations: int  # how often validation loss is measured
    step_seconds: float = 0.0  # as measured; 0: not
    attention: str = ""  # its implementation; empty: what suits the device without a measurement
    detours: tuple[int, ...] = ()  # the steps from which on other blocks were read, after the run had diverged


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
        """Blocks that a process should take at once, and no more than its share of the global batch."""
        given, tokens = self.settings.micro_batch_blocks, MICRO_BATCH_TOKENS.get(self.accelerator.device.type, 8192)
        share: int = math.ceil(self.settings.global_batch_blocks / self.accelerator.num_processes)
        return min(share, given if isinstance(given, int) else max(1, tokens // self.settings.length_tokens))

    def epochs(self, plan: Plan) -> float:
        return plan.steps * self.settings.global_batch_blocks / len(self.train.blocks)

    def start(self, plan: Plan) -> tuple[PreTrainedModel, Any, list[Any]]:
        """The model at step 0, the same as the launcher shares it out, and its optimizers."""
        torch.manual_seed(self.settings.seed)
        model = self.new_model()
        suit_attention(model, self.accelerator.device, plan.attention)
        if plan.compiled:
            compile_layers(model)
        rate, decay = self.settings.learning_rate, self.settings.weight_decay
        if self.settings.optimizer == "muon":
            optimizers = muon_and_adamw(model, rate, decay)
        else:
            optimizers = [adamw(model.named_parameters(), rate, decay)]
        wrapped, *optimizers = self.accelerator.prepare(model, *optimizers)
        return model, wrapped, optimizers

    def take_steps(
        self,
        wrapped: Any,
        optimizers: list[Any],
        plan: Plan,
        steps: range,
        watch: Watch,
        after_step: Callable[[int], None],
    ) -> None:
        """Take ``steps`` of the run that ``plan`` lays out."""
        s, turn = self.settings, self.short_steps(plan)
        short, whole = range(steps.start, min(turn, steps.stop)), range(max(turn, steps.start), steps.stop)
        fit(
            self.accelerator,
            wrapped,
            optimizers,
            chain(self._batches(plan, short, cut=2), self._batches(plan, whole, cut=1)),
            items=masked_tokens,
            summed_loss=partial(summed_loss, z_loss=s.z_loss, contrastive=s.contrastive),
            rate=lambda step: warmup_stable_decay(step, plan.steps, s.warmup_share, s.decay_share),
            after_step=lambda step, _loss, _norm: after_step(step),
            sound=watch.sound,
            precision=plan.precision,
        )

    def short_steps(self, plan: Plan) -> int:
        """The steps at the start that read blocks of half the length, twice as many."""
        return math.ceil(self.settings.short_share * plan.steps)

    def _batches(self, plan: Plan, steps: range, cut: int) -> Iterator[tuple[int, list[Batch]]]:
        """What ``steps`` read, in blocks cut into ``cut`` parts."""
        s = self.settings
        return training_steps(
            self.train._replace(blocks=self.train.blocks.reshape(-1, s.length_tokens // cut)),
            self.accelerator,
            steps,
            global_batch=s.global_batch_blocks * cut,
            micro_batch=plan.micro_batch * cut,
            rate=lambda step: s.mask_rate + (s.mask_rate_end - s.mask_rate) * step / plan.steps,
            seed=lambda step: s.seed + sum(step >= start for start in plan.detours),
        )

    def valid_nats(self, wrapped: Any, plan: Plan) -> float:
        return validation_nats(
            wrapped, self.valid, self.accelerator, micro_batch=plan.micro_batch, precision=plan.precision
        )


def make_plan(session: Session, micro_batch: int, began: float) -> Plan:
    """Settle precision, compilation, attention and the number of steps, trying some steps where that takes a
    measurement.

    A budget of time counts from ``began`` (time.monotonic).
    """
    settings = session.settings
    precision = settle_precision(settings.precision, session.accelerator.device)
    trial = Plan(1000, precision, False, micro_batch, settings.evaluations)
    everywhere = all(gather_object([can_compile()]))
    wanted = settings.compile == "always" or (settings.compile == "auto" and everywhere)
    if settings.max_minutes:
        seconds = settings.max_minutes * 60
        compiled = wanted and (settings.compile == "always" or seconds > COMPILING_PAYS_SECONDS)
        trial, tried = _settle_attention(session, trial._replace(compiled=compiled))
        tried = tried or _trial(session, trial)
        affordable = max(1, int(EVALUATING_SHARE * seconds / tried.evaluation_seconds))
        trial = trial._replace(evaluations=min(settings.evaluations, affordable), step_seconds=tried.step_seconds)
        left = seconds - (time.monotonic() - began) - trial.evaluations * tried.evaluation_seconds
        steps = max(trial.evaluations, int(left / tried.step_seconds))
    else:
        epochs_steps = math.ceil((settings.max_epochs or 0) * len(session.train.blocks) / settings.global_batch_blocks)
        steps = settings.max_steps or epochs_steps
        compiled = wanted
        if wanted and settings.compile == "auto":
            trial = trial._replace(step_seconds=_trial(session, trial).step_seconds)
            compiled = steps * trial.step_seconds > COMPILING_PAYS_SECONDS
        trial, _ = _settle_attention(session, trial._replace(compiled=compiled))
    plan = [trial._replace(steps=steps)]
    broadcast_object_list(plan)  # rank 0's clock is everyone's
    return plan[0]


class Tried(NamedTuple):
    step_seconds: float
    evaluation_seconds: float


def _settle_attention(session: Session, trial: Plan) -> tuple[Plan, Tried | None]:
    """``trial`` with the device's other implementation of attention where, compiled, its steps are shorter and its
    gradients the same; and what was measured of the one that is taken, if anything was.

    Only where documents are kept apart: within whole blocks there is no faster one than transformers' choice.
    """
    other = ALTERNATIVES.get(session.accelerator.device.type)
    if not other or not trial.compiled or session.settings.attention != "documents":
        return trial, None
    usual, candidate = _trial(session, trial), trial._replace(attention=other)
    try:
        tried, apart = _trial(session, candidate), _apart(_gradients(session, trial), _gradients(session, candidate))
    except Exception as error:  # a kernel may fail in as many ways as there are devices
        session.accelerator.free_memory()
        if is_out_of_memory(error):
            raise
        log.info("pretrain: attention by %s does not run here: %s", other, str(error).strip().partition("\n")[0])
        return trial, usual
    better = tried.step_seconds < usual.step_seconds and apart <= SAME_GRADIENTS
    comparison = f"{tried.step_seconds:.3f} s a step, {usual.step_seconds:.3f} s without, gradients {apart:.1%} apart"
    log.info("pretrain: attention by %s: %s; %s", other, comparison, "taken" if better else "not taken")
    return (candidate, tried) if better else (trial, usual)


def _gradients(session: Session, trial: Plan) -> list[torch.Tensor]:
    """Those of attention's weights at step 0 that this process gets by its first blocks; computed as in training."""
    model, wrapped, _ = session.start(trial)
    (_, batches), *_ = session._batches(trial, range(1), cut=1)
    with autocast(session.accelerator.device, trial.precision):
        session.accelerator.backward(summed_loss(wrapped, batches[0]))
    each = [p.grad for name, p in model.named_parameters() if "att" in name and p.grad is not None]
    session.accelerator.free_memory()
    return [grad.to_local() if isinstance(grad, DTensor) else grad for grad in each]


def _apart(one: list[torch.Tensor], other: list[torch.Tensor]) -> float:
    """How far gradients lie apart, in proportion to their length; the most over the processes."""
    gap = sum(float((a - b).square().sum()) for a, b in zip(one, other, strict=True))
    length = sum(float(a.square().sum()) for a in one)
    return float(max(gather_object([math.sqrt(gap / length)])))


def _trial(session: Session, trial: Plan) -> Tried:
    """What a step and an evaluation take, from some steps that are then forgotten."""
    _, wrapped, optimizers = session.start(trial)
    at: list[float] = []
    begin = max(0, session.short_steps(trial) - 1)  # one step warms up short blocks, the next one whole ones
    steps = range(begin, begin + WARM_UP_STEPS + MEASURED_STEPS)
    session.take_steps(wrapped, optimizers, trial, steps, Watch(), lambda _step: at.append(time.monotonic()))
    step = (at[-1] - at[WARM_UP_STEPS - 1]) / MEASURED_STEPS
    session.valid_nats(wrapped, trial)
    evaluation = time.monotonic() - at[-1]
    session.accelerator.free_memory()
    tried = [Tried(step, evaluation)]
    broadcast_object_list(tried)  # all have to go the same way from here: rank 0's measurements are everyone's
    return tried[0]


def train(
    session: Session, out: Path, began: float, tokens_per_byte: float
) -> tuple[PreTrainedModel, Plan, dict[str, Any]]:
    """Train in ``out`` from where an earlier attempt was left, with its plan, or from the start with a new one.

    Returns the model, the plan, and what the log ends with. Raises Interrupted, after a checkpoint, when a signal asks
    to stop, and UsageError where training diverges again and again.
    """
    path = out / "plan.json"
    plan = Plan(**json.loads(path.read_text("utf-8"))) if path.exists() else Plan(0, "", False, session.micro_batch, 0)
    session.accelerator.wait_for_everyone()  # rank 0 writes the plan, and all must have looked for it before
    # The setting may have changed since; what did not fit will not fit now.
    plan = plan._replace(micro_batch=min(plan.micro_batch, session.micro_batch))
    stop = StopRequest()
    while True:
        try:
            plan = plan if plan.steps else make_plan(session, plan.micro_batch, began)
            if session.accelerator.is_main_process:
                write_json(path, plan._asdict())
            model, figures = _attempt(session, plan, out, tokens_per_byte, stop)
            return model, plan, figures
        except DivergedError as error:
            plan = _detour(session, plan, out, error.good)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            plan = plan._replace(micro_batch=halved(plan.micro_batch))
            if session.accelerator.num_processes > 1:  # the others wait for this one's gradients, in vain
                write_json(path, plan._asdict())
                raise UsageError("one of the processes ran out of memory: run the same command again") from error
        session.accelerator.free_memory()


def _detour(session: Session, plan: Plan, out: Path, good: int) -> Plan:
    """The plan that reads other blocks from step ``good`` on (PaLM's remedy: arXiv 2204.02311, section 5.1)."""
    if good in plan.detours:
        raise UsageError(
            f"training diverged after step {good} and again on other blocks: delete {out} and lower "
            f"pretrain.learning_rate (it is {session.settings.learning_rate:g})"
        )
    if session.accelerator.is_main_process:
        what = f"{BAD_IN_A_ROW} steps in a row had a spike of the loss or a gradient that is not finite"
        log.warning("pretrain: %s: back to step %d, and on with other blocks", what, good)
        for later in (out / "checkpoints").glob("step-*"):  # this first: a kill in between only diverges once more
            shutil.rmtree(later)
    session.accelerator.wait_for_everyone()
    return plan._replace(detours=(*plan.detours, good))


def _attempt(
    session: Session, plan: Plan, out: Path, tokens_per_byte: float, stop: StopRequest
) -> tuple[PreTrainedModel, dict[str, Any]]:
    """Train from the newest checkpoint in ``out`` to the last step of ``plan``.

    Returns the model and what the log ends with. Raises Interrupted, and DivergedError.
    """
    settings, accelerator = session.settings, session.accelerator
    how = ", ".join(filter(None, (plan.precision, "compiled" if plan.compiled else "not compiled", plan.attention)))
    size = plan.steps, session.tokens_a_step, session.epochs(plan)
    model, wrapped, optimizers = session.start(plan)
    mean, averaged_from = WeightMean(model), plan.steps - math.ceil(settings.average_share * plan.steps)
    new: dict[str, Any] = {"step": 0, "journal": {}, "watch": {}, "figures": {}}
    before = checkpoint.load(out / "checkpoints", model, [*optimizers, mean]) or new
    on = f"; on from step {before['step']:,}" if before["step"] else ""
    log.info("pretrain: %d steps of %d tokens, %.1f epochs, %s%s", *size, how, on)
    watch = Watch(**before["watch"])
    figures: dict[str, Any] = before["figures"]
    journal = _open_logs(session, out, before["step"], before["journal"])
    evaluations = {round((i + 1) * plan.steps / plan.evaluations) for i in range(plan.evaluations)}
    bar = progress(desc="pretrain", unit="step", total=plan.steps, initial=before["step"])
    last_saved = time.monotonic()

    def save(folder: Path, done: int) -> None:
        nonlocal last_saved
        about = {"journal": journal.state(), "watch": watch.state(), "figures": figures}
        checkpoint.save(folder, done, model, [*optimizers, mean], about, write=accelerator.is_main_process)
        last_saved = time.monotonic()

    def after_step(step: int) -> None:
        done = step + 1
        if step >= averaged_from:
            mean.add()
        if done == plan.steps:
            mean.use()
        journal.add(done, watch.loss)
        bar.update()
        if done in evaluations:
            nats = session.valid_nats(wrapped, plan)
            figures.update(valid_nats=nats, valid_bits_per_byte=nats * tokens_per_byte / math.log(2))
            journal.write(done, **figures)
            # By steps and not by the clock: the way back is always the same.
            apart = not plan.step_seconds or (done - watch.good) * plan.step_seconds >= WAY_BACK_SECONDS
            if apart and not watch.in_a_row and done < plan.steps:
                watch.good = done
                save(out / "checkpoints/good", done)
        due = time.monotonic() - last_saved > settings.checkpoint_minutes * 60
        stopping, due = stop.agreed(accelerator, due)
        if stopping or due:
            save(out / "checkpoints", done)
        if stopping:
            accelerator.wait_for_everyone()  # a launcher kills the rest once one process has ended
            stop.stop()

    session.take_steps(wrapped, optimizers, plan, range(before["step"], plan.steps), watch, after_step)
    for tracker in accelerator.trackers:
        tracker.finish()
    return model, figures | journal.totals(plan.steps)


def _open_logs(session: Session, out: Path, first_step: int, state: dict[str, Any]) -> Journal:
    """The journal in ``out``, which tells the trackers, too; both go on from ``first_step``."""
    accelerator = session.accelerator
    # TensorBoard would else draw what an interrupted attempt logged after its last checkpoint, too
    accelerator.init_trackers("trackers", init_kwargs={"tensorboard": {"purge_step": first_step + 1}})
    return Journal(
        out / "metrics.jsonl" if accelerator.is_main_process else Path(os.devnull),
        first_step=first_step,
        state=state,
        tokens_a_step=session.tokens_a_step,
        every=session.settings.log_steps,
        track=tracked_by(accelerator),
    )
