"""Halves of blocks that belong together."""

from typing import Any

import numpy as np
import pytest
import torch
from transformers import PreTrainedTokenizerFast

from pipeline.config import Model
from pipeline.model.masked_lm import masked_lm
from pipeline.training.compilation import compile_layers
from pipeline.training.halves import TEMPERATURE, contrast_of_halves
from pipeline.training.masked import MaskedBlocks, masked_tokens, summed_loss


def test_the_contrast_is_infonce_over_halves_of_the_document_in_the_middle() -> None:
    torch.manual_seed(0)
    states, ordinary = torch.randn(4, 8, 6), torch.ones(4, 8, dtype=torch.bool)
    ordinary[0, 1] = ordinary[1, 6] = False  # what is before the first and after the second is another document
    ordinary[3, 3] = False  # the first half ends with its document
    one = torch.stack([states[0, 2:4].mean(0), states[1, :4].mean(0), states[2, :4].mean(0)])
    other = torch.stack([states[0, 4:].mean(0), states[1, 4:6].mean(0), states[2, 4:].mean(0)])
    scores = torch.cosine_similarity(one[:, None], other[None], dim=-1) / TEMPERATURE
    expected = -(scores.log_softmax(1).diag() + scores.log_softmax(0).diag()).mean() / 2
    torch.testing.assert_close(contrast_of_halves(states, ordinary), expected)
    assert contrast_of_halves(states, ~ordinary & False).item() == 0, "no block counts"


def _of_topics(n: int = 32, length: int = 16) -> MaskedBlocks:
    """Blocks of eight topics: each has five pieces of its own for first halves, and five others for second ones."""
    rng = np.random.default_rng(0)
    ids = rng.integers(5, 10, (n, length)) + 5 * (np.arange(length) >= length // 2) + 10 * (np.arange(n) % 8)[:, None]
    return MaskedBlocks(ids.astype(np.uint16), np.arange(5), 4, 100)


@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_halves_learn_to_find_each_other_and_the_loss_in_the_log_is_that_of_the_tokens(
    compiled: bool, tokenizer: PreTrainedTokenizerFast
) -> None:
    torch.manual_seed(0)
    model: Any = masked_lm(Model(size="tiny"), tokenizer, 16)
    if compiled:
        compile_layers(model)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    data, rows = _of_topics(), np.arange(8)
    contrasts = []
    for step in range(12):
        batch = data.batch(rows, rows, rate=0.2, seed=0, step=step)
        loss = summed_loss(model, batch, contrastive=1.0)
        torch.testing.assert_close(loss, summed_loss(model, batch))
        (loss / masked_tokens(batch)).backward()
        optimizer.step()
        optimizer.zero_grad()
        with torch.no_grad():
            states = model.base_model(input_ids=batch["input_ids"]).last_hidden_state
        contrasts.append(contrast_of_halves(states, batch["ordinary"]).item())
    assert np.mean(contrasts[-3:]) < np.log(8) / 4  # of chance, among eight


@pytest.mark.parametrize("blocks", [4, 8])
def test_the_weight_means_the_same_in_micro_batches_of_any_size(
    blocks: int, tokenizer: PreTrainedTokenizerFast
) -> None:
    """Divided by the hidden tokens, as a step's gradient is, it is that of the mean contrast beside the mean loss."""
    torch.manual_seed(0)
    model: Any = masked_lm(Model(size="tiny"), tokenizer, 16)
    batch = _of_topics().batch(np.arange(blocks), np.arange(blocks), rate=0.2, seed=0, step=0)

    def gradient(loss: torch.Tensor) -> torch.Tensor:
        model.zero_grad()
        loss.backward()
        return torch.cat([parameter.grad.flatten() for parameter in model.parameters()])

    states = model(input_ids=batch["input_ids"], output_hidden_states=True).hidden_states[-1]
    mean = summed_loss(model, batch) / masked_tokens(batch) + 0.5 * contrast_of_halves(states, batch["ordinary"])
    ours = gradient(summed_loss(model, batch, contrastive=0.5) / masked_tokens(batch))
    torch.testing.assert_close(ours, gradient(mean))
