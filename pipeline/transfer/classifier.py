"""A classifier on a pretrained body, with the proof of what was transferred, and its control from random weights."""

from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import safe_open
from transformers import AutoConfig, AutoModelForMaskedLM, AutoModelForSequenceClassification, AutoTokenizer

from pipeline.config import Finetune
from pipeline.errors import UsageError
from pipeline.model.masked_lm import layers
from pipeline.model.pooled import POOLINGS, pooled

Proof = dict[str, Any]

MULTI_LABEL = "multi_label_classification"  # in transformers' words
OTHER_SEEDS = 1_000_000  # the control must not start from the very weights that pretraining with its seed began with
AS_PRETRAINED = Finetune()


def quiet_transformers() -> None:
    """No bars and no load reports: the proof says the same, checked."""
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()


def configuration(checkpoint: Path, labels: list[str], settings: Finetune = AS_PRETRAINED) -> Any:
    """The checkpoint's configuration with ``labels``, in their order, as the classes, and what ``settings`` change.

    UsageError: the architecture does not have what they ask for.
    """
    config = AutoConfig.from_pretrained(
        checkpoint,
        id2label=dict(enumerate(labels)),
        label2id={label: i for i, label in enumerate(labels)},
        problem_type="single_label_classification",
    )
    if settings.pooling != "auto":
        if getattr(config, "classifier_pooling", None) not in ("cls", "mean"):
            raise UsageError(
                f"finetune.pooling={settings.pooling}: `{config.model_type}` classifiers leave no choice of pooling: "
                "leave it out, or pretrain with model.type=modernbert"
            )
        if settings.pooling in POOLINGS:
            config = pooled(config, settings.pooling)
        else:
            config.classifier_pooling = settings.pooling
    rates = [name for name in config.to_dict() if "dropout" in name]
    if settings.dropout is not None:
        for name in rates:
            setattr(config, name, settings.dropout)
    wanting = "r_drop" if settings.r_drop else "dropout_samples" if settings.dropout_samples > 1 else ""
    if wanting and not any(getattr(config, name) for name in rates):
        raise UsageError(f"finetune.{wanting} wants dropouts that differ, and there are none: set finetune.dropout=0.1")
    return config


def pretrained(checkpoint: Path, labels: list[str], seed: int, settings: Finetune = AS_PRETRAINED) -> tuple[Any, Proof]:
    """The network with the checkpoint's body and a new head drawn from ``seed``, in float32, and what was transferred.

    Every tensor of the body is compared with the checkpoint's file, bit by bit. The body is what this architecture
    keeps of its masked language model; a part of that model's head that the classifier has too (ModernBERT's
    ``head.dense``) is transferred as well and named in the proof. Layers that ``settings`` want drawn anew are so after
    that, and count as new. UsageError: the body is not all in the checkpoint, or has not so many layers.
    """
    require_safetensors(checkpoint)
    config = configuration(checkpoint, labels, settings)
    torch.manual_seed(seed)
    model = AutoModelForSequenceClassification.from_pretrained(
        checkpoint, config=config, dtype=torch.float32, use_safetensors=True
    )
    body, tensors, stored = body_names(model), model.state_dict(), _tensors(checkpoint)
    equal = {name for name, tensor in tensors.items() if name in stored and same_bits(tensor, stored[name])}
    strangers = sorted(body - equal)  # also what is missing or of another shape, which the library only logs
    if strangers:
        raise UsageError(
            f"{checkpoint}: {len(strangers)} of the body's {len(body)} tensors are not the checkpoint's "
            f"(first: {strangers[0]}): it is of another architecture; run the pretrain stage again"
        )
    if settings.reinitialised_layers:
        equal -= _draw_anew(model, scratch(checkpoint, labels, seed, settings)[0], settings.reinitialised_layers)
    size = sum(tensor.numel() for tensor in tensors.values())
    return model, {
        "body_tensors": len(body),
        "body_tensors_equal": len(body & equal),
        "body_parameters": sum(tensors[name].numel() for name in body),
        "head_tensors_from_checkpoint": sorted(equal - body),
        "new_tensors": sorted(tensors.keys() - equal),
        "share_of_parameters_transferred": round(sum(tensors[name].numel() for name in equal) / size, 6),
    }


def _draw_anew(model: Any, random: Any, count: int) -> set[str]:
    """Give the top ``count`` layers of ``model`` the weights of those of ``random``; the names of their tensors."""
    stack = layers(model)
    kept = len(stack) - count
    if kept < 0:
        raise UsageError(f"finetune.reinitialised_layers={count}: the network has {len(stack)}: name so many or fewer")
    stack[kept:].load_state_dict(layers(random)[kept:].state_dict())
    drawn = {id(tensor) for tensor in stack[kept:].state_dict(keep_vars=True).values()}
    return {name for name, tensor in model.state_dict(keep_vars=True).items() if id(tensor) in drawn}


def scratch(checkpoint: Path, labels: list[str], seed: int, settings: Finetune = AS_PRETRAINED) -> tuple[Any, Proof]:
    """The same network with every weight random, drawn from ``seed``: the control, and the proof that it is one.

    Tensors of one repeated value (norms start at one, biases at zero) say nothing about origin and are counted apart.
    """
    config = configuration(checkpoint, labels, settings)
    torch.manual_seed(seed + OTHER_SEEDS)
    model = AutoModelForSequenceClassification.from_config(config, dtype=torch.float32)
    tensors, stored = model.state_dict(), _tensors(checkpoint)
    random = {name for name, tensor in tensors.items() if (tensor != tensor.flatten()[0]).any()}
    equal = [name for name in random & stored.keys() if same_bits(tensors[name], stored[name])]
    assert not equal, f"the control is not random: {equal}"
    return model, {
        "random_tensors": len(random),
        "random_tensors_equal": len(equal),
        "constant_tensors": len(tensors) - len(random),
    }


def load(folder: Path) -> tuple[Any, Any]:
    """The classifier in ``folder`` and its tokenizer. UsageError: there is none, or its head was never trained."""
    if not (folder / "config.json").exists():
        raise UsageError(f"{folder} holds no model: name a folder with config.json and model.safetensors")
    require_safetensors(folder)
    model, info = AutoModelForSequenceClassification.from_pretrained(
        folder, dtype=torch.float32, use_safetensors=True, local_files_only=True, output_loading_info=True
    )
    if info["missing_keys"]:
        raise UsageError(
            f"{folder} holds no classifier ({sorted(info['missing_keys'])[0]} is missing): "
            "name a folder that the finetune stage wrote"
        )
    return model.eval(), AutoTokenizer.from_pretrained(folder, local_files_only=True)


def temperature(model: Any) -> float:
    """What the logits of ``model`` are divided by before they become probabilities; 1 where none was fitted."""
    return float(getattr(model.config, "calibration_temperature", 1.0))


def is_multi_label(model: Any) -> bool:
    """Whether ``model`` decides on each class by itself, so that a document may have several."""
    return bool(model.config.problem_type == MULTI_LABEL)


def require_safetensors(folder: Path) -> None:
    """UsageError if the weights in ``folder`` are a pickle alone."""
    pickled = next(iter(sorted(folder.glob("*.bin"))), None)
    if pickled and not any(folder.glob("*.safetensors")):
        raise UsageError(
            f"{pickled} is a pickle, which can run any code when it is read, and there is no model.safetensors beside "
            "it: save the model again with save_pretrained, which writes safetensors"
        )


def body_names(model: Any) -> set[str]:
    """Names of the tensors that the classifier's body shares with this architecture's masked language model.

    A pooler is under the body's name too, but a masked language model has none: it comes with the head.
    """
    with torch.device("meta"):
        names = AutoModelForMaskedLM.from_config(model.config).state_dict().keys()
    return {name for name in names if name.startswith(f"{model.base_model_prefix}.")}


def _tensors(checkpoint: Path) -> dict[str, torch.Tensor]:
    with safe_open(checkpoint / "model.safetensors", framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 -- no mapping


def same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether two CPU tensors agree bit by bit, ``b`` read in the dtype of ``a``."""
    return a.shape == b.shape and a.numpy().tobytes() == b.to(a.dtype).numpy().tobytes()
