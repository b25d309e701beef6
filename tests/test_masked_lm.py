"""Model families, their sizes, and the head that runs on hidden tokens alone."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForMaskedLM, PreTrainedTokenizerFast

from pipeline.config import Model
from pipeline.errors import UsageError
from pipeline.model.masked_lm import body, masked_lm, narrowed_to
from pipeline.training.masked import MaskedBlocks, attention_mask, span_beginnings, summed_loss
from pipeline.training.masked_loss import linear_cross_entropy
from pipeline.training.precision import autocast


def _batch(n: int = 3, length: int = 24) -> dict[str, torch.Tensor]:
    ids = np.random.default_rng(0).integers(5, 100, (n, length)).astype(np.uint16)
    return MaskedBlocks(ids, np.arange(5), 4, 100).batch(np.arange(n), np.arange(n), rate=0.2, seed=0, step=0)


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("family", ["modernbert", "bert", "roberta", "deberta-v2", "electra", "distilbert", "eurobert"])
def test_any_family_trains_through_its_own_head_at_hidden_tokens_alone(
    family: str, whole: bool, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model = masked_lm(Model(type=family, size="tiny"), tokenizer, 512).eval()
    batch = _batch()

    def gradients(logits: torch.Tensor) -> list[torch.Tensor]:
        model.zero_grad()
        logits.square().sum().backward()
        return [parameter.grad for parameter in model.parameters() if parameter.grad is not None]

    everywhere = model(input_ids=batch["input_ids"]).logits.flatten(0, 1)[batch["positions"]]
    with narrowed_to(model, batch["positions"], whole=whole) as states:
        there = model(input_ids=batch["input_ids"]).logits[0]
    torch.testing.assert_close(there, everywhere)
    torch.testing.assert_close(gradients(there), gradients(everywhere), rtol=1e-4, atol=1e-4)
    assert not whole or torch.equal(states[0], body(model)(input_ids=batch["input_ids"]).last_hidden_state)
    assert model(input_ids=batch["input_ids"]).logits.shape[:2] == batch["input_ids"].shape, "it is over"
    summed_loss(model, batch).backward()
    model(input_ids=torch.randint(5, 100, (1, 512)))  # as long as was promised
    model.save_pretrained(tmp_path)
    loaded = AutoModelForMaskedLM.from_pretrained(tmp_path).eval()
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), loaded.parameters(), strict=True))


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("family", ["modernbert", "bert", "roberta", "electra", "distilbert"])
def test_attention_does_not_cross_the_end_of_a_document(
    family: str, attention: str, tokenizer: PreTrainedTokenizerFast
) -> None:
    torch.manual_seed(0)
    model = masked_lm(Model(type=family, size="tiny"), tokenizer, 512).eval()
    model.set_attn_implementation(attention)
    ids = np.random.default_rng(0).integers(5, 100, (2, 24)).astype(np.uint16)
    ids[:, 11] = 3
    ids[1, :12] = ids[0, :12]  # the same first document, another second one

    def predictions(separator: int | None) -> tuple[torch.Tensor, torch.Tensor]:
        data = MaskedBlocks(ids, np.arange(5), 4, 100, separator=separator)
        batch = data.batch(np.arange(2), np.zeros(2, np.int64), rate=0.2, seed=0, step=0)
        mask = attention_mask(model, batch)
        first, second = body(model)(input_ids=batch["input_ids"], attention_mask=mask).last_hidden_state
        return first[:12], second[:12]

    torch.testing.assert_close(*predictions(separator=3))
    first, second = predictions(separator=None)
    assert (first - second).abs().max() > 1e-3, "in a whole block it does"


def test_a_model_with_windows_keeps_them(tokenizer: PreTrainedTokenizerFast) -> None:
    ids = np.random.default_rng(0).integers(3, 20, (2, 24)).astype(np.uint16)
    batch = MaskedBlocks(ids, np.arange(5), 4, 100, separator=3).batch(
        np.arange(2), np.arange(2), rate=0.2, seed=0, step=0
    )
    windows = {"num_hidden_layers": 2, "global_attn_every_n_layers": 2}
    assert attention_mask(masked_lm(Model(size="tiny"), tokenizer, 24), batch) is not None
    assert attention_mask(masked_lm(Model(size="tiny", config=windows), tokenizer, 24), batch) is None
    assert attention_mask(masked_lm(Model(type="longformer", size="tiny"), tokenizer, 24), batch) is None


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("family", ["modernbert", "bert"])
def test_the_mask_of_flex_attention_says_what_the_one_of_scores_says(
    family: str, precision: str, tokenizer: PreTrainedTokenizerFast
) -> None:
    torch.manual_seed(0)
    model = masked_lm(Model(type=family, size="tiny"), tokenizer, 512).eval()
    ids = np.random.default_rng(0).integers(3, 20, (3, 160)).astype(np.uint16)  # 3 ends a document
    data = MaskedBlocks(ids, np.arange(5), 4, 100, separator=3)
    batch = data.batch(np.arange(3), np.arange(3), rate=0.2, seed=0, step=0)

    @torch.no_grad()  # there is no backward pass on a CPU
    def nats(attention: str) -> torch.Tensor:
        model.set_attn_implementation(attention)
        with torch.compiler.set_stance("force_eager"), autocast(torch.device("cpu"), precision):
            return summed_loss(model, batch)

    torch.testing.assert_close(nats("flex_attention"), nats("sdpa"), rtol=1e-5 if precision == "fp32" else 1e-2, atol=0)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (Model(type="gpt2"), "model.type `gpt2` is no encoder that can be trained here"),
        (Model(type="nomic_bert"), "model.type `nomic_bert` is no encoder that can be trained here"),
        (Model(type="mobilebert", size="tiny"), "model.type `mobilebert` is no encoder that can be trained here"),
        (Model(size="tiny", config={"num_attention_heads": 7}), "model.config does not suit `modernbert`"),
        (Model(size="tiny", config={"mlp_dropout": "some"}), "model.config does not suit `modernbert`: .*mlp_dropout"),
    ],
)
def test_a_family_or_field_that_does_not_exist_is_refused(
    settings: Model, says: str, tokenizer: PreTrainedTokenizerFast
) -> None:
    with pytest.raises(UsageError, match=says):
        masked_lm(settings, tokenizer, 128)


def test_masking_hides_the_asked_share_in_three_ways_and_never_a_special_token() -> None:
    ids = np.random.default_rng(0).integers(5, 1000, (400, 100)).astype(np.uint16)
    ids[:, ::10] = 3
    data = MaskedBlocks(ids, np.arange(5), 4, 1000)
    batch = data.batch(np.arange(400), np.arange(400), rate=0.3, seed=1, step=7)
    hidden, targets = batch["input_ids"].flatten()[batch["positions"]], batch["targets"]
    assert len(targets) == 400 * 30
    assert not (targets < 5).any()
    shares = [(hidden == 4).float().mean().item(), (hidden == targets).float().mean().item()]
    assert shares == pytest.approx([0.8, 0.1], abs=0.015)
    untouched = batch["input_ids"].flatten()
    untouched[batch["positions"]] = targets
    assert torch.equal(untouched.reshape(400, 100), torch.from_numpy(ids.astype(np.int64)))


@pytest.mark.parametrize("beginnings", [None, span_beginnings])
def test_a_block_is_masked_alike_whatever_batch_it_comes_in(beginnings: Any) -> None:
    ids = np.random.default_rng(0).integers(5, 1000, (8, 40)).astype(np.uint16)
    data = MaskedBlocks(ids, np.arange(5), 4, 1000, beginnings)
    everything = data.batch(np.arange(8), np.arange(8), rate=0.3, seed=1, step=7)["input_ids"]
    part = data.batch(np.arange(4, 6), np.arange(4, 6), rate=0.3, seed=1, step=7)["input_ids"]
    assert torch.equal(everything[4:6], part)
    assert not torch.equal(everything, data.batch(np.arange(8), np.arange(8), rate=0.3, seed=1, step=8)["input_ids"])


@pytest.mark.parametrize("z_loss", [0.0, 0.1])
@pytest.mark.parametrize(("precision", "close"), [(torch.float32, 1e-5), (torch.bfloat16, 0.02)])
def test_the_loss_is_cross_entropy_over_logits_and_its_gradients_those_of_both_losses(
    precision: torch.dtype, close: float, z_loss: float
) -> None:
    torch.manual_seed(0)
    values = [torch.randn(40, 16), torch.randn(100, 16) / 4, torch.randn(100) / 4]
    targets = torch.randint(0, 100, (40,))

    def gradients(loss: Any) -> list[torch.Tensor]:
        leaves = [value.clone().requires_grad_() for value in values]
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
            total = loss(*leaves)
        (total.sum() / 40).backward()
        return [total[0].detach() / 40, *(leaf.grad for leaf in leaves)]

    def plain(hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", enabled=False):
            logits = hidden @ weight.t() + bias
            normalisers = z_loss * logits.logsumexp(1).square().sum()
            return torch.stack([torch.nn.functional.cross_entropy(logits, targets, reduction="sum"), normalisers])

    def fused(hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        return linear_cross_entropy(hidden, weight, bias, targets, z_loss)[None]

    for one, other in zip(gradients(fused), gradients(plain), strict=True):
        assert one.dtype == torch.float32
        assert (one - other).norm() <= close * other.norm()


def test_the_last_feed_forward_is_computed_at_hidden_tokens_alone(tokenizer: PreTrainedTokenizerFast) -> None:
    model, batch = masked_lm(Model(size="tiny"), tokenizer, 24), _batch()

    def operations(whole: bool) -> int:
        with FlopCounterMode(display=False) as counted, narrowed_to(model, batch["positions"], whole=whole):
            model(input_ids=batch["input_ids"])
        return int(counted.get_total_flops())

    feed_forward = 3 * model.config.hidden_size * model.config.intermediate_size
    elsewhere = batch["input_ids"].numel() - len(batch["positions"])
    assert operations(whole=True) - operations(whole=False) == 2 * elsewhere * feed_forward > 0


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_validation_multiplies_once_where_training_does_thrice(precision: str) -> None:
    hidden, weight, bias = (torch.zeros(shape, requires_grad=True) for shape in ((8, 16), (50, 16), (50,)))

    def operations(learns: bool) -> int:
        with (
            FlopCounterMode(display=False) as counted,
            torch.set_grad_enabled(learns),
            autocast(torch.device("cpu"), precision),
        ):
            linear_cross_entropy(hidden, weight, bias, torch.arange(8))
        return int(counted.get_total_flops())

    assert operations(learns=True) == 3 * operations(learns=False) > 0
