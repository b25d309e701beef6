"""How large a model a run can afford: one of the sizes, by its budget and its corpus."""

import json
from pathlib import Path

import torch
from accelerate import Accelerator
from transformers import PreTrainedTokenizerBase

from pipeline.artifacts import write_json
from pipeline.config import Model, Pretrain
from pipeline.console import log
from pipeline.model.masked_lm import SIZES, layers, masked_lm
from pipeline.training.precision import product_rate, settle_precision

REACHED = 0.2  # of the rate of matrix products: what training was measured to reach on a CPU (docs/benchmarks.md)
TOKENS_A_PARAMETER = 1.0  # of the layers, to be trained on: docs/ablations.md
CORPUS_TOKENS_A_PARAMETER = 0.25  # layers of 4.7 M still learned after 24 epochs of 0.3 (docs/results.md)


def settle_size(
    model: Model,
    settings: Pretrain,
    accelerator: Accelerator,
    tokenizer: PreTrainedTokenizerBase,
    corpus_tokens: int,
    path: Path,
) -> Model:
    """``model`` with a size, where its settings leave that to the budget.

    The largest is taken whose layers get enough tokens a parameter, both to train on within the budget and different
    ones in the corpus. The speed of this machine is measured once: ``path`` keeps the answer for later attempts.
    """
    if model.size != "auto":
        return model
    if accelerator.is_main_process and not path.exists():
        rate = REACHED * accelerator.num_processes
        rate *= product_rate(accelerator.device, settle_precision(settings.precision, accelerator.device))
        given = {size: _tokens(size, model, settings, tokenizer, corpus_tokens, rate) for size in SIZES}
        size = affordable(given, corpus_tokens)
        tokens, parameters = given[size]
        log.info(
            "pretrain: model.size=%s: some %.1f M tokens for %.1f M parameters of its layers, %.1f M in the corpus",
            *(size, tokens / 1e6, parameters / 1e6, corpus_tokens / 1e6),
        )
        write_json(path, {"size": size})
    accelerator.wait_for_everyone()
    return model.model_copy(update=json.loads(path.read_text("utf-8")))


def affordable(given: dict[str, tuple[float, int]], corpus_tokens: int) -> str:
    """The last size of ``given``, from the smallest up, for which there is enough; the first where there is for none.

    ``given``: of each size the tokens that the budget allows, and the parameters of its layers.
    """
    enough = [
        size
        for size, (tokens, parameters) in given.items()
        if tokens >= TOKENS_A_PARAMETER * parameters and corpus_tokens >= CORPUS_TOKENS_A_PARAMETER * parameters
    ]
    return enough[-1] if enough else next(iter(given))


def _tokens(
    size: str,
    model: Model,
    settings: Pretrain,
    tokenizer: PreTrainedTokenizerBase,
    corpus_tokens: int,
    rate: float,
) -> tuple[float, int]:
    """The tokens that a model of ``size`` is trained on, computing at ``rate`` (operations a second), and the
    parameters of its layers.
    """
    with torch.device("meta"):
        network = masked_lm(model.model_copy(update={"size": size}), tokenizer, settings.length_tokens)
    parameters = sum(parameter.numel() for parameter in layers(network).parameters())
    if settings.max_minutes:
        mask_rate = (settings.mask_rate + settings.mask_rate_end) / 2
        multiplied = parameters + mask_rate * network.get_output_embeddings().weight.numel()
        return settings.max_minutes * 60 * rate / (6 * multiplied), parameters
    steps_tokens = (settings.max_steps or 0) * settings.global_batch_blocks * settings.length_tokens
    return steps_tokens or (settings.max_epochs or 0) * corpus_tokens, parameters
