"""Vectors of pieces from the company they keep, and a model that starts from them."""

from typing import Any

import numpy as np
import pytest
import torch

from pipeline.config import Model
from pipeline.model.masked_lm import layers, masked_lm
from pipeline.model.piece_vectors import NEAR, WIDE, piece_vectors, starting_from_vectors
from pipeline.training.optimizers import muon_and_adamw

SPECIAL = np.arange(5)


def _two_circles(n: int = 400, length: int = 32) -> np.ndarray:
    """Blocks of pieces 5–44 or of 45–84, each behind a special one; 85–99 never occur."""
    rng = np.random.default_rng(0)
    ids = rng.integers(5, 45, (n, length)) + 40 * (np.arange(n) % 2)[:, None]
    ids[:, 0] = 2
    return ids.astype(np.uint16)


def test_pieces_of_one_circle_are_nearer_to_each_other_than_to_the_other() -> None:
    vectors = piece_vectors(_two_circles(), 100, 16, SPECIAL, 0)
    assert vectors.shape == (100, 16)
    assert vectors.dtype == np.float32
    known = vectors[5:85] / np.linalg.norm(vectors[5:85], axis=1, keepdims=True)
    near = known @ known.T
    assert near[:40, :40].mean() > 0.2 + near[:40, 40:].mean()
    assert not vectors[:5].any(), "special pieces are nobody's company"
    assert not vectors[85:].any()
    np.testing.assert_array_equal(vectors, piece_vectors(_two_circles(), 100, 16, SPECIAL, 0))
    assert not piece_vectors(np.full((3, 8), 2), 100, 16, SPECIAL, 0).any(), "special pieces alone"


def test_wide_company_reaches_what_near_company_does_not() -> None:
    """Pieces ten apart, with nobody's company between."""
    apart = np.full((40, 320), 2)
    apart[:, ::10] = _two_circles(40)
    apart[:, 0] = 2
    assert not piece_vectors(apart, 100, 16, SPECIAL, 0, NEAR).any()
    vectors = piece_vectors(apart, 100, 16, SPECIAL, 0, WIDE)[5:85]
    near = vectors @ vectors.T
    assert near[:40, :40].mean() > near[:40, 40:].mean()


@pytest.mark.parametrize("scale", [1, 2])
def test_a_model_starts_with_vectors_as_large_as_what_they_replace_or_larger(scale: float, tokenizer: Any) -> None:
    def new_model() -> Any:
        torch.manual_seed(0)
        return masked_lm(Model(size="tiny"), tokenizer, 64)

    random, ours = (
        start().get_input_embeddings().weight
        for start in (new_model, starting_from_vectors(new_model, _two_circles(), SPECIAL, 0, scale))
    )
    assert not ours[:5].any(), "special pieces"
    assert torch.equal(random[85:], ours[85:])
    assert not torch.isclose(random[5:85], ours[5:85]).all(1).any()
    assert abs(ours[5:85].std() / random.std() - scale) < 0.05 * scale


def test_muon_takes_the_matrices_of_the_layers_and_adamw_all_else(tokenizer: Any) -> None:
    model = masked_lm(Model(size="tiny"), tokenizer, 64)
    muon, adamw = ([p for g in o.param_groups for p in g["params"]] for o in muon_and_adamw(model, 1e-3, 0.01))
    assert {*muon} == {p for name, p in layers(model).named_parameters() if p.ndim == 2}
    assert not {*muon} & {*adamw}
    assert {*muon} | {*adamw} == {*model.parameters()}
