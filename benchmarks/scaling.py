"""What more processes bring: measured with 1 and 2 single-threaded ones, projected to many GPUs.

    python -m benchmarks.scaling configs/or-local.yaml --rounds 3

Pretraining of 6 layers × 256, one thread a process: by one process, by two that gloo joins and that share the same
global batch, small or large, and by two runs at once that know nothing of each other, which is what the machine gives.
What is exchanged is read off the loopback interface. The projection is of a 12 × 768 model and says what it assumes.
Everything lies under runs/benchmark-scaling and runs/benchmark-scaling-beside.
"""

import argparse
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median

from transformers import AutoTokenizer

from pipeline.config import Model
from pipeline.model.masked_lm import masked_lm

RUN, BESIDE = Path("runs/benchmark-scaling"), Path("runs/benchmark-scaling-beside")
BLOCKS = 64, 256  # of a global batch: the default, and one for which a step's fixed costs weigh less
GPU_TOKENS_PER_S = 400_000  # of a 12 × 768 model on one H200: the target, not yet a measurement
NVLINK_BYTES_PER_S, NETWORK_BYTES_PER_S = 300e9, 40e9  # reached of 450 within a node and 50 (400 Gbit/s) between nodes
HOP_SECONDS = 5e-6
GPUS_A_NODE = 8


def pretrain(config: str, changes: list[str], steps: int, run: Path, processes: int, blocks: int) -> float:
    """Tokens a second, the median of the log's lines but the first."""
    launcher = ["-m", "accelerate.commands.launch", "--config_file=configs/hardware/2cpu.yaml"] if processes > 1 else []
    settings = [f"run={run.name}", "model.size=small", "pretrain.max_minutes=null", f"pretrain.max_steps={steps}"]
    settings += ["pretrain.evaluations=1", "pretrain.log_steps=2", "pretrain.compile=never", "pretrain.precision=bf16"]
    settings += [f"pretrain.global_batch_blocks={blocks}", *changes]
    _run(*launcher, "-m", "pipeline.pretrain", config, *settings, "--force")
    rows = [json.loads(line) for line in (run / "pretrain/metrics.jsonl").read_text("utf-8").splitlines()]
    return float(median(row["tokens_per_s"] for row in rows[1:] if "tokens_per_s" in row))


def _loopback_bytes() -> int:
    lines = Path("/proc/net/dev").read_text("utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.strip().startswith("lo:"))


def _run(*command: str) -> None:
    subprocess.run([sys.executable, *command], env={**os.environ, "OMP_NUM_THREADS": "1"}, check=True)


def exchange_seconds(gpus: int, size: float) -> float:
    """Ring all-reduce of ``size`` bytes: each sends 2 (n - 1) / n of it, in 2 (n - 1) hops (Patarasuk, Yuan 2009)."""
    slowest = NVLINK_BYTES_PER_S if gpus <= GPUS_A_NODE else NETWORK_BYTES_PER_S
    return 2 * (gpus - 1) / gpus * size / slowest + 2 * (gpus - 1) * HOP_SECONDS


def project() -> None:
    """Print what many GPUs would bring, and by which assumptions."""
    large = masked_lm(Model(size="base"), AutoTokenizer.from_pretrained(RUN / "tokenizer"), 512).num_parameters()
    print("| GPUs | tokens a GPU and step | computing, ms | exchange, ms | tokens/s | efficiency |")
    print("|---:|---:|---:|---:|---:|---:|")
    for share in (65536, 8192):
        for gpus in (1, 8, 64, 512):
            computing, exchange = share / GPU_TOKENS_PER_S, exchange_seconds(gpus, 4 * large)
            rate = gpus * share / (computing + exchange)
            row = f"{gpus} | {share:,} | {computing * 1e3:.1f} | {exchange * 1e3:.1f} | {rate / 1e6:,.2f} million"
            print(f"| {row} | {rate / gpus / GPU_TOKENS_PER_S:.0%} |")
    print("\nA projection, not a measurement. It assumes")
    print(f"- {GPU_TOKENS_PER_S:,} tokens/s of a GPU alone, the aim on an H200, which never waits for data;")
    print(
        f"- {large / 1e6:.0f} million parameters, gradients of 4 bytes, reduced in a ring once a step, after computing"
    )
    print("  (in truth most of it hides behind the backward pass);")
    within, between = NVLINK_BYTES_PER_S / 1e9, NETWORK_BYTES_PER_S / 1e9
    print(f"- {within:.0f} GB/s a GPU within a node of {GPUS_A_NODE}, {between:.0f} GB/s a GPU between nodes, ", end="")
    print(f"{HOP_SECONDS * 1e6:.0f} µs a hop.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config")
    parser.add_argument("setting", nargs="*", help="section.key=value")
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    for run in (RUN, BESIDE):
        _run("-m", "pipeline", "encode", options.config, f"run={run.name}")
    train = partial(pretrain, options.config, options.setting, options.steps)
    joined = [(blocks, processes) for blocks in BLOCKS for processes in (1, 2)]
    rates: dict[tuple[int, int], list[float]] = {each: [] for each in joined}
    apart, sent = [], []
    for _ in range(options.rounds):
        for blocks, processes in joined:
            before = _loopback_bytes()
            rates[blocks, processes].append(train(RUN, processes, blocks))
            if processes == 2:
                sent.append((_loopback_bytes() - before) / options.steps / 2)
        with ThreadPoolExecutor() as pool:
            apart.append(sum(pool.map(lambda run: train(run, 1, BLOCKS[0]), (RUN, BESIDE))))

    print("| processes of one thread | blocks a step | tokens/s | of one |\n|---|---:|---:|---:|")
    for (blocks, processes), each in rates.items():
        of_one = median(each) / median(rates[blocks, 1])
        print(f"| {processes} | {blocks} | {median(each):,.0f} | {of_one:.2f} |")
    of_one = median(apart) / median(rates[BLOCKS[0], 1])
    print(f"| 2 runs by themselves | {BLOCKS[0]} each | {median(apart):,.0f} | {of_one:.2f} |")
    parameters = json.loads((RUN / "pretrain/manifest.json").read_text("utf-8"))["counts"]["parameters"]
    print(f"\nThe two sent {median(sent) / 1e6:.1f} MB each a step: the gradients are {parameters * 4 / 1e6:.1f} MB.\n")
    project()


if __name__ == "__main__":
    main()
