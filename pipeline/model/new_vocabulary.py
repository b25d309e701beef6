"""A masked language model that goes on with another tokenizer: its body stays, its vocabulary is made anew.

What a piece stands for decides: the same piece is copied, and one that the old vocabulary lacks starts as the mean of
those that the old tokenizer cuts it into (Gee et al. 2022, "Fast Vocabulary Transfer", arXiv 2402.09977). What the old
tokenizer cannot spell, as in another script, starts from the company it keeps in the new text.
"""

from collections.abc import Callable

import numpy as np
import torch
from scipy import sparse
from transformers import AutoModelForMaskedLM, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from pipeline.model.masked_lm import padded_positions, vocabulary_fields
from pipeline.text.spelling import spellings


def mixture(
    old: PreTrainedTokenizerBase, new: PreTrainedTokenizerBase, old_rows: int
) -> tuple[sparse.csr_matrix, dict[str, int]]:
    """What each piece of ``new`` is made of, of a table of ``old_rows`` that belongs to ``old``.

    Returns (new, old_rows) float32 weights, with no entry in the row of a piece that nothing can be made of; and how
    many pieces are copied, composed and neither.
    """
    spelled, wanted = spellings(old), spellings(new)
    # Bytes to fall back on come first in a vocabulary: a letter that has a piece of its own takes that one.
    ids = {spelling: i for i, spelling in enumerate(spelled) if spelling is not None}
    same = {i: ids[spelling] for i, spelling in enumerate(wanted) if spelling in ids}
    same |= {i: _roles(old)[role] for role, i in _roles(new).items() if role in _roles(old)}
    cut = _cutter(old, spelled)
    parts = [
        [same[i]] if i in same else cut(spelling) if spelling is not None else [] for i, spelling in enumerate(wanted)
    ]
    weights = sparse.csr_matrix(
        (
            np.array([1 / len(row) for row in parts for _ in row], np.float32),
            np.array([i for row in parts for i in row], np.int64),
            np.cumsum([0, *map(len, parts)]),
        ),
        shape=(len(wanted), old_rows),
    )
    composed = sum(1 for i, row in enumerate(parts) if row and i not in same)
    return weights, {"copied": len(same), "composed": composed, "new": len(parts) - len(same) - composed}


def _roles(tokenizer: PreTrainedTokenizerBase) -> dict[str, int]:
    ids = {role: getattr(tokenizer, f"{role}_token_id") for role in ("cls", "sep", "mask", "pad", "unk")}
    return {role: i for role, i in ids.items() if i is not None}


def _cutter(tokenizer: PreTrainedTokenizerBase, spelled: list[bytes | None]) -> Callable[[bytes], list[int]]:
    """A function from a spelling to the ids that ``tokenizer`` cuts its text into.

    It gives none where the spelling, or what one of the ids stands for, is no whole text: single bytes and the unknown
    piece say nothing about it.
    """
    says = {i for i, spelling in enumerate(spelled) if spelling is not None and _text(spelling) is not None}

    def cut(spelling: bytes) -> list[int]:
        text = _text(spelling)
        if text is None:
            return []
        # With and without the space in front: some tokenizers put one there themselves.
        ways = [tokenizer.backend_tokenizer.encode(t, add_special_tokens=False).ids for t in (text.strip(), text)]
        whole = [way for way in ways if way and says.issuperset(way)]
        return min(whole, key=lambda way: (b"".join(spelled[i] or b"" for i in way) != spelling, len(way)), default=[])

    return cut


def _text(spelling: bytes) -> str | None:
    try:
        return spelling.decode()
    except UnicodeDecodeError:
        return None


def with_vocabulary(
    old: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, weights: sparse.csr_matrix, vectors: torch.Tensor | None
) -> PreTrainedModel:
    """``old`` with its embeddings, decoder and bias mixed by ``weights`` for ``tokenizer``; all else bit by bit.

    A row of no weights starts from its row in ``vectors`` (new, width), or from torch's generator where that is zero,
    with the mean and the deviation of the old table's columns.
    """
    config = _with(old.config, **vocabulary_fields(tokenizer))
    state, tables = old.state_dict(), _tables(old.config)
    positions = padded_positions(old)
    if positions is not None:
        with torch.device("meta"):
            ours = padded_positions(AutoModelForMaskedLM.from_config(config))
        first, shift = positions.padding_idx, ours.padding_idx - positions.padding_idx
        config.max_position_embeddings += shift
    for name, tensor in state.items():
        if name in tables:
            state[name] = _mixed(tensor, weights, vectors)
        elif positions is not None and tensor.data_ptr() == positions.weight.data_ptr():
            state[name] = torch.cat([tensor[first : first + 1].expand(first + shift, -1), tensor[first:]])
    new: PreTrainedModel = AutoModelForMaskedLM.from_config(config, dtype=torch.float32)
    new.load_state_dict(state)
    return new


def _with(config: PreTrainedConfig, **fields: int) -> PreTrainedConfig:
    return type(config).from_dict(config.to_dict() | fields)


def _tables(config: PreTrainedConfig) -> set[str]:
    """Names of the tensors that have a row for each piece: those that a larger vocabulary makes larger."""
    with torch.device("meta"):
        small, large = (
            AutoModelForMaskedLM.from_config(c).state_dict()
            for c in (config, _with(config, vocab_size=config.vocab_size + 1))
        )
    return {name for name, tensor in small.items() if tensor.shape != large[name].shape}


def _mixed(table: torch.Tensor, weights: sparse.csr_matrix, vectors: torch.Tensor | None) -> torch.Tensor:
    """(new, width) from (old, width), or (new,) from (old,)."""
    mixed = torch.from_numpy(weights @ table.numpy())
    empty = torch.from_numpy(np.diff(weights.indptr) == 0)
    if table.ndim == 1:
        return torch.where(empty, table.mean(), mixed)
    given = torch.randn(mixed.shape)
    if vectors is not None and vectors.shape[1] == table.shape[1]:  # a decoder may be wider than the embeddings
        known = vectors.any(1, keepdim=True)
        given = torch.where(known, vectors / vectors[known.squeeze(1)].std(), given)
    return torch.where(empty[:, None], table.mean(0) + table.std(0) * given, mixed)
