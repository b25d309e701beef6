"""How a run of pretraining is to compute, and for how many steps: settled once, by measurement where it takes one."""

import math
import time
from typing import NamedTuple

import torch
from accelerate.utils import broadcast_object_list, gather_object
from torch.distributed.tensor import DTensor

from pipeline.console import log
from pipeline.errors import UsageError
from pipeline.model.attention import ALTERNATIVES
from pipeline.training.compilation import can_compile
from pipeline.training.masked import summed_loss
from pipeline.training.memory import is_out_of_memory
from pipeline.training.precision import autocast, settle_precision
from pipeline.training.session import Plan, Session
from pipeline.training.watch import Watch

WARM_UP_STEPS, MEASURED_STEPS = 2, 5
SAME_GRADIENTS = 0.02  # how far, in proportion, those of two implementations of attention may lie apart
COMPILING_PAYS_SECONDS = 60  # it takes some 10 to 20 seconds and saves a third of a run
EVALUATING_SHARE = 0.02  # of a budget of time, at most


def make_plan(session: Session, micro_batch: int, began: float) -> Plan:
    """Settle precision, compilation, attention and the number of steps, trying some steps where that takes a
    measurement.

    A budget of time counts from ``began`` (time.monotonic). UsageError: it is to compile, and cannot.
    """
    settings = session.settings
    precision = settle_precision(settings.precision, session.accelerator.device)
    trial = Plan(1000, precision, False, micro_batch, settings.evaluations)
    everywhere = all(gather_object([can_compile()]))
    if settings.compile == "always" and not everywhere:
        raise UsageError(
            "pretrain.compile=always needs a C++ compiler and Python's headers (Debian: g++ and python3-dev): "
            "install them, or leave it at auto"
        )
    wanted = settings.compile != "never" and everywhere
    plan = [_for_minutes(session, trial, wanted, began) if settings.max_minutes else _for_steps(session, trial, wanted)]
    broadcast_object_list(plan)  # rank 0's clock is everyone's
    return plan[0]


def _for_minutes(session: Session, trial: Plan, wanted: bool, began: float) -> Plan:
    """The plan of as many steps and evaluations as fit into the budget of time; compiled, if ``wanted``, where that can
    pay.
    """
    settings = session.settings
    seconds = (settings.max_minutes or 0) * 60
    compiled = wanted and (settings.compile == "always" or seconds > COMPILING_PAYS_SECONDS)
    trial, tried = _settle_attention(session, trial._replace(compiled=compiled))
    tried = tried or _trial(session, trial)
    affordable = max(1, int(EVALUATING_SHARE * seconds / tried.evaluation_seconds))
    evaluations = min(settings.evaluations, affordable)
    left = seconds - (time.monotonic() - began) - evaluations * tried.evaluation_seconds
    steps = max(evaluations, int(left / tried.step_seconds))
    return trial._replace(steps=steps, evaluations=evaluations, step_seconds=tried.step_seconds)


def _for_steps(session: Session, trial: Plan, wanted: bool) -> Plan:
    """The plan of as many steps as the settings say; compiled, if ``wanted``, where it takes long without."""
    settings = session.settings
    epochs_steps = math.ceil((settings.max_epochs or 0) * len(session.train.blocks) / settings.global_batch_blocks)
    steps, compiled = settings.max_steps or epochs_steps, wanted
    if wanted and settings.compile == "auto":
        trial = trial._replace(step_seconds=_trial(session, trial).step_seconds)
        compiled = steps * trial.step_seconds > COMPILING_PAYS_SECONDS
    trial, _ = _settle_attention(session, trial._replace(compiled=compiled))
    return trial._replace(steps=steps)


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
    (_, batches), *_ = session.batches(trial, range(1), cut=1)
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
