"""Where the log goes beside its file: TensorBoard, Weights & Biases and whatever else Accelerate knows."""

from collections.abc import Sequence

from accelerate.tracking import get_available_trackers

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
