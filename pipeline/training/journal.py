"""The log of a training run: a line of JSON each few steps, and nothing lost or doubled by a restart."""

import json
import math
import time
from pathlib import Path
from typing import Any

import torch


class Journal:
    """Writes ``metrics.jsonl``. Losses stay on the device until a line is due, so that logging holds no step up."""

    def __init__(self, path: Path, *, first_step: int, seconds_before: float, tokens_a_step: int, every: int) -> None:
        self.path, self.every, self.tokens_a_step = path, every, tokens_a_step
        self.started = time.perf_counter() - seconds_before
        self.last_seconds = seconds_before
        self.pending: list[tuple[torch.Tensor, torch.Tensor]] = []
        self.skipped = 0
        lines = path.read_text("utf-8").splitlines() if path.exists() else []
        kept = [line for line in lines if json.loads(line)["step"] <= first_step]
        path.write_text("".join(f"{line}\n" for line in kept), "utf-8")

    @property
    def seconds(self) -> float:
        """Time spent training, over all attempts."""
        return time.perf_counter() - self.started

    def add(self, done: int, loss: torch.Tensor, norm: torch.Tensor) -> None:
        """Take note of the step that makes ``done`` steps in all."""
        self.pending.append((loss, norm))
        if done % self.every == 0:
            self.write(done)

    def write(self, done: int, **more: float) -> None:
        """Write a line over the steps since the last one, and flush it."""
        line: dict[str, Any] = {"step": done, "seconds": round(self.seconds, 3), "tokens": done * self.tokens_a_step}
        if self.pending:
            losses, norms = (torch.stack(column).tolist() for column in zip(*self.pending, strict=True))
            finite = [loss for loss, norm in zip(losses, norms, strict=True) if math.isfinite(norm)]
            self.skipped += len(losses) - len(finite)
            rate = len(losses) * self.tokens_a_step / (self.seconds - self.last_seconds)
            line |= {"tokens_per_s": round(rate), "loss_nats": sum(finite) / len(finite) if finite else None}
            self.last_seconds = self.seconds
            self.pending.clear()
        if self.skipped:
            line["skipped_steps"] = self.skipped
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({**line, **more}) + "\n")
