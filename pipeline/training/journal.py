"""The log of a training run: a line of JSON each few steps, and nothing lost or doubled by a restart."""

import json
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.console import log


def _step(line: bytes) -> float:
    """The step of a line of the log; of less than a line, as a kill or a power cut may leave one, infinity."""
    try:
        return int(json.loads(line)["step"])
    except ValueError:
        return math.inf


class Journal:
    """Writes ``metrics.jsonl``, going on from the ``state`` that an earlier attempt had after ``first_step``.

    ``track(figures, step)`` is told the same.
    """

    def __init__(
        self,
        path: Path,
        *,
        first_step: int,
        state: dict[str, Any],
        tokens_a_step: int,
        every: int,
        track: Callable[[dict[str, float], int], None] = lambda _figures, _step: None,
    ) -> None:
        self.path, self.every, self.tokens_a_step, self.track = path, every, tokens_a_step, track
        self.last_seconds: float = state.get("last_seconds", 0.0)
        self.pending: list[float | None] = state.get("pending", [])
        self.skipped: int = state.get("skipped", 0)
        self.unwritten: str = state.get("unwritten", "")
        self.started: float = time.perf_counter() - state.get("seconds", 0.0)
        lines = path.read_bytes().splitlines(keepends=True) if path.is_file() else []
        if later := [line for line in lines if _step(line) > first_step or line.decode() in self.unwritten]:
            os.truncate(path, path.stat().st_size - sum(map(len, later)))

    @property
    def seconds(self) -> float:
        """Time spent training, over all attempts."""
        return time.perf_counter() - self.started

    def state(self) -> dict[str, Any]:
        names = ("last_seconds", "pending", "skipped", "unwritten", "seconds")
        return {name: getattr(self, name) for name in names}

    def totals(self, done: int) -> dict[str, Any]:
        """Of all ``done`` steps."""
        tokens, seconds = done * self.tokens_a_step, self.seconds
        rate = round(tokens / seconds)
        return {"seconds": round(seconds, 1), "tokens": tokens, "tokens_per_s": rate, "skipped_steps": self.skipped}

    def add(self, done: int, loss: float | None) -> None:
        """Take note of the step that makes ``done`` steps in all; None for a skipped one."""
        self.pending.append(loss)
        self.skipped += loss is None
        if done % self.every == 0:
            self.write(done)

    def write(self, done: int, **more: float) -> None:
        """Write a line over the steps since the last one, and flush it; a full disk makes it wait for the next."""
        line: dict[str, Any] = {"step": done, "seconds": round(self.seconds, 3), "tokens": done * self.tokens_a_step}
        if self.pending:
            taken = [loss for loss in self.pending if loss is not None]
            rate = len(self.pending) * self.tokens_a_step / (self.seconds - self.last_seconds)
            line |= {"tokens_per_s": round(rate), "loss_nats": sum(taken) / len(taken) if taken else None}
            self.last_seconds = self.seconds
            self.pending.clear()
        if self.skipped:
            line["skipped_steps"] = self.skipped
        line |= more
        self.track({name: value for name, value in line.items() if name != "step" and value is not None}, done)
        self.unwritten += json.dumps(line) + "\n"
        with self.path.open("ab", buffering=0) as file:
            whole = file.tell()
            try:
                if file.write(self.unwritten.encode()) < len(self.unwritten):  # JSON is ASCII here
                    raise OSError("a part of a line")
                self.unwritten = ""
            except OSError as error:  # a full disk: the lines wait for space
                log.warning("log at step %d not written (%s); training goes on", done, error)
                file.truncate(whole)
