"""Several processes on one machine, joined by gloo."""

import json
import multiprocessing
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest
import torch
from accelerate import FullyShardedDataParallelPlugin
from accelerate.utils import DistributedType
from small import small_session
from transformers import AutoModelForMaskedLM, PreTrainedTokenizerFast

from pipeline.errors import UsageError
from pipeline.training import checkpoint, masked
from pipeline.training.pretraining import train
from pipeline.training.processes import await_folder, processes

STEPS = 20
FSDP2: dict[str, Any] = {"fsdp_version": 2, "auto_wrap_policy": "transformer_based_wrap"}
FSDP2 |= {"reshard_after_forward": False, "transformer_cls_names_to_wrap": ["ModernBertEncoderLayer"]}
FSDP2 |= {"cpu_ram_efficient_loading": False}


def _train(
    rank: int,
    of: int,
    port: int,
    tokenizer: PreTrainedTokenizerFast,
    out: Path,
    fails: bool,
    sharded: bool,
    blocks: int,
    slow: bool,
    blind: bool,
) -> None:
    """Train as process ``rank``; where it ``fails``, the last one runs out of memory at the fourth step. Of ``blocks``
    a process takes up to four at once; where these are not eight, a single one is to validate on. Where the last one is
    ``slow``, by what it measures the run is worth compiling; where it is ``blind``, it sees no checkpoint.
    """
    here = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": of, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in here.items()} if of > 1 else {})
    torch.set_num_threads(1)
    left = 3

    def summed_loss(model: Any, batch: dict[str, torch.Tensor], **more: Any) -> torch.Tensor:
        nonlocal left
        left -= 1
        if left < 0:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return masked.summed_loss(model, batch, **more)

    if fails and rank == of - 1:
        patch("pipeline.training.session.summed_loss", summed_loss).start()
    if blind and rank == of - 1:
        patch("pipeline.training.checkpoint.load", lambda *_: None).start()
    if slow:
        patch("pipeline.training.planning.ALTERNATIVES", {"cpu": "sdpa"}).start()
        patch("pipeline.training.session.compile_layers", lambda model: None).start()
        if rank == of - 1:
            slow_clock = SimpleNamespace(monotonic=lambda: 1000 * time.monotonic())
            patch("pipeline.training.planning.time", slow_clock).start()
    settings: dict[str, Any] = {"max_steps": STEPS, "compile": "auto" if slow else "never", "optimizer": "adamw"}
    settings |= {"average_share": 0.95, "masking": "spans"}
    at_once: dict[str, Any] = {} if blocks == 8 else {"micro_batch_blocks": 4}
    session = small_session(tokenizer, blocks, 16, **settings, **at_once, log_steps=1, checkpoint_minutes=1e-9)
    if blocks != 8:
        session = replace(session, valid=session.valid._replace(blocks=session.valid.blocks[:1]))
    accelerator = processes()
    if sharded:  # Accelerate itself does this on GPUs alone
        accelerator.state.distributed_type = DistributedType.FSDP
        accelerator.state.fsdp_plugin = FullyShardedDataParallelPlugin(**FSDP2)
    try:
        model, *_ = train(replace(session, accelerator=accelerator), out, time.monotonic(), 1.0)
        weights = checkpoint.whole(model.state_dict())
        if rank == 0:
            model.save_pretrained(out / "model", state_dict=weights)
    except UsageError as error:
        (out / "error").write_text(str(error), "utf-8")
        os._exit(2)
    os._exit(0)


@pytest.fixture
def together(tokenizer: PreTrainedTokenizerFast) -> Callable[..., list[int | None]]:
    """``together(n, folder)`` trains with n processes and returns their exit codes; one's failure ends the others."""
    context = multiprocessing.get_context("forkserver")  # imports once
    context.set_forkserver_preload(["pipeline.training.pretraining", "small"])

    def run(
        of: int,
        out: Path,
        *,
        fails: bool = False,
        sharded: bool = False,
        blocks: int = 8,
        slow: bool = False,
        blind: bool = False,
    ) -> list[int | None]:
        out.mkdir(exist_ok=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        rest = (of, port, tokenizer, out, fails, sharded, blocks, slow, blind)
        begun = [context.Process(target=_train, args=(rank, *rest)) for rank in range(of)]
        for process in begun:
            process.start()
        while any(process.is_alive() for process in begun) and not any(process.exitcode for process in begun):
            time.sleep(0.05)
        for process in begun:
            process.kill()
            process.join()
        return [process.exitcode for process in begun]

    return run


def _curve(folder: Path) -> dict[tuple[str, int], float]:
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text("utf-8").splitlines()]
    return {(name, row["step"]): row[name] for row in rows for name in ("loss_nats", "valid_nats") if name in row}


def test_four_processes_follow_the_curve_of_one(together: Callable[..., list[int | None]], tmp_path: Path) -> None:
    assert together(1, tmp_path / "one") == [0]
    assert together(4, tmp_path / "four") == [0, 0, 0, 0]
    assert json.loads((tmp_path / "four/plan.json").read_text("utf-8"))["micro_batch"] == 2, "they share 8 blocks"
    assert len(_curve(tmp_path / "one")) == STEPS + 1
    assert _curve(tmp_path / "four") == pytest.approx(_curve(tmp_path / "one"), rel=1e-3)


def test_one_of_several_processes_out_of_memory_ends_them_and_the_same_command_goes_on_with_half(
    together: Callable[..., list[int | None]], tmp_path: Path
) -> None:
    assert 2 in together(2, tmp_path, fails=True)
    assert "run the same command again" in (tmp_path / "error").read_text("utf-8")
    assert json.loads((tmp_path / "plan.json").read_text("utf-8"))["micro_batch"] == 2
    assert 2 in together(2, tmp_path, blind=True)
    assert "found checkpoints of steps [0, 3]" in (tmp_path / "error").read_text("utf-8")
    assert together(2, tmp_path) == [0, 0]
    assert [step for name, step in _curve(tmp_path) if name == "loss_nats"] == list(range(1, STEPS + 1))


def test_processes_that_share_out_the_weights_train_the_same_and_go_on_from_a_checkpoint(
    together: Callable[..., list[int | None]], tmp_path: Path
) -> None:
    assert together(1, tmp_path / "one") == [0]
    assert 2 in together(2, tmp_path / "shared", fails=True, sharded=True)
    assert max((tmp_path / "shared/checkpoints").iterdir()).name == "step-00000003"
    assert together(2, tmp_path / "shared", sharded=True) == [0, 0]
    assert _curve(tmp_path / "shared") == pytest.approx(_curve(tmp_path / "one"), rel=1e-3)
    one, shared = (AutoModelForMaskedLM.from_pretrained(tmp_path / name / "model") for name in ("one", "shared"))
    for mine, theirs in zip(one.parameters(), shared.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-4)


@pytest.mark.parametrize("sharded", [False, True])
@pytest.mark.parametrize("blocks", [9, 1], ids=["unequal shares", "nothing for the second process"])
def test_processes_with_unequal_shares_wait_for_each_other(
    together: Callable[..., list[int | None]], tmp_path: Path, blocks: int, sharded: bool
) -> None:
    assert together(1, tmp_path / "one", blocks=blocks) == [0]
    assert together(2, tmp_path / "two", blocks=blocks, sharded=sharded) == [0, 0]
    assert _curve(tmp_path / "two") == pytest.approx(_curve(tmp_path / "one"), rel=1e-3)


def test_processes_that_measure_other_seconds_settle_on_one_plan(
    together: Callable[..., list[int | None]], tmp_path: Path
) -> None:
    assert together(2, tmp_path, slow=True) == [0, 0]
    assert not json.loads((tmp_path / "plan.json").read_text("utf-8"))["compiled"], "as rank 0 has measured"


def test_processes_on_machines_without_a_common_folder_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.training.processes.gather_object", lambda mine: [*mine, None])
    await_folder(processes(), tmp_path)
    (tmp_path / "begun.json").write_text("{}", "utf-8")
    with pytest.raises(UsageError, match="one folder for all machines"):
        await_folder(processes(), tmp_path)


def test_stages_compute_as_they_have_settled_whatever_a_launcher_was_told() -> None:
    code = "from pipeline.training.processes import processes; print(processes().mixed_precision)"
    environment = {**os.environ, "ACCELERATE_MIXED_PRECISION": "bf16"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout.split() == ["no"]


def test_tensors_lie_in_huge_pages_and_memory_that_none_uses_is_not_taken() -> None:
    pages = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    if not pages.exists() or "[never]" in pages.read_text("utf-8"):
        pytest.skip("this kernel has no transparent huge pages")
    code = """
import torch
from pipeline.training.processes import processes
def mebibytes(name):
    return next(int(line.split()[1]) // 1024 for line in open("/proc/self/smaps_rollup") if line.startswith(name))
before = mebibytes("Rss:")
processes()
taken = mebibytes("Rss:") - before
tensor = torch.ones(64 * 2**20 // 4)
print(taken, mebibytes("AnonHugePages:"))
"""
    taken, huge = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True
    ).stdout.split()
    assert int(taken) < 100
    assert int(huge) >= 60


def test_an_older_glibc_keeps_freed_memory_as_far_as_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: dict[int, int] = {}

    class Older:
        """It takes no threshold of mmap above 32 MiB."""

        malloc = staticmethod(lambda size: None)

        def mallopt(self, name: int, value: int) -> int:
            fits = name != -3 or value <= 2**25
            taken.update({name: value} if fits else {})
            return int(fits)

    monkeypatch.setattr("pipeline.training.processes.ctypes.CDLL", lambda name: Older())
    processes()
    assert taken == {-3: 2**25, -1: 2**31 - 1}
