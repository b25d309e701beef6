"""Where the log goes beside its file: TensorBoard, Weights & Biases and whatever else Accelerate knows."""

from collections.abc import Callable, Sequence
from pathlib import Path

from accelerate import Accelerator
from accelerate.tracking import get_available_trackers

from pipeline.console import log
from pipeline.errors import UsageError


def settle_trackers(wanted: Sequence[str] | str) -> list[str]:
    """``wanted`` by Accelerate's names; for "auto" TensorBoard where it is installed.

    Raises UsageError for one that is not there.
    """
    installed = [str(name) for name in get_available_trackers()]
    if isinstance(wanted, str):
        return [name for name in installed if name == "tensorboard"]
    for name in wanted:
        if name not in installed:
            there = ", ".join(installed) or "none"
            raise UsageError(f"pretrain.trackers: `{name}` is not installed (there is {there}): install or drop it")
    return list(wanted)


def start_trackers(accelerator: Accelerator, out: Path, first_step: int) -> None:
    """Start those of ``accelerator``, which write into ``out``, a stage's folder. UsageError: one does not start."""
    arguments = {
        # what an interrupted attempt logged after its last checkpoint would be drawn, too
        "tensorboard": {"purge_step": first_step + 1},
        "wandb": {"name": out.parent.name, "dir": str(out)},
    }
    try:
        accelerator.init_trackers("akshara", init_kwargs=arguments)  # the project, or the folder
    except OSError:
        raise
    except Exception as error:  # each has kinds of its own
        reason = " ".join(str(error).split())[:200].rstrip(".")
        raise UsageError(f"pretrain.trackers: {reason}: mend that, or leave the tracker out") from error


def tracked_by(accelerator: Accelerator) -> Callable[[dict[str, float], int], None]:
    """What tells ``accelerator``'s trackers the figures of a step, until they fail, as on a full disk: training goes on
    without them.
    """

    def track(figures: dict[str, float], step: int) -> None:
        try:
            accelerator.log(figures, step)
        except OSError as error:
            accelerator.trackers.clear()  # TensorBoard's writer never recovers, and fails again when it is closed
            log.warning("trackers stopped at step %d (%s); metrics.jsonl goes on", step, error)

    return track
