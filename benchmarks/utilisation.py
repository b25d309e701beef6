"""How much of what one GPU, or else the CPU, can multiply pretraining reaches (model FLOPs utilisation).

    python -m benchmarks.utilisation configs/or-local.yaml

12 layers × 768, blocks of 512, 65,536 tokens a step, compiled and in bfloat16. Tokens a second are the median over the
log but its first line; settings that follow the configuration are those of `make pretrain`. Everything lies under
runs/benchmark-utilisation.
"""

import argparse
import json
import platform
import subprocess
import sys
from pathlib import Path
from statistics import median

import torch
from transformers import AutoTokenizer

from benchmarks.flops import flops_a_token
from pipeline.model.masked_lm import SIZES
from pipeline.training.precision import product_rate

RUN = Path("runs/benchmark-utilisation")
PRODUCTS = {"cuda": (8192, 8192, 8192), "cpu": (4096, 1024, 1024)}  # rows, inner and columns of what is measured
MAKERS_RATE = {"H200": 989e12, "H100": 989e12, "A100": 312e12}  # dense bfloat16, as their data sheets have it (SXM)


def tokens_a_second(options: argparse.Namespace) -> float:
    settings = [f"run={RUN.name}", f"model.size={options.size}", f"pretrain.length_tokens={options.length}"]
    settings += [f"pretrain.global_batch_blocks={max(1, options.step_tokens // options.length)}"]
    settings += ["pretrain.max_minutes=null", f"pretrain.max_steps={options.steps}", "pretrain.evaluations=1"]
    settings += [f"pretrain.log_steps={max(1, options.steps // 20)}", "pretrain.compile=always"]
    settings += ["pretrain.precision=bf16", *options.setting]
    for command in ("pipeline encode", "pipeline.pretrain --force"):
        subprocess.run([sys.executable, "-m", *command.split(), options.config, *settings], check=True)
    log = [json.loads(line) for line in (RUN / "pretrain/metrics.jsonl").open(encoding="utf-8")]
    return float(median([line["tokens_per_s"] for line in log if "tokens_per_s" in line][1:]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config")
    parser.add_argument("setting", nargs="*", help="section.key=value")
    parser.add_argument("--size", choices=SIZES, default="base")
    parser.add_argument("--length", type=int, default=512, help="of a block, in tokens (512)")
    parser.add_argument("--step-tokens", type=int, default=65_536, help="of a step (65,536)")
    parser.add_argument("--steps", type=int, default=200)
    options = parser.parse_args()
    speed = tokens_a_second(options)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name = torch.cuda.get_device_name() if device.type == "cuda" else f"{platform.machine()} CPU"
    rate = speed * flops_a_token(options.size, options.length, len(AutoTokenizer.from_pretrained(RUN / "tokenizer")))
    rows, inner, columns = PRODUCTS[device.type]
    product = product_rate(device, "bf16", rows, inner, columns)
    layers, width, _ = SIZES[options.size]
    print(f"{layers} layers × {width}, blocks of {options.length}, on {name}: {speed:,.0f} tokens/s,")
    print(f"{rate / 1e12:.3g} TFLOP/s of the model, {rate / product:.0%} of a bfloat16 product of")
    print(f"({rows}, {inner}) × ({inner}, {columns}) here, {product / 1e12:.3g} TFLOP/s")
    for known, theirs in MAKERS_RATE.items():
        if known in name:
            print(f"and {rate / theirs:.0%} of the {theirs / 1e12:.0f} TFLOP/s that the data sheet gives")


if __name__ == "__main__":
    main()
