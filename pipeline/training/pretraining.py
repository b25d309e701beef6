"""A run of masked-LM pretraining: planned once, stopped and resumed at will, the same on any number of processes."""

import json
import math
import os
import shutil
import time
from pathlib import Path
from typing import Any

from accelerate.utils import gather_object
from transformers import PreTrainedModel

from pipeline.artifacts import write_json
from pipeline.console import log, progress
from pipeline.errors import LocalError, UsageError
from pipeline.training import checkpoint
from pipeline.training.averaging import WeightMean
from pipeline.training.journal import Journal
from pipeline.training.memory import halved, is_out_of_memory
from pipeline.training.planning import make_plan
from pipeline.training.session import Plan, Session
from pipeline.training.stopping import StopRequest
from pipeline.training.trackers import start_trackers, tracked_by
from pipeline.training.watch import BAD_IN_A_ROW, DivergedError, Watch

WAY_BACK_SECONDS = 60  # least time between checkpoints to go back to; one takes some 0.5 s for 6 × 256


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
            if not math.isfinite(figures["valid_nats"]):
                raise UsageError(f"training diverged in its last steps: {_remedy(session, out)}")
            return model, plan, figures
        except DivergedError as error:
            plan = _detour(session, plan, out, error.good)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            plan = plan._replace(micro_batch=halved(plan.micro_batch))
            if session.accelerator.num_processes > 1:  # the others wait for this one's gradients, in vain
                own = path.with_name(f"plan-{session.accelerator.process_index}.json")  # several may, at once
                write_json(own, plan._asdict())
                own.replace(path)
                raise LocalError("one of the processes ran out of memory: run the same command again") from error
        session.accelerator.free_memory()


def _detour(session: Session, plan: Plan, out: Path, good: int) -> Plan:
    """The plan that reads other blocks from step ``good`` on (PaLM's remedy: arXiv 2204.02311, section 5.1)."""
    if good in plan.detours:
        raise UsageError(f"training diverged after step {good} and again on other blocks: {_remedy(session, out)}")
    if session.accelerator.is_main_process:
        what = f"{BAD_IN_A_ROW} steps in a row had a spike of the loss or a gradient that is not finite"
        log.warning("pretrain: %s: back to step %d, and on with other blocks", what, good)
        for later in (out / "checkpoints").glob("step-*"):  # this first: a kill in between only diverges once more
            shutil.rmtree(later)
    session.accelerator.wait_for_everyone()
    return plan._replace(detours=(*plan.detours, good))


def _remedy(session: Session, out: Path) -> str:
    return f"delete {out} and lower pretrain.learning_rate (it is {session.settings.learning_rate:g})"


def _attempt(
    session: Session, plan: Plan, out: Path, tokens_per_byte: float, stop: StopRequest
) -> tuple[PreTrainedModel, dict[str, Any]]:
    """Train from the newest checkpoint in ``out`` to the last step of ``plan``.

    Returns the model and what the log ends with. Raises Interrupted, and DivergedError.
    """
    settings, accelerator = session.settings, session.accelerator
    model, wrapped, optimizers = session.start(plan)
    mean, averaged_from = WeightMean(model), plan.steps - math.ceil(settings.average_share * plan.steps)
    new: dict[str, Any] = {"step": 0, "journal": {}, "watch": {}, "figures": {}}
    before = checkpoint.load(out / "checkpoints", model, [*optimizers, mean]) or new
    if len(found := {*gather_object([before["step"]])}) > 1:
        raise UsageError(f"processes found checkpoints of steps {sorted(found)} in {out}: run the same command again")
    _announce(session, plan, before["step"])
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


def _announce(session: Session, plan: Plan, first_step: int) -> None:
    how = ", ".join(filter(None, (plan.precision, "compiled" if plan.compiled else "not compiled", plan.attention)))
    on = f"; on from step {first_step:,}" if first_step else ""
    size = plan.steps, session.tokens_a_step, session.epochs(plan)
    log.info("pretrain: %d steps of %d tokens, %.1f epochs, %s%s", *size, how, on)


def _open_logs(session: Session, out: Path, first_step: int, state: dict[str, Any]) -> Journal:
    """The journal in ``out``, which tells the trackers, too; both go on from ``first_step``."""
    accelerator = session.accelerator
    start_trackers(accelerator, out, first_step)
    return Journal(
        out / "metrics.jsonl" if accelerator.is_main_process else Path(os.devnull),
        first_step=first_step,
        state=state,
        tokens_a_step=session.tokens_a_step,
        every=session.settings.log_steps,
        track=tracked_by(accelerator),
    )
