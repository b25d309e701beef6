"""Options that combine with any strategy."""

import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
import upstream
from accelerate import Accelerator
from safetensors.torch import load_file
from small import labelled
from transformers import AutoModelForSequenceClassification

from pipeline.config import Finetune
from pipeline.errors import UsageError
from pipeline.model.masked_lm import layers
from pipeline.transfer import classifier, training
from pipeline.transfer.targets import of_ordered, targets

LABELS = sorted(upstream.WORDS)
BATCH = {
    "input_ids": torch.tensor([[1, 5, 9, 2], [1, 7, 2, 0], [1, 8, 2, 0]]),
    "attention_mask": torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 1, 0]]),
    "targets": torch.tensor([[1.0, 0, 0], [0, 0.5, 0], [0, 0, 0]]),  # the last counts for nothing
    "dropout_seed": torch.tensor([0, 0, 0]),
}


@pytest.mark.parametrize("family", ["modernbert", "bert", "distilbert"])
def test_top_layers_drawn_anew_count_as_new_and_the_rest_is_the_checkpoints(tmp_path: Path, family: str) -> None:
    upstream.save_checkpoint(tmp_path, family)
    stored = load_file(tmp_path / "model.safetensors")
    whole, before = classifier.pretrained(tmp_path, LABELS, 0)
    model, proof = classifier.pretrained(tmp_path, LABELS, 0, Finetune(reinitialised_layers=1))
    bottom, top = (set(map(id, layer.state_dict(keep_vars=True).values())) for layer in layers(model))
    tensors = model.state_dict(keep_vars=True)
    drawn = {name for name, tensor in tensors.items() if id(tensor) in top}
    assert {*proof["new_tensors"]} == {*before["new_tensors"]} | drawn
    assert proof["body_tensors_equal"] == proof["body_tensors"] - len(drawn)
    assert proof["share_of_parameters_transferred"] < before["share_of_parameters_transferred"]
    matrices = {name for name in drawn if tensors[name].ndim == 2}
    assert not any(classifier.same_bits(tensors[name].detach(), stored[name]) for name in matrices)
    assert all(classifier.same_bits(t.detach(), stored[n]) for n, t in tensors.items() if id(t) in bottom)
    head = set(before["new_tensors"])
    assert all(torch.equal(tensors[name], whole.state_dict()[name]) for name in head)
    with pytest.raises(UsageError, match="the network has 2"):
        classifier.pretrained(tmp_path, LABELS, 0, Finetune(reinitialised_layers=3))


def test_modernbert_pools_as_asked_also_when_plain_transformers_loads_it(tmp_path: Path) -> None:
    upstream.save_checkpoint(tmp_path, "modernbert")
    logits = {}
    for pooling in ("cls", "mean"):
        model, _ = classifier.pretrained(tmp_path, LABELS, 0, Finetune(pooling=pooling))
        model.save_pretrained(tmp_path / pooling)
        again = AutoModelForSequenceClassification.from_pretrained(tmp_path / pooling).eval()
        assert again.config.classifier_pooling == pooling
        logits[pooling] = again(BATCH["input_ids"], attention_mask=BATCH["attention_mask"]).logits
    assert not torch.allclose(logits["cls"], logits["mean"])


@pytest.mark.parametrize("pooling", ["max", "attention"])
def test_pooling_of_our_own_is_of_the_tokens_alone_and_plain_transformers_refuses_it(
    tmp_path: Path, pooling: Literal["max", "attention"]
) -> None:
    upstream.save_checkpoint(tmp_path, "modernbert")
    model, proof = classifier.pretrained(tmp_path, LABELS, 0, Finetune(pooling=pooling))
    assert proof["body_tensors_equal"] == proof["body_tensors"] > 0
    assert ("pooling.weight" in proof["new_tensors"]) == (pooling == "attention")
    folder = tmp_path / pooling
    model.save_pretrained(folder)
    loaded = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    ids, mask = BATCH["input_ids"], BATCH["attention_mask"]
    with torch.inference_mode():
        logits = loaded(ids, attention_mask=mask).logits
        states = loaded.model(ids, attention_mask=mask).last_hidden_state
        alone = loaded(ids[1:2, :3]).logits
        document = states[1, :3]
        weights = torch.full((3, 1), 1 / 3) if pooling == "max" else loaded.pooling(document).softmax(0)
        expected = document.amax(0) if pooling == "max" else (weights * document).sum(0)
        assert torch.allclose(logits[1], loaded.classifier(loaded.head(expected)), atol=1e-5)
    assert torch.allclose(logits[1], alone[0], atol=1e-5), "padding takes part"
    code = f"from transformers import AutoModelForSequenceClassification as A; A.from_pretrained({str(folder)!r})"
    plain = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert plain.returncode, "plain transformers would pool otherwise"
    assert "akshara-modernbert" in plain.stderr


@pytest.mark.parametrize("pooling", ["max", "attention"])
def test_what_pools_learns_with_the_head(tmp_path: Path, pooling: Literal["max", "attention"]) -> None:
    upstream.save_checkpoint(tmp_path, "modernbert")
    settings = Finetune(pooling=pooling, layers=1, epochs=2, precision="fp32")
    model, _ = classifier.pretrained(tmp_path, LABELS, 0, settings)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    data = labelled([[1, 5, 9, 2], [1, 7, 2], [1, 8, 2]] * 8, [0, 1, 2] * 8, 3)
    training.train(Accelerator(cpu=True), model, 0, data, None, settings, "last_layers", 0)
    moved = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert {"classifier.weight", *(["pooling.weight"] if pooling == "attention" else [])} <= moved
    assert not any("embeddings" in name or "layers.0." in name for name in moved)


@pytest.mark.parametrize(
    ("family", "options", "message"),
    [
        ("bert", {"pooling": "mean"}, "`bert` classifiers leave no choice of pooling"),
        ("modernbert", {"r_drop": 1}, "finetune.r_drop wants dropouts .* none"),
        ("modernbert", {"r_drop": 1, "dropout": 0}, "finetune.r_drop wants dropouts .* none"),
        ("modernbert", {"dropout_samples": 4}, "finetune.dropout_samples wants dropouts .* none"),
    ],
)
def test_an_option_that_the_network_cannot_follow_is_refused(
    tmp_path: Path, family: str, options: dict[str, Any], message: str
) -> None:
    upstream.save_checkpoint(tmp_path, family)
    for start in (classifier.pretrained, classifier.scratch):
        with pytest.raises(UsageError, match=message):
            start(tmp_path, LABELS, 0, Finetune(**options))


@pytest.mark.parametrize("family", ["modernbert", "bert", "distilbert"])
def test_dropout_is_set_everywhere(tmp_path: Path, family: str) -> None:
    upstream.save_checkpoint(tmp_path, family)
    model, _ = classifier.pretrained(tmp_path, LABELS, 0, Finetune(dropout=0.3, r_drop=1))
    assert {m.p for m in model.modules() if isinstance(m, torch.nn.Dropout)} == {0.3}
    attention = "attention_probs_dropout_prob" if family == "bert" else "attention_dropout"
    assert getattr(model.config, attention) == 0.3


def test_targets_are_smoothed_and_classes_balanced() -> None:
    given = np.eye(4, dtype=np.float32)[[0, 0, 0, 1, 1, 2]]  # none of the last class
    assert targets(given, Finetune(label_smoothing=0)).tobytes() == given.tobytes()
    smooth = targets(given, Finetune(label_smoothing=0.2))
    assert smooth[0] == pytest.approx([0.85, 0.05, 0.05, 0.05])
    balanced = targets(given, Finetune(label_smoothing=0, class_weights="balanced"))
    assert balanced.sum(0) == pytest.approx([2, 2, 2, 0])
    assert balanced.sum() == pytest.approx(len(given)), "the rate needs no change"
    both = targets(given, Finetune(label_smoothing=0.2, class_weights="balanced"))
    assert both.sum(1) == pytest.approx(balanced.sum(1))
    assert both[5] == pytest.approx(2 * smooth[5])
    ordered = of_ordered(3)[[0] * 9 + [1] + [2] * 9]  # a rare class has no more weight for the neighbours it is near
    weights = targets(ordered, Finetune(class_weights="balanced")).sum(1)
    assert [weights[:9].sum(), weights[9], weights[10:].sum()] == pytest.approx([19 / 3] * 3)


def test_a_label_is_smoothed_by_itself_and_what_is_smooth_is_not() -> None:
    label, answer = [0, 1, 0, 0], [0.1, 0.7, 0.1, 0.1]
    given = np.asarray([label, answer, *of_ordered(4)], np.float32)
    smooth = targets(given, Finetune())
    assert smooth[0] == pytest.approx([0.025, 0.925, 0.025, 0.025])
    assert smooth[1:].tobytes() == given[1:].tobytes()
    assert targets(given, Finetune(), multi_label=True).tobytes() == given.tobytes()


def test_the_target_of_an_ordered_class_falls_off_on_either_side() -> None:
    table = of_ordered(4)
    assert table.sum(1) == pytest.approx(1)
    assert table.argmax(1).tolist() == [0, 1, 2, 3]
    assert table[1] / table[1, 1] == pytest.approx(np.exp([-2, 0, -2, -4]))


def test_training_takes_its_loss_against_them(tmp_path: Path) -> None:
    upstream.save_checkpoint(tmp_path, "distilbert")
    data = labelled([[1, 5, 2], [1, 6, 2], [1, 7, 2]], [0, 0, 1], len(LABELS))
    settings = Finetune(epochs=1, label_smoothing=0.3, class_weights="balanced", dropout=0)
    model, _ = classifier.pretrained(tmp_path, LABELS, 0, settings)
    logits = training.logits(Accelerator(cpu=True), model, data.ids, 0)
    expected = torch.nn.functional.cross_entropy(logits, torch.from_numpy(targets(data.targets, settings)))
    rows = training.train(Accelerator(cpu=True), model, 0, data, None, settings, "full", 0)
    assert rows[0]["loss_nats"] == pytest.approx(float(expected), abs=1e-4)


def test_r_drop_adds_the_divergence_between_two_dropouts(tmp_path: Path) -> None:
    upstream.save_checkpoint(tmp_path, "bert")
    model, _ = classifier.pretrained(tmp_path, LABELS, 0, Finetune(dropout=0.4))
    seen: list[torch.Tensor] = []
    model.train().register_forward_hook(lambda _m, _i, output: seen.append(output.logits.detach()))
    loss = training._summed_loss(model, BATCH, Finetune(r_drop=3)).detach()
    one, other = (torch.distributions.Categorical(logits=each) for each in seen[0].chunk(2))
    assert not torch.allclose(one.logits, other.logits)
    nats = -((one.logits + other.logits) / 2 * BATCH["targets"]).sum()
    divergence = torch.distributions.kl_divergence(one, other) + torch.distributions.kl_divergence(other, one)
    weights = torch.tensor([1, 0.5, 0])
    assert float(loss) == pytest.approx(float(nats + 3 * (divergence / 2 * weights).sum()), rel=1e-4)


@pytest.mark.parametrize("family", ["modernbert", "bert", "roberta"])  # RoBERTa's head has two dropouts
def test_the_head_answers_with_several_dropouts_of_one_body(tmp_path: Path, family: str) -> None:
    upstream.save_checkpoint(tmp_path, family)
    settings = Finetune(dropout=0.4, dropout_samples=3, r_drop=2)
    model, _ = classifier.pretrained(tmp_path, LABELS, 0, settings)
    seen: list[torch.Tensor] = []
    bodies: list[int] = []
    model.train().register_forward_hook(lambda _m, _i, output: seen.append(output.logits.detach()))
    model.base_model.register_forward_hook(lambda _m, _i, output: bodies.append(len(output[0])))
    loss = training._summed_loss(model, BATCH, settings).detach()
    assert bodies == [2 * len(BATCH["input_ids"])], "one pass of the body, for R-Drop of two copies"
    log_probs = seen[0].log_softmax(-1).view(3, 2, 3, -1)  # samples, passes, documents, classes
    assert len({tuple(each.flatten().tolist()) for each in log_probs.flatten(0, 1)}) == 6, "each with other dropouts"
    nats = -(log_probs.mean((0, 1)) * BATCH["targets"]).sum()
    pairs = [[torch.distributions.Categorical(logits=each) for each in sample] for sample in log_probs]
    apart = sum(
        torch.distributions.kl_divergence(one, other) + torch.distributions.kl_divergence(other, one)
        for one, other in pairs
    )
    expected = nats + 2 * (apart / len(pairs) / 2 * BATCH["targets"].sum(-1)).sum()
    assert float(loss) == pytest.approx(float(expected), rel=1e-4)
    seen.clear()
    summed = training._summed_loss(model, BATCH, Finetune(dropout=0.4, dropout_samples=2), multi_label=True).detach()
    wanted = BATCH["targets"].repeat(2, 1)
    each = torch.nn.functional.binary_cross_entropy_with_logits(seen[0], wanted, reduction="none").sum(-1).view(2, -1)
    assert float(summed) == pytest.approx(float(each.mean(0)[:2].sum()), rel=1e-4), "the last counts for nothing"
    seen.clear()
    with torch.no_grad():
        model.eval()(BATCH["input_ids"], attention_mask=BATCH["attention_mask"])
    assert len(seen[0]) == len(BATCH["input_ids"]), "outside of training a document is answered once"
