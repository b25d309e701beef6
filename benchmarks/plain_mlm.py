"""The plain masked-LM recipe, as a peer to measure against: what most people start from.

`BertForMaskedLM` in float32, head over every position, fused AdamW, linear warm-up and decay, 15 % of tokens masked
throughout, blocks cut from the concatenated documents, nothing compiled. Learning rate and batch are raised from the
usual defaults, to be fair to a small model.

    python benchmarks/plain_mlm.py TOKENIZER TRAIN.txt VALID.txt --seconds 300

TOKENIZER is a folder for AutoTokenizer; TRAIN and VALID hold one document a line. Prints one line of JSON: tokens_per_s
(every position counts), valid_nats (15 % masked, seed 1234), parameters,
steps, epochs, seconds, peak_memory_bytes.
"""

import argparse
import json
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoTokenizer, BertConfig, BertForMaskedLM

Pairs = tuple[torch.Tensor, torch.Tensor]
UNTIMED_STEPS = 3


def packed(path: Path, tokenizer: Any, length: int) -> np.ndarray:
    """All documents of a file, end to end, as (blocks, length) ids."""
    lines = [line.strip() for line in path.read_text("utf-8").splitlines() if line.strip()]
    ids = np.concatenate([tokenizer(line).input_ids for line in lines])
    return ids[: len(ids) // length * length].reshape(-1, length)


def masked(ids: np.ndarray, tokenizer: Any, rng: np.random.Generator) -> Pairs:
    """Inputs and labels, (blocks, length) int64; labels are -100 where nothing is hidden."""
    hidden = (rng.random(ids.shape) < 0.15) & ~np.isin(ids, tokenizer.all_special_ids)
    how, other = rng.random(ids.shape), rng.integers(0, len(tokenizer), ids.shape)
    inputs = np.where(hidden & (how < 0.8), tokenizer.mask_token_id, np.where(hidden & (how >= 0.9), other, ids))
    return torch.from_numpy(inputs), torch.from_numpy(np.where(hidden, ids, -100))


def epochs(blocks: np.ndarray, batch: int, rng: np.random.Generator) -> Iterator[tuple[int, np.ndarray]]:
    epoch = 0
    while True:
        epoch += 1
        order = rng.permutation(len(blocks))
        for start in range(0, len(order) - batch + 1, batch):
            yield epoch, blocks[order[start : start + batch]]


@torch.no_grad()
def valid_nats(model: torch.nn.Module, blocks: np.ndarray, tokenizer: Any) -> float:
    inputs, labels = masked(blocks, tokenizer, np.random.default_rng(1234))
    model.eval()
    total = count = 0.0
    for x, y in zip(inputs.split(32), labels.split(32), strict=True):
        hidden = int((y != -100).sum())
        if hidden:
            total, count = total + float(model(input_ids=x, labels=y).loss) * hidden, count + hidden
    model.train()
    return total / count


def train(
    model: torch.nn.Module, blocks: np.ndarray, tokenizer: Any, seconds: float, batch: int, rate: float
) -> dict[str, Any]:
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.01, fused=True)
    rng, tokens, began = np.random.default_rng(0), 0, 0.0
    for step, (_epoch, ids) in enumerate(epochs(blocks, batch, rng)):
        if step == UNTIMED_STEPS:
            tokens, began = 0, time.perf_counter()
        share = (time.perf_counter() - began) / seconds if step >= UNTIMED_STEPS else 0.0
        if share >= 1:
            break
        x, y = masked(ids, tokenizer, rng)
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1, (step + 1) / 100) * max(0.02, 1 - share)
        model(input_ids=x, attention_mask=torch.ones_like(x), labels=y).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        tokens += x.numel()
    spent = time.perf_counter() - began
    return {"tokens_per_s": round(tokens / spent), "steps": step, "epochs": _epoch, "seconds": round(spent, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("tokenizer", "train", "valid"):
        parser.add_argument(name, type=Path)
    for name, default in {
        "seconds": 300.0,
        "layers": 6,
        "hidden": 256,
        "length": 128,
        "batch": 32,
        "rate": 1e-3,
    }.items():
        parser.add_argument(f"--{name}", type=type(default), default=default)
    parser.add_argument("--out", type=Path, help="save model and tokenizer here")
    options = parser.parse_args()
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(options.tokenizer)
    shape = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=options.hidden,
        num_hidden_layers=options.layers,
        num_attention_heads=max(1, options.hidden // 64),
        intermediate_size=4 * options.hidden,
        max_position_embeddings=max(512, options.length),
        pad_token_id=tokenizer.pad_token_id,
    )
    model = BertForMaskedLM(shape)
    blocks, valid = (packed(path, tokenizer, options.length) for path in (options.train, options.valid))
    result = train(model, blocks, tokenizer, options.seconds, options.batch, options.rate)
    result |= {"valid_nats": round(valid_nats(model, valid[:512], tokenizer), 4)}
    result |= {"parameters": sum(parameter.numel() for parameter in model.parameters())}
    result |= {"peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}
    if options.out:
        model.save_pretrained(options.out)
        tokenizer.save_pretrained(options.out)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
