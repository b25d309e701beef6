"""LoRA (arXiv 2106.09685): beside each frozen matrix of the layers a product of two narrow ones, which trains."""

from typing import Any

import torch

from pipeline.model.masked_lm import layers


def add_adapters(model: Any, rank: int) -> Any:
    """Put an adapter on every linear matrix of the layers of ``model``, in place.

    Returns the wrapper whose ``merge_and_unload`` adds them to the matrices and takes them away.

    All matrices, and a scale of two for any rank, as found best in arXiv 2405.09673. An adapter changes nothing until
    it has trained.
    """
    from peft import LoraConfig, LoraModel

    within = {id(module) for module in layers(model).modules() if isinstance(module, torch.nn.Linear)}
    names = [name for name, module in model.named_modules() if id(module) in within]
    return LoraModel(model, LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=names), "default")


def adapters(model: torch.nn.Module) -> list[str]:
    """The names of the parameters that the adapters bring."""
    return [name for name, _ in model.named_parameters() if ".lora_" in name]
