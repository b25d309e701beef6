"""Train the masked language model.

Reads `encode/` (token ids), `tokenizer/`, and the model that `pretrain.init` names, if any. Writes `pretrain/`, which
AutoModelForMaskedLM and AutoTokenizer load, and `metrics.jsonl`. Runs on one process or under `accelerate launch` on
many, and goes on from its newest checkpoint.
"""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from pipeline.artifacts import Run, read_manifest, sha256
from pipeline.config import Model
from pipeline.console import log
from pipeline.errors import UsageError
from pipeline.model.checkpoints import MODEL_FILES, files_of, folder_of
from pipeline.model.continued import continued
from pipeline.model.masked_lm import masked_lm
from pipeline.model.piece_vectors import piece_vectors, starting_from_vectors
from pipeline.program import stage_main
from pipeline.text.encoded import blocks
from pipeline.training.checkpoint import whole
from pipeline.training.compilation import keep_compiled_in
from pipeline.training.masked import MaskedBlocks, beginnings, validation_blocks
from pipeline.training.pretraining import train
from pipeline.training.processes import await_folder, processes
from pipeline.training.session import Session
from pipeline.training.sizing import settle_size
from pipeline.training.trackers import settle_trackers
from pipeline.transfer.classifier import quiet_transformers


def work(run: Run, out: Path) -> dict[str, Any]:
    """Fill ``out``. Under a launcher every process calls this, and rank 0 writes."""
    settings, began = run.config.pretrain, time.monotonic()
    accelerator = processes(settle_trackers(settings.trackers), out)
    await_folder(accelerator, out)
    if settings.global_batch_blocks < accelerator.num_processes:
        raise UsageError(f"pretrain.global_batch_blocks: give at least {accelerator.num_processes}, one a process")
    keep_compiled_in(out / "compiled")
    tokenizer = AutoTokenizer.from_pretrained(run.input("tokenizer"))
    train_blocks = masked_blocks(run, "train", tokenizer)
    shape, corpus_tokens = run.config.model, train_blocks.blocks.size
    if not settings.init:  # else the architecture is given
        shape = settle_size(shape, settings, accelerator, tokenizer, corpus_tokens, out / "size.json")
    new_model, origin = _beginning(run, shape, train_blocks, tokenizer)
    session = Session(
        settings, accelerator, train=train_blocks, valid=masked_blocks(run, "valid", tokenizer), new_model=new_model
    )
    model, plan, figures = train(session, out, began, _valid_tokens_per_byte(run))
    log.info("pretrain: validation loss %.3f nats, %d tokens/s", figures["valid_nats"], figures["tokens_per_s"])
    weights = whole(model.state_dict())
    if accelerator.is_main_process:
        model.save_pretrained(out, state_dict=weights)
        tokenizer.save_pretrained(out)
    sizes = {"parameters": model.num_parameters(), "processes": accelerator.num_processes}
    return {**sizes, **origin, **plan._asdict(), "epochs": round(session.epochs(plan), 2), **figures}


def _beginning(
    run: Run, shape: Model, data: MaskedBlocks, tokenizer: PreTrainedTokenizerBase
) -> tuple[Callable[[], PreTrainedModel], dict[str, Any]]:
    """A function that makes the model of step 0; and what it starts from, for the manifest."""
    settings = run.config.pretrain
    new_model: Callable[[], PreTrainedModel]
    if not settings.init:
        new_model = partial(masked_lm, shape, tokenizer, settings.length_tokens)
        if settings.start == "vectors":
            scale = settings.start_scale
            new_model = starting_from_vectors(new_model, data.blocks, data.special, settings.seed, scale)
        return new_model, {"size": shape.size}
    quiet_transformers()
    folder = folder_of(settings.init, MODEL_FILES)
    if folder.resolve() == (run.folder / "pretrain").resolve():
        raise UsageError(
            f"pretrain.init is {folder}, which this run would replace: give this one another name (run=...)"
        )
    vectors = partial(piece_vectors, data.blocks, len(tokenizer), special=data.special, seed=settings.seed)
    by_company = vectors if settings.start == "vectors" else None
    new_model, pieces = continued(folder, tokenizer, settings.length_tokens, by_company)
    counts = ", ".join(f"{count:,} {how}" for how, count in pieces.items())
    log.info("pretrain: from %s, its architecture in place of model.*; pieces: %s", settings.init, counts)
    weights = {path.name: sha256(path) for path in files_of(folder, ("*.safetensors",))}
    return new_model, {"init": {"name": settings.init, "sha256": weights, "pieces": pieces}}


def masked_blocks(run: Run, split: str, tokenizer: PreTrainedTokenizerBase) -> MaskedBlocks:
    """What a step draws from, or an evaluation reads: the blocks of ``split``, and how tokens of them are hidden."""
    ids = blocks(run.input("encode"), split, run.config.pretrain.length_tokens)
    data = MaskedBlocks(ids, np.array(tokenizer.all_special_ids), tokenizer.mask_token_id, len(tokenizer))
    if run.config.pretrain.attention == "documents":
        data = data._replace(separator=tokenizer.sep_token_id)
    if split == "valid":  # its tokens are hidden one by one in every run, so that runs compare
        return data._replace(blocks=validation_blocks(ids))
    return data._replace(beginnings=beginnings(run.config.pretrain.masking, tokenizer))


def _valid_tokens_per_byte(run: Run) -> float:
    """Tokens of the validation text a byte of its UTF-8: what turns nats a token into bits a byte."""
    manifest = read_manifest(run.input("encode"))
    assert manifest, "program.stage_main has made sure of the stages before"
    counts = manifest["counts"]["valid"]
    return float(counts["tokens"] / counts["bytes"])


if __name__ == "__main__":
    stage_main("pretrain", work)
