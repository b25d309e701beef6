"""Checkpoints that are whole or not there: written aside, flushed, renamed, checked when read.

Random numbers and data order are functions of the step, so weights, optimizer state and a few counts are all
that a run needs to go on exactly as if it had never stopped.
"""

import json
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.utils._pytree import tree_map_only

from pipeline.artifacts import flush, sha256
from pipeline.console import log

KEPT = 2


def whole(state: Any) -> Any:
    """``state`` with every tensor in one piece. Where processes share them out (FSDP), all of them must call this."""
    return tree_map_only(DTensor, lambda tensor: tensor.full_tensor().cpu(), state)


def save(
    folder: Path,
    step: int,
    model: torch.nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    about: dict[str, Any],
    *,
    write: bool = True,
) -> None:
    """Write ``folder/step-<step>``; the ``KEPT`` newest stay. A full disk costs the checkpoint, not the run.

    Every process calls this; those that do not ``write`` hand over their part of the tensors.
    """
    weights, states = whole(_untied(model)), [whole(optimizer.state_dict()) for optimizer in optimizers]
    if not write:
        return
    final = folder / f"step-{step:08}"
    temporary = final.with_suffix(".tmp")
    try:
        for cut_short in folder.glob("step-*.tmp"):
            shutil.rmtree(cut_short, ignore_errors=True)
        temporary.mkdir(parents=True)
        save_file(weights, temporary / "model.safetensors")
        torch.save(states, temporary / "optimizers.pt")
        digests = {path.name: sha256(path) for path in sorted(temporary.iterdir())}
        (temporary / "about.json").write_text(json.dumps({"step": step, "sha256": digests, **about}), "utf-8")
        for path in [*temporary.iterdir(), temporary]:
            flush(path)
        shutil.rmtree(final, ignore_errors=True)
        temporary.rename(final)
        flush(folder)
    except (OSError, SafetensorError, RuntimeError) as error:  # torch.save has no better word for a full disk
        shutil.rmtree(temporary, ignore_errors=True)
        log.warning("checkpoint at step %d not saved (%s); training goes on", step, error)
        return
    there = sorted(folder.glob("step-*[0-9]"))
    newest = there.index(final) + 1  # what is later was damaged, or this run would have gone on from there
    for old in [*there[: max(0, newest - KEPT)], *there[newest:]]:
        shutil.rmtree(old)


def load(folder: Path, model: torch.nn.Module, optimizers: Sequence[torch.optim.Optimizer]) -> dict[str, Any] | None:
    """Load the newest whole checkpoint in or below ``folder``.

    Returns its ``step`` and what was saved ``about`` it, or None without one.
    """
    for path in sorted(folder.rglob("step-*[0-9]"), key=lambda path: path.name, reverse=True):
        try:
            about: dict[str, Any] = json.loads((path / "about.json").read_text("utf-8"))
            damaged = [name for name, digest in about["sha256"].items() if sha256(path / name) != digest]
        except (OSError, ValueError, KeyError):
            damaged = ["about.json"]
        if damaged:
            log.warning("%s is damaged (%s): going back to the one before", path, ", ".join(damaged))
            continue
        kept = _untied(model)
        for name, tensor in load_file(path / "model.safetensors").items():
            with torch.no_grad():
                kept[name].copy_(_shared_out(tensor, kept[name]))
        states = torch.load(path / "optimizers.pt", map_location="cpu", weights_only=True)
        for optimizer, state in zip(optimizers, states, strict=True):
            mine = [parameter for group in optimizer.param_groups for parameter in group["params"]]
            for i, values in state["state"].items():
                state["state"][i] = tree_map_only(torch.Tensor, partial(_shared_out, like=mine[i]), values)
            optimizer.load_state_dict(state)
        return about
    return None


def _untied(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The weights and lasting buffers by name, tied ones under their first name alone."""
    lasting = model.state_dict().keys()
    return {**dict(model.named_parameters()), **{k: v for k, v in model.named_buffers() if k in lasting}}


def _shared_out(tensor: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """``tensor`` shared out over the processes as ``like`` is, where that is a parameter of its shape."""
    if not isinstance(like, DTensor) or tensor.shape != like.shape:
        return tensor
    return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements)
