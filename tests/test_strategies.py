"""Ways of transferring: what trains, when, and at which rate."""

from pathlib import Path
from typing import Any

import pytest
import torch
import upstream
from accelerate import Accelerator
from small import labelled
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from pipeline.config import Finetune
from pipeline.model.masked_lm import layers
from pipeline.training import loop
from pipeline.transfer import classifier, training
from pipeline.transfer.documents import encode
from pipeline.transfer.strategies import Phase, depths, phases, rates
from pipeline.transfer.training import stretches, train

LABELS = sorted(upstream.WORDS)
SETTINGS = Finetune(epochs=2, batch_documents=12, layers=1)


@pytest.mark.parametrize("family", ["modernbert", "bert", "roberta", "distilbert"])
def test_every_parameter_has_a_depth_from_the_head_down_to_the_embeddings(tmp_path: Path, family: str) -> None:
    upstream.save_checkpoint(tmp_path, family)
    model, proof = classifier.pretrained(tmp_path, LABELS, 0)
    depth = depths(model)
    assert {*depth} == {name for name, _ in model.named_parameters()}
    assert {depth[name] for name in {*proof["new_tensors"]} & {*depth}} == {0}
    assert {*depth.values()} == {0, 1, 2, 3}, "the head, two layers, the embeddings"
    assert {deep for name, deep in depth.items() if "embeddings" in name} == {3}


@pytest.mark.parametrize(
    ("strategy", "trained"),
    [
        ("full", {0, 1, 2, 3}),
        ("scratch", {0, 1, 2, 3}),
        ("last_layers", {0, 1}),
        ("gradual", {0, 1, 2, 3}),
        ("head_then_all", {0, 1, 2, 3}),
    ],
)
def test_a_strategy_trains_its_parts_and_leaves_the_others_as_they_were(
    tmp_path: Path, strategy: str, trained: set[int]
) -> None:
    upstream.save_tokenizer(tmp_path)
    upstream.save_checkpoint(tmp_path, "bert")
    rows = upstream.documents("train", 36)
    ids, _ = encode(AutoTokenizer.from_pretrained(tmp_path), [row["text"] for row in rows], 12)
    model, _ = classifier.pretrained(tmp_path, LABELS, 0)
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    data = labelled(ids, [LABELS.index(row["label"]) for row in rows], len(LABELS))
    log = train(Accelerator(cpu=True), model, 0, data, None, SETTINGS, strategy, 0)
    assert [row["epoch"] for row in log] == [1, 2]
    moved = {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}
    depth = depths(model)
    assert {depth[name] for name in moved} == trained


def test_phases_share_all_steps_out_and_unfreeze_from_the_top() -> None:
    for strategy in ("full", "last_layers", "head_then_all", "gradual", "scratch"):
        plan = list(stretches(phases(strategy, SETTINGS, 8), 90))
        assert plan[0][1] == 0
        assert plan[-1][2] == 90
        assert [start for _, start, _ in plan[1:]] == [end for _, _, end in plan[:-1]]
    opened = [phase.parts for phase in phases("gradual", SETTINGS, 4)]
    assert opened == [1, 2, 3, None]


def test_rates_fall_with_depth_and_leave_out_what_is_frozen() -> None:
    depth = {"head": 0, "top": 1, "bottom": 2, "embeddings": 3}
    assert rates(Phase(1, parts=2), SETTINGS, depth) == {"head": 1, "top": 1}
    decayed = rates(Phase(1, body_rate=0.5), Finetune(layer_decay=0.5), depth)
    assert decayed == {"head": 1, "top": 0.25, "bottom": 0.125, "embeddings": 0.0625}


@pytest.mark.parametrize("family", ["modernbert", "bert", "roberta", "distilbert"])
def test_lora_trains_adapters_and_head_alone_and_merges_them_into_a_plain_network(
    tmp_path: Path, family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream.save_checkpoint(tmp_path, family)
    model, proof = classifier.pretrained(tmp_path, LABELS, 0)
    assert proof["body_tensors"] == proof["body_tensors_equal"]
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    matrices = [n for n, m in layers(model).named_modules() if isinstance(m, torch.nn.Linear)]
    assert len(matrices) == {"modernbert": 8}.get(family, 12)
    trained, adapted = {}, {}

    def watched_fit(accelerator: Accelerator, model: torch.nn.Module, *rest: Any, **more: Any) -> None:
        loop.fit(accelerator, model, *rest, **more)
        trained.update({name: p.numel() for name, p in model.named_parameters() if p.requires_grad})
        adapted.update({name.replace(".base_layer", ""): t.clone() for name, t in model.state_dict().items()})

    monkeypatch.setattr(training, "fit", watched_fit)
    data = labelled([[1, 5 + i, 6 + i, 2] for i in range(12)], [i % 3 for i in range(12)], len(LABELS))
    train(Accelerator(cpu=True), model, 0, data, None, Finetune(epochs=2, lora_rank=3), "lora", 0)
    head = {name for name, deep in depths(model).items() if deep == 0}
    assert {name for name in trained if ".lora_" not in name} == head
    assert sum(".lora_" in name for name in trained) == 2 * len(matrices)
    shapes = [m.weight.shape for m in layers(model).modules() if isinstance(m, torch.nn.Linear)]
    assert sum(n for name, n in trained.items() if ".lora_" in name) == 3 * sum(map(sum, shapes))
    assert {name for name in before if not classifier.same_bits(adapted[name], before[name])} == head
    after = model.state_dict()
    assert after.keys() == before.keys(), "a plain network again"
    moved = {name for name in before if not torch.equal(after[name], before[name])} - head
    assert {name.removesuffix(".weight").split(".layers.")[-1].split(".layer.")[-1] for name in moved} == {*matrices}
    model.save_pretrained(tmp_path / "merged")
    again, info = AutoModelForSequenceClassification.from_pretrained(tmp_path / "merged", output_loading_info=True)
    assert not info["missing_keys"] | info["unexpected_keys"]
    assert all(classifier.same_bits(tensor, after[name]) for name, tensor in again.state_dict().items())
