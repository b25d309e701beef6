"""Compiling a model's layers, where there is a compiler."""

import os
import shutil
import sysconfig
from pathlib import Path

import torch
from transformers import PreTrainedModel

from pipeline.model.masked_lm import compiled_parts


def can_compile() -> bool:
    """Whether torch.compile finds the C++ compiler and the headers of Python that it needs."""
    headers = Path(sysconfig.get_path("include"), "Python.h")
    return shutil.which(os.environ.get("CXX", "g++")) is not None and headers.exists()


def keep_compiled_in(folder: Path) -> None:
    """Have compiled code kept in ``folder``, to be used again after an interruption, and nowhere else."""
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(folder.absolute())


def compile_layers(model: PreTrainedModel) -> None:
    """Compile each of the repeated layers, in place: compiled once, the code serves all but the last one, in seconds.

    The last one's feed-forward stays as it is: how many tokens it reads changes with the share that is hidden.

    Each shape gets code of its own. Else the second shape would get code for any, which need not give the same bits and
    which a run that is resumed after the last step of the first shape would never come to.
    """
    # Two graphs a shape, and shapes come by length, micro-batch and attention: beyond the limit layers run uncompiled.
    torch._dynamo.config.recompile_limit = 64
    for part in compiled_parts(model):
        part.compile(dynamic=False)
