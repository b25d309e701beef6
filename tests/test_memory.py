"""Pretraining in less memory than it would like."""

import ctypes
import json
import logging
import multiprocessing
import resource
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from small import small_session
from transformers import PreTrainedTokenizerFast

from pipeline.errors import UsageError
from pipeline.training import masked
from pipeline.training.memory import give_back, is_out_of_memory
from pipeline.training.pretraining import train


def _train_within(megabytes: int, tokenizer: PreTrainedTokenizerFast, out: Path) -> None:
    """Train for two steps, with that much memory beyond what the process has taken so far."""
    logging.basicConfig(filename=out / "log", format="%(message)s")
    mmap_threshold = -3  # malloc.h: freed tensors leave the address space, which is what the limit counts
    ctypes.CDLL(None).mallopt(mmap_threshold, 2**16)
    torch.set_num_threads(1)
    session = small_session(tokenizer, 128, 128, max_steps=2)
    session.new_model()(input_ids=torch.zeros(1, 8, dtype=torch.int64)).logits.sum().backward()
    taken = int(Path("/proc/self/statm").read_text("utf-8").split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + megabytes * 2**20,) * 2)
    train(session, out, time.monotonic(), 1.0)


def test_a_process_short_of_memory_halves_the_micro_batch_and_keeps_the_global_batch(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    process = multiprocessing.get_context("spawn").Process(target=_train_within, args=(100, tokenizer, tmp_path))
    process.start()
    process.join()
    assert process.exitcode == 0
    micro_batch = json.loads((tmp_path / "plan.json").read_text("utf-8"))["micro_batch"]
    assert 1 <= micro_batch < 128
    assert "out of memory with 128 blocks at once: on with 64" in (tmp_path / "log").read_text("utf-8")
    last = json.loads((tmp_path / "metrics.jsonl").read_text("utf-8").splitlines()[-1])
    assert last["tokens"] == 2 * 128 * 128


@pytest.mark.parametrize("budget", [{"max_steps": 6}, {"max_minutes": 0.02}], ids=str)
def test_a_gpu_out_of_memory_at_any_time_does_not_end_the_run(
    budget: dict[str, Any], tokenizer: PreTrainedTokenizerFast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = 0

    def summed_loss(model: Any, batch: dict[str, torch.Tensor], **more: Any) -> torch.Tensor:
        nonlocal taken
        taken += len(batch["input_ids"])
        if taken > 3 * 16 and len(batch["input_ids"]) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return masked.summed_loss(model, batch, **more)

    monkeypatch.setattr("pipeline.training.session.summed_loss", summed_loss)
    _, plan, figures = train(small_session(tokenizer, 16, 16, **budget), tmp_path, time.monotonic(), 1.0)
    assert plan.micro_batch == 4
    assert figures["tokens"] == plan.steps * 16 * 16


def test_memory_for_not_even_one_block_ends_the_run_with_the_remedy(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def summed_loss(_model: Any, _batch: Any, **_more: Any) -> torch.Tensor:
        raise MemoryError

    monkeypatch.setattr("pipeline.training.session.summed_loss", summed_loss)
    with pytest.raises(UsageError, match=r"set pretrain.length_tokens lower"):
        train(small_session(tokenizer, 16, 16, max_steps=1), tmp_path, time.monotonic(), 1.0)
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


def test_what_was_freed_between_blocks_in_use_goes_back_to_the_system() -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool:  # a process whose memory nothing else has cut up
        kept, given_back = pool.apply(_megabytes_before_and_after)
    assert kept > 100  # else the C library needs no telling
    assert given_back < 50


def _megabytes_before_and_after() -> tuple[float, float]:
    """What this process holds more than at first, when it has freed most of what it took; and once it is given back."""

    def megabytes() -> float:
        return int(Path("/proc/self/statm").read_text("utf-8").split()[1]) * resource.getpagesize() / 2**20

    first = megabytes()
    blocks = [bytes(2**16) for _ in range(4096)]  # 256 MB
    some = blocks[63::64]
    del blocks
    kept = megabytes() - first
    give_back()
    return kept, megabytes() - first - len(some) / 16  # these are still in use
