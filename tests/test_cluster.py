"""What starts training on other machines: the launcher's configurations and the SLURM scripts."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from accelerate.commands.config.config_args import ClusterConfig, load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from conftest import ROOT

HARDWARE = sorted((ROOT / "configs/hardware").glob("*.yaml"))
BATCH = sorted((ROOT / "cluster").glob("*.sbatch"))
SHELL = [*BATCH, *sorted((ROOT / "cluster").rglob("*.sh"))]
TASK = str(ROOT / "cluster/task.sh")


def named(path: Path) -> str:
    return path.name


@pytest.mark.parametrize("path", HARDWARE, ids=named)
def test_accelerate_accepts_the_hardware_file(path: Path) -> None:
    loaded = load_config_from_file(str(path))
    assert isinstance(loaded, ClusterConfig)
    assert loaded.num_processes % loaded.num_machines == 0
    arguments = launch_command_parser().parse_args([f"--config_file={path}", "-m", "pipeline.pretrain"])
    launch, *_ = _validate_launch_command(arguments)
    distributed = launch.multi_gpu or launch.use_fsdp
    assert distributed == (loaded.num_processes > 1), "several processes start only as MULTI_GPU or FSDP"
    assert launch.mixed_precision == "no", "the stages choose their precision themselves"


def test_several_machines_find_out_by_themselves_which_is_which() -> None:
    row = next(
        line for line in (ROOT / "docs/cluster.md").read_text("utf-8").splitlines() if "`multi-node.yaml`" in line
    )
    (options,) = re.findall("started on each with `(.*?)`", row)
    file = ROOT / "configs/hardware/multi-node.yaml"
    arguments = launch_command_parser().parse_args(
        [f"--config_file={file}", *options.split(), "-m", "pipeline.pretrain"]
    )
    launch, *_ = _validate_launch_command(arguments)
    assert (launch.rdzv_backend, launch.main_process_ip, launch.num_machines) == ("c10d", "HOST", 2)


@pytest.mark.parametrize("path", SHELL, ids=named)
def test_shell_is_well_formed(path: Path) -> None:
    subprocess.run(["bash", "-n", path], check=True)
    if checker := shutil.which("shellcheck", path=str(Path(sys.executable).parent)) or shutil.which("shellcheck"):
        found = subprocess.run([checker, "-x", path], cwd=ROOT, capture_output=True, text=True)
        assert found.returncode == 0, found.stdout


@pytest.mark.parametrize("path", BATCH, ids=named)
def test_batch_scripts_stop_at_errors_and_come_back_after_preemption(path: Path) -> None:
    text = path.read_text("utf-8")
    options = set(re.findall(r"^#SBATCH (.*)", text, re.MULTILINE))
    assert {"--requeue", "--signal=TERM@120", "--open-mode=append", "--output=%x-%j.log"} <= options
    body = text[text.rindex("#SBATCH") :].splitlines()[1:]
    assert body[0] == "set -euo pipefail"


@pytest.mark.parametrize("code", [0, 3])
def test_a_task_ends_with_the_code_of_its_command_and_leaves_no_scratch(code: int, tmp_path: Path) -> None:
    command = [TASK, "bash", "-c", f'touch "$TMPDIR/used"; exit {code}']
    environment = {"PATH": "/usr/bin:/bin", "SLURM_TMPDIR": str(tmp_path)}
    assert subprocess.run(command, env=environment).returncode == code
    assert not list(tmp_path.iterdir())


def test_a_task_hands_sigterm_on_waits_for_its_command_and_says_75(tmp_path: Path) -> None:
    saves = (
        f"trap 'sleep 0.5; touch {tmp_path}/saved; exit 1' TERM; touch {tmp_path}/ready; while :; do sleep 0.1; done"
    )
    with subprocess.Popen([TASK, "bash", "-c", saves]) as process:
        while not (tmp_path / "ready").exists():
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 75
    assert (tmp_path / "saved").exists()


@pytest.mark.parametrize(
    "saved",
    [
        "demo/pretrain.part/checkpoints/step-9",
        "demo/finetune/seed-0/training.json",
        "demo/extract.part/counts/orwiki.00000.json",
        "",
    ],
)
def test_a_job_goes_back_into_the_queue_if_its_turn_has_brought_anything(tmp_path: Path, saved: str) -> None:
    (tmp_path / "scratch/demo/fetch").mkdir(parents=True)
    (tmp_path / "runs").symlink_to("scratch")  # as results often lie elsewhere
    (tmp_path / "runs/demo/fetch/manifest.json").touch()
    os.utime(tmp_path / "runs/demo/fetch/manifest.json", (0, 0))
    saves = f'mkdir -p "$(dirname runs/{saved})"; touch runs/{saved}; ' if saved else ""
    for name, does in (("srun", f"{saves}exit 75"), ("scontrol", "touch requeued")):
        (tmp_path / name).write_text(f"#!/bin/bash\n{does}\n", "utf-8")
        (tmp_path / name).chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "SLURM_JOB_ID": "7"}
    command = ["bash", "-c", f"set -euo pipefail; source {ROOT}/cluster/stages.sh; alone encode or"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (tmp_path / "requeued").exists() == bool(saved)
    assert done.returncode == (75 if saved else 1)
    assert ("longer --time" in done.stderr) == (not saved)


def test_every_sbatch_command_of_the_pages_and_scripts_names_a_batch_script() -> None:
    texts = [path.read_text("utf-8") for path in [ROOT / "docs/cluster.md", *BATCH]]
    named_scripts = re.findall(r"^#? *sbatch .*?(\S+\.sbatch)", "\n".join(texts), re.MULTILINE)
    assert {ROOT / name for name in named_scripts} == set(BATCH)
