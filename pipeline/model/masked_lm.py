"""Masked language models of most encoder families that transformers knows, in four sizes."""

import contextlib
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig, AutoModelForMaskedLM, PreTrainedModel, PreTrainedTokenizerBase
from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES
from transformers.models.modernbert.modeling_modernbert import ModernBertEncoderLayer

from pipeline.config import Model
from pipeline.errors import UsageError

SIZES = {  # layers, width, heads
    "tiny": (2, 128, 2),
    "mini": (4, 256, 4),
    "small": (6, 256, 4),
    "base": (12, 768, 12),
}

# What transformers has a masked-LM head for and this project cannot train from a size: there is a decoder, too (bart,
# mbart, mvp); they see (modernvbert, ultravbert); their layers stand in blocks (funnel) or know languages (xmod); their
# classifiers do not load the body that was pretrained (gte, jina, nomic, ultrabert); or what comes out of them is of
# another width than their embeddings, or has none to give back (the rest).
UNFIT = {"bart", "mbart", "mvp", "modernvbert", "ultravbert", "funnel", "xmod"}
UNFIT |= {"gte", "jina_embeddings_v3", "nomic_bert", "ultrabert", "esm", "mobilebert", "perceiver", "squeezebert"}
FAMILIES = {*MODEL_FOR_MASKED_LM_MAPPING_NAMES} - UNFIT

FAMILY_DEFAULTS: dict[str, dict[str, Any]] = {
    # Every layer global: on blocks of a few hundred tokens a local window only costs. The feed-forward is as narrow as
    # ModernBERT-base's; wider ones learn no more from a token and take longer over it (docs/ablations.md).
    "modernbert": {"global_attn_every_n_layers": 1, "feed_forward": 3 / 2, "classifier_pooling": "mean"},
}


def masked_lm(settings: Model, tokenizer: PreTrainedTokenizerBase, length_tokens: int) -> PreTrainedModel:
    """A model with random weights (from torch's generator), in float32, for ``tokenizer`` and inputs up to
    ``length_tokens``, and never fewer than 512.

    Raises UsageError: not a family of encoders with a masked-LM head, or a field that its configuration refuses.
    """
    if settings.type not in FAMILIES:
        known = ", ".join(sorted(FAMILIES))
        raise UsageError(f"model.type `{settings.type}` is no encoder that can be trained here: use one of {known}")
    layers, width, heads = SIZES[settings.size]
    fields: dict[str, Any] = {**FAMILY_DEFAULTS.get(settings.type, {})}
    fields |= {
        "num_hidden_layers": layers,
        "hidden_size": width,
        "num_attention_heads": heads,
        "intermediate_size": int(width * fields.pop("feed_forward", 4)) // 8 * 8,
        # RoBERTa's kind counts positions from the padding id on.
        "max_position_embeddings": max(512, length_tokens) + (tokenizer.pad_token_id or 0) + 1,
        **vocabulary_fields(tokenizer),
    }
    try:
        config = AutoConfig.for_model(settings.type, **(fields | settings.config))
        model: PreTrainedModel = AutoModelForMaskedLM.from_config(config)
    except (TypeError, ValueError, StrictDataclassError) as error:
        raise UsageError(f"model.config does not suit `{settings.type}`: {' '.join(str(error).split())}") from error
    return model


def vocabulary_fields(tokenizer: PreTrainedTokenizerBase) -> dict[str, int]:
    """What a configuration says about its tokenizer."""
    pad, cls, sep = tokenizer.pad_token_id, tokenizer.cls_token_id, tokenizer.sep_token_id
    ids = {"pad": pad, "cls": cls, "sep": sep, "bos": cls, "eos": sep}
    return {"vocab_size": len(tokenizer), **{f"{name}_token_id": i for name, i in ids.items()}}


def body(model: PreTrainedModel) -> torch.nn.Module:
    """The encoder without its head."""
    return getattr(model, model.base_model_prefix)  # type: ignore[no-any-return]


def layers(model: PreTrainedModel) -> torch.nn.ModuleList:
    """The repeated layers of the encoder, from the bottom up: the longest list of modules in it."""
    return max((m for m in body(model).modules() if isinstance(m, torch.nn.ModuleList)), key=len)


def longest_input(model: PreTrainedModel, wanted: int) -> int:
    """``wanted`` tokens, or as many as the model has positions for."""
    positions = getattr(model.config, "max_position_embeddings", None) or wanted
    table = padded_positions(model)
    return int(min(wanted, positions if table is None else positions - table.padding_idx - 1))


def padded_positions(model: PreTrainedModel) -> Any:
    """The table of positions where it counts from the padding id on, as RoBERTa's does; else None."""
    table = getattr(getattr(model.base_model, "embeddings", None), "position_embeddings", None)
    return table if getattr(table, "padding_idx", None) is not None else None


def compiled_parts(model: PreTrainedModel) -> list[torch.nn.Module]:
    """What every step of training gives whole blocks: the layers, but of a narrowed last one (``narrowed_to``) only its
    attention."""
    *lower, last = layers(model)
    return [*lower, last.attn if isinstance(last, ModernBertEncoderLayer) else last]


@contextlib.contextmanager
def narrowed_to(model: PreTrainedModel, positions: torch.Tensor, *, whole: bool) -> Iterator[list[torch.Tensor]]:
    """Within this context what a token does by itself after the last attention is computed at ``positions`` alone.

    ``positions``: (k,) int64, into the flattened (batch × length) inputs. The logits are then (1, k, vocabulary), the
    same as else: only masked tokens have a loss, and head and loss are most of a small model's work. That much holds of
    any family; ModernBERT's last feed-forward, a fourteenth of a step, is left out elsewhere, too. Where the ``whole``
    output of the body is wanted, the list gets it, and only the head is narrowed.
    """
    states: list[torch.Tensor] = []
    last = layers(model)[-1]
    if isinstance(last, ModernBertEncoderLayer) and not whole:
        last.forward = partial(_modernbert_layer_at, last, positions)
        try:
            yield states
        finally:
            del last.forward
        return

    def pick(_module: torch.nn.Module, _inputs: Any, output: Any) -> Any:
        states.append(output.last_hidden_state)
        output.last_hidden_state = _at(positions, output.last_hidden_state)
        return output

    handle = body(model).register_forward_hook(pick)
    try:
        yield states
    finally:
        handle.remove()


def _modernbert_layer_at(
    layer: ModernBertEncoderLayer, positions: torch.Tensor, hidden: torch.Tensor, **attention: Any
) -> torch.Tensor:
    """The layer's output at ``positions``, (1, k, width): its tokens exchange nothing after they have attended."""
    attended, _ = layer.attn(layer.attn_norm(hidden), **attention)
    there = _at(positions, hidden + attended)
    return there + layer.mlp(layer.mlp_norm(there))  # type: ignore[no-any-return]


def _at(positions: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
    return states.flatten(0, 1)[positions].unsqueeze(0)


@contextlib.contextmanager
def decoder_left_out(model: PreTrainedModel) -> Iterator[torch.nn.Linear]:
    """Within this context ``model`` puts out what it would give to its decoder, in place of logits.

    The decoder is the last layer, from the model's width to the vocabulary, most often tied to the input embeddings.
    """
    decoder: torch.nn.Linear = model.get_output_embeddings()
    decoder.forward = lambda hidden: hidden  # type: ignore[method-assign, assignment]
    try:
        yield decoder
    finally:
        del decoder.forward
