"""A disk with no space left, made by the limit that the kernel sets to the size of a file: the writes fail for real."""

import contextlib
import errno
import json
import resource
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from accelerate.tracking import GeneralTracker
from small import small_session
from transformers import PreTrainedTokenizerFast

from pipeline.training import checkpoint, pretraining
from pipeline.training.journal import Journal
from pipeline.training.pretraining import train


@contextlib.contextmanager
def at_most(size: int) -> Iterator[None]:
    """No file grows beyond ``size`` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("room", [0, 4096, 120_000], ids=["nothing", "half the weights", "half the optimizer"])
def test_a_checkpoint_that_does_not_fit_costs_nothing_but_itself(
    room: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = torch.nn.Linear(100, 200)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 100)).sum().backward()
    optimizer.step()
    checkpoint.save(tmp_path, 1, model, [optimizer], {"of": "before"})
    with at_most(room):
        checkpoint.save(tmp_path, 2, model, [optimizer], {})
    assert "checkpoint at step 2 not saved" in caplog.text
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]
    assert checkpoint.load(tmp_path, model, [optimizer]) == {
        **json.loads((tmp_path / "step-00000001/about.json").read_text("utf-8"))
    }
    checkpoint.save(tmp_path, 3, model, [optimizer], {})
    assert (tmp_path / "step-00000003").is_dir()


def test_a_checkpoint_is_kept_beside_later_ones_that_were_damaged_and_what_a_kill_left_goes(tmp_path: Path) -> None:
    model = torch.nn.Linear(2, 2)
    for step in (3, 8, 9):
        checkpoint.save(tmp_path, step, model, [], {})
    for damaged in ("step-00000008", "step-00000009"):
        (tmp_path / damaged / "model.safetensors").write_bytes(b"")
    (tmp_path / "step-00000010.tmp").mkdir()
    assert checkpoint.load(tmp_path, model, []) is None
    checkpoint.save(tmp_path, 1, model, [], {})
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]


def test_the_log_waits_for_space_and_then_has_every_line(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    journal = Journal(path, first_step=0, state={}, tokens_a_step=1, every=1)
    journal.add(1, 5.0)
    with at_most(path.stat().st_size + 10):  # a line does not fit, a piece of one does
        journal.add(2, 4.0)
        assert [json.loads(line)["step"] for line in path.read_text("utf-8").splitlines()] == [1]
        journal.add(3, 3.0)
    journal.add(4, 2.0)
    assert [json.loads(line)["step"] for line in path.read_text("utf-8").splitlines()] == [1, 2, 3, 4]


def test_lines_that_had_waited_when_a_checkpoint_was_saved_are_there_once_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    journal = Journal(path, first_step=0, state={}, tokens_a_step=1, every=1)
    with at_most(10):
        journal.add(1, 5.0)
    saved = journal.state()
    journal.add(2, 4.0)  # there is space again, and the checkpoint is older
    with path.open("a") as file:
        file.write('{"step": ')  # as a kill may leave it
    journal = Journal(path, first_step=1, state=saved, tokens_a_step=1, every=1)
    journal.add(2, 4.0)
    assert [json.loads(line)["step"] for line in path.read_text("utf-8").splitlines()] == [1, 2]


def test_a_tracker_that_fails_ends_itself_and_not_the_run(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Tracker(GeneralTracker):  # type: ignore[misc]
        name, requires_logging_directory, tracker = "full", False, None

        def __init__(self) -> None:
            super().__init__()

        def log(self, values: dict[str, Any], step: int | None = None, **more: Any) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        finish = log  # as TensorBoard's writer does

    session = small_session(tokenizer, 4, 16, max_steps=3, log_steps=1)
    session = replace(session, accelerator=Accelerator(cpu=True, log_with=Tracker()))
    train(session, tmp_path, time.monotonic(), 1.0)
    assert caplog.text.count("trackers stopped at step 1 ([Errno 28] No space left on device)") == 1
    assert len((tmp_path / "metrics.jsonl").read_text("utf-8").splitlines()) == 4, "3 steps and an evaluation"


def test_training_goes_on_while_the_disk_is_full_and_saves_when_it_is_not(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there: dict[int, list[str]] = {}
    full = contextlib.ExitStack()

    class Stop:
        """Called at the end of each step, before its checkpoint is saved."""

        def agreed(self, _accelerator: Any, due: bool) -> tuple[bool, bool]:
            step = len(there)
            there[step] = sorted(path.name[-2:] for path in (tmp_path / "checkpoints").glob("step-*"))
            if step == 3:
                full.enter_context(at_most(1000))
            if step == 6:
                full.close()
            return False, due

    monkeypatch.setattr(pretraining, "StopRequest", Stop)
    session = small_session(tokenizer, 4, 16, max_steps=9, checkpoint_minutes=1e-9, log_steps=1)
    with full:
        train(session, tmp_path, time.monotonic(), 1.0)
    assert there[3] == there[6] == ["02", "03"]
    assert there[8] == ["07", "08"]
    assert len((tmp_path / "metrics.jsonl").read_text("utf-8").splitlines()) == 10, "9 steps and an evaluation"
