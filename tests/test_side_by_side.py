"""Networks that are trained at once, in processes of their own."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import upstream
from safetensors.torch import load_file

from pipeline.errors import UsageError
from pipeline.transfer import side_by_side as module
from pipeline.transfer.bench import Bench, open_bench
from pipeline.transfer.networks import Job, train_each
from pipeline.transfer.side_by_side import side_by_side

JOBS = [Job("full", 0, "seed-0"), Job("full", 1, "seed-1"), Job("scratch", 0, "scratch/seed-0")]
ROOT = Path(__file__).parents[1]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """Of networks that all take long enough to be trained at once, with two threads; here they would have one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "WORTHWHILE", 0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    (tmp_path / "together").mkdir()
    yield open_bench(upstream.make_run(tmp_path), tmp_path / "together")[0]
    torch.set_num_threads(threads)


def _trained(bench: Bench, job: Job) -> None:
    train_each([job], bench)
    (bench.out / f"{os.getpid()}.pid").write_text(str(torch.get_num_threads()), "utf-8")


def _refuse(bench: Bench, job: Job) -> None:
    raise UsageError(f"not seed {job.seed}")


def _be_killed(bench: Bench, job: Job) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _wait(bench: Bench, job: Job) -> None:
    (bench.out / f"{os.getpid()}.pid").touch()
    time.sleep(600)


def _runs(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text("utf-8").rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_they_are_the_networks_that_one_after_the_other_would_be(
    tmp_path: Path, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    side_by_side(_trained, bench, JOBS, 3)
    threads = {path.stem: path.read_text("utf-8") for path in bench.out.glob("*.pid")}
    assert list(threads.values()) == ["1", "1"]
    assert str(os.getpid()) not in threads
    together = train_each(JOBS, bench) | train_each([], bench)
    monkeypatch.setattr(module, "WORTHWHILE", float("inf"))
    apart = train_each(JOBS, bench._replace(out=tmp_path / "apart"))
    for job in JOBS:
        weights = [load_file(tmp_path / how / job.folder / "model.safetensors") for how in ("together", "apart")]
        assert all(torch.equal(one, weights[1][name]) for name, one in weights[0].items())
        assert together[job]["unseen_logits"] == apart[job]["unseen_logits"]


def test_tiny_networks_are_trained_here_by_one_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    bench, _ = open_bench(upstream.make_run(tmp_path), tmp_path)
    before, threads = torch.get_num_threads(), []
    torch.set_num_threads(2)
    try:
        side_by_side(lambda _bench, _job: threads.append(torch.get_num_threads()), bench, JOBS, 3)
        assert (threads, torch.get_num_threads()) == ([1, 1, 1], 2)
    finally:
        torch.set_num_threads(before)


def test_a_process_takes_its_share_of_the_threads_whatever_accelerate_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    for name in ("_bench", "begin_worker", "speak"):
        monkeypatch.setattr(module, name, lambda: None)
    monkeypatch.setattr(module, "processes", lambda: torch.set_num_threads(before + 2))
    try:
        module._begin(dict.fromkeys({*Bench._fields} - {"accelerator"}), before + 1)
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)


def test_what_a_user_can_mend_is_said_as_ever_and_a_killed_process_names_the_remedy(bench: Bench) -> None:
    with pytest.raises(UsageError, match="not seed"):
        side_by_side(_refuse, bench, JOBS, 3)
    with pytest.raises(UsageError, match="OMP_NUM_THREADS=1"):
        side_by_side(_be_killed, bench, JOBS, 3)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_nothing_is_left_running_when_the_command_ends(bench: Bench, tmp_path: Path, number: signal.Signals) -> None:
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import torch, test_side_by_side as tests\n"
        "from pathlib import Path\n"
        "from pipeline.artifacts import Run\n"
        "from pipeline.config import load\n"
        "if __name__ == '__main__':\n"
        "    torch.set_num_threads(2)\n"
        "    tests.module.WORTHWHILE = 0\n"
        "    bench = tests.open_bench(Run(load('run.yaml'), 'run.yaml'), Path('together'))[0]\n"
        "    tests.side_by_side(tests._wait, bench, tests.JOBS, 3)\n"
    )
    (tmp_path / "program.py").write_text(program, "utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "program.py", str(Path(__file__).parent)]
    child = subprocess.Popen(command, env=environment, start_new_session=True, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 120
    while len(workers := [int(path.stem) for path in bench.out.glob("*.pid")]) < 2 and time.monotonic() < until:
        time.sleep(0.1)
    assert len(workers) == 2
    child.send_signal(number)
    assert child.wait(60)
    while any(map(_runs, workers)) and time.monotonic() < until:
        time.sleep(0.1)
    assert not any(map(_runs, workers))
