"""Pretraining as real processes: killed, resumed, shared out, budgeted."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from conftest import OFFLINE, ROOT, Program

from pipeline import config
from pipeline.artifacts import Run, sha256, why_stale
from pipeline.recipe import LINE
from pipeline.training.loop import warmup_stable_decay

SETTINGS = (
    "configs/demo.yaml",
    "pretrain.max_steps=24",
    "pretrain.evaluations=2",
    "pretrain.log_steps=1",
    "pretrain.precision=fp32",
    "pretrain.checkpoint_minutes=0.00001",  # at every step
)


@pytest.fixture(scope="module")
def encoded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the demo corpus, encoded and ready to be pretrained on."""
    folder = tmp_path_factory.mktemp("encoded")
    for part in ("corpora/demo", "configs"):
        shutil.copytree(ROOT / part, folder / part)
    environment = {**os.environ, **OFFLINE, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "pipeline", "encode", "configs/demo.yaml"]
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
    return folder


@pytest.fixture
def pretrain(encoded: Path, tmp_path: Path, program: Program) -> Callable[..., subprocess.CompletedProcess[str]]:
    """``pretrain(*settings)`` in a copy of ``encoded``."""
    shutil.copytree(encoded, tmp_path, dirs_exist_ok=True)
    return lambda *settings, **more: program("pretrain", *SETTINGS, *settings, OMP_NUM_THREADS="1", **more)


def _losses(folder: Path) -> dict[tuple[str, int], float]:
    """Every loss in the log, by its name and step: all of it but the time."""
    lines = (folder / "runs/demo/pretrain/metrics.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    return {(name, row["step"]): row[name] for row in rows for name in ("loss_nats", "valid_nats") if name in row}


def _weights(folder: Path) -> bytes:
    return (folder / "runs/demo/pretrain/model.safetensors").read_bytes()


def _signal_at(step: int, number: int, folder: Path) -> Callable[[subprocess.Popen[str]], None]:
    """Send ``number`` to the process once the checkpoint of ``step`` or a later one is there."""

    def wait_and_send(process: subprocess.Popen[str]) -> None:
        checkpoints = folder / "runs/demo/pretrain.part/checkpoints"
        while process.poll() is None and not any(int(p.name[5:]) >= step for p in checkpoints.glob("step-*[0-9]")):
            time.sleep(0.01)
        process.send_signal(number)

    return wait_and_send


@pytest.fixture(scope="module")
def uninterrupted(encoded: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("uninterrupted")
    shutil.copytree(encoded, folder, dirs_exist_ok=True)
    environment = {**os.environ, **OFFLINE, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    subprocess.run(
        [sys.executable, "-m", "pipeline.pretrain", *SETTINGS],
        cwd=folder,
        env=environment,
        check=True,
        capture_output=True,
    )
    return folder


@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -9), (signal.SIGTERM, 75), (signal.SIGINT, 130)])
def test_a_stopped_run_goes_on_to_bit_identical_weights_and_log(
    number: int, code: int, pretrain: Any, uninterrupted: Path, tmp_path: Path
) -> None:
    stopped = pretrain(meanwhile=_signal_at(3, number, tmp_path))
    assert stopped.returncode == code, stopped.stderr
    assert not (tmp_path / "runs/demo/pretrain").exists()
    assert pretrain().returncode == 0
    assert _weights(tmp_path) == _weights(uninterrupted)
    assert _losses(tmp_path) == _losses(uninterrupted)
    assert not (tmp_path / "runs/demo/pretrain/checkpoints").exists()


def test_a_run_that_goes_on_from_a_model_resumes_exactly_and_is_out_of_date_once_that_model_changes(
    pretrain: Any, uninterrupted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = tmp_path / "old"
    shutil.copytree(uninterrupted / "runs/demo/pretrain", old)
    settings = ("pretrain.init=old", "pretrain.max_steps=6")
    assert pretrain(*settings).returncode == 0
    manifest = json.loads((tmp_path / "runs/demo/pretrain/manifest.json").read_text("utf-8"))
    origin = manifest["counts"]["init"]
    assert origin["sha256"] == {"model.safetensors": sha256(old / "model.safetensors")}
    assert origin["pieces"]["copied"] > 1000
    assert _losses(tmp_path)["loss_nats", 1] < _losses(uninterrupted)["loss_nats", 1] - 0.3
    weights = _weights(tmp_path)

    shutil.rmtree(tmp_path / "runs/demo/pretrain")
    assert pretrain(*settings, meanwhile=_signal_at(2, signal.SIGKILL, tmp_path)).returncode == -signal.SIGKILL
    assert pretrain(*settings).returncode == 0
    assert _weights(tmp_path) == weights

    itself = pretrain(*settings[1:], "pretrain.init=runs/demo/pretrain")
    assert itself.returncode == 2
    assert "pretrain.init is runs/demo/pretrain, which this run would replace" in itself.stderr
    assert _weights(tmp_path) == weights

    monkeypatch.chdir(tmp_path)
    run, stage = Run(config.load(SETTINGS[0], [*SETTINGS[1:], *settings]), SETTINGS[0]), LINE["pretrain"]
    assert why_stale(stage, run) is None
    (old / "config.json").write_text("{}", "utf-8")
    assert why_stale(stage, run) == "old/config.json changed"
    shutil.rmtree(old)
    assert why_stale(stage, run) == "old/config.json came or went"
    assert why_stale(stage, run, own_files=False) is None, "later stages do not need it"


def test_with_all_options_at_once_a_killed_run_goes_on_exactly(pretrain: Any, tmp_path: Path) -> None:
    names = ("masking=words", "average_share=0.5", "z_loss=1e-3", "start_scale=2", "contrastive=0.1", "short_share=0.5")
    settings = ("model.size=auto", "pretrain.max_steps=8", *(f"pretrain.{name}" for name in names))
    assert pretrain(*settings).returncode == 0
    weights, losses = _weights(tmp_path), _losses(tmp_path)
    shutil.rmtree(tmp_path / "runs/demo/pretrain")
    assert pretrain(*settings, meanwhile=_signal_at(6, signal.SIGKILL, tmp_path)).returncode == -signal.SIGKILL
    assert pretrain(*settings).returncode == 0
    assert _weights(tmp_path) == weights
    assert _losses(tmp_path) == losses


def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(
    pretrain: Any, uninterrupted: Path, tmp_path: Path
) -> None:
    pretrain(meanwhile=_signal_at(4, signal.SIGKILL, tmp_path))
    newest = max((tmp_path / "runs/demo/pretrain.part/checkpoints").glob("step-*[0-9]"))
    data = bytearray((newest / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (newest / "model.safetensors").write_bytes(data)
    done = pretrain()
    assert f"{newest.name} is damaged (model.safetensors)" in done.stderr
    assert _weights(tmp_path) == _weights(uninterrupted)


def test_a_full_disk_at_the_very_end_is_one_line_and_the_same_command_goes_on(
    pretrain: Any, uninterrupted: Path, tmp_path: Path
) -> None:
    def small_files(process: subprocess.Popen[str]) -> None:
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (100_000, 100_000))

    full = pretrain("--force", meanwhile=small_files)
    assert full.returncode == 2
    assert "Traceback" not in full.stderr
    assert full.stderr.splitlines()[-1].startswith("error: no space left on the device of ")
    assert not (tmp_path / "runs/demo/pretrain").exists()
    assert pretrain().returncode == 0
    assert _weights(tmp_path) == _weights(uninterrupted)


def test_resuming_under_other_settings_is_refused_with_the_setting_that_differs(pretrain: Any, tmp_path: Path) -> None:
    pretrain(meanwhile=_signal_at(2, signal.SIGTERM, tmp_path))
    done = pretrain("pretrain.learning_rate=0.1")
    assert done.returncode == 2
    assert "pretrain.learning_rate: 0.002 → 0.1" in done.stderr


def test_two_processes_follow_the_same_curve_as_one(pretrain: Any, uninterrupted: Path, tmp_path: Path) -> None:
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--config_file=configs/hardware/2cpu.yaml"]
    done = subprocess.run(
        [*launcher, "-m", "pipeline.pretrain", *SETTINGS],
        cwd=tmp_path,
        env={**os.environ, **OFFLINE, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    manifest = json.loads((tmp_path / "runs/demo/pretrain/manifest.json").read_text("utf-8"))
    assert manifest["counts"]["processes"] == 2
    assert _losses(tmp_path) == pytest.approx(_losses(uninterrupted), rel=1e-3)


def test_micro_batches_change_speed_and_not_the_curve(pretrain: Any, uninterrupted: Path, tmp_path: Path) -> None:
    assert pretrain("pretrain.micro_batch_blocks=5").returncode == 0
    assert _losses(tmp_path) == pytest.approx(_losses(uninterrupted), rel=0.02)  # Muon works in bfloat16


def test_a_time_budget_becomes_a_number_of_steps_that_fits(pretrain: Any, tmp_path: Path) -> None:
    done = pretrain("pretrain.max_steps=null", "pretrain.max_minutes=0.2")
    assert done.returncode == 0, done.stderr
    result = tmp_path / "runs/demo/pretrain"
    counts = json.loads((result / "manifest.json").read_text("utf-8"))["counts"]
    plan = json.loads((result / "plan.json").read_text("utf-8"))
    assert counts["steps"] == plan["steps"] > 24
    assert plan["steps"] * plan["step_seconds"] < 0.2 * 60
    assert counts["seconds"] < 0.2 * 60 * 2.5, "other programs may begin after the warm-up that was measured"


def test_the_line_writes_what_plain_transformers_reads(uninterrupted: Path) -> None:
    from transformers import pipeline

    fill = pipeline("fill-mask", str(uninterrupted / "runs/demo/pretrain"))
    assert len(fill(f"ମହାନଦୀ ଏକ {fill.tokenizer.mask_token} ନଦୀ।")) == 5
    losses = _losses(uninterrupted)
    assert losses["loss_nats", 24] < losses["loss_nats", 1]


def test_the_rate_rises_stays_and_falls() -> None:
    rates = [warmup_stable_decay(step, 100, 0.1, 0.2) for step in range(100)]
    assert rates[:10] == [pytest.approx((i + 1) / 10) for i in range(10)]
    assert set(rates[10:80]) == {1.0}
    assert all(a > b > 0 for a, b in pairwise(rates[79:]))
