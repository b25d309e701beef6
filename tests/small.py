"""What is small enough to be trained on within a test."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from accelerate import Accelerator
from transformers import PreTrainedTokenizerFast

from pipeline.config import Model, Pretrain
from pipeline.model.masked_lm import masked_lm
from pipeline.training.masked import MaskedBlocks, beginnings
from pipeline.training.session import Session
from pipeline.transfer.documents import Ids
from pipeline.transfer.training import Labelled

TINY = Model(size="tiny")


def small_session(
    tokenizer: PreTrainedTokenizerFast, blocks: int, length: int, model: Model = TINY, **more: Any
) -> Session:
    """A pretraining run with a global batch of ``blocks``, which a process would take at once."""
    ids = np.random.default_rng(0).integers(5, 100, (blocks, length)).astype(np.uint16)
    how: dict[str, Any] = {"precision": "fp32", "compile": "never", "evaluations": 1, "length_tokens": length}
    settings = Pretrain(**how | {"micro_batch_blocks": blocks, "global_batch_blocks": blocks} | more)
    data = MaskedBlocks(ids, np.arange(5), 4, 100, beginnings(settings.masking, tokenizer))
    valid = data._replace(blocks=ids[:8], beginnings=None)
    return Session(settings, Accelerator(cpu=True), data, valid, lambda: masked_lm(model, tokenizer, length))


def labelled(ids: Ids, classes: Sequence[int], count: int) -> Labelled:
    """Documents that are each of one class out of ``count``."""
    return Labelled(ids, np.eye(count, dtype=np.float32)[list(classes)])
