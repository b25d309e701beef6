"""Ways of transferring: what trains, when, and at which rate."""

from pathlib import Path

import pytest
import torch
import upstream
from accelerate import Accelerator
from transformers import AutoTokenizer

from pipeline.config import Finetune
from pipeline.transfer import classifier
from pipeline.transfer.documents import encode
from pipeline.transfer.strategies import Phase, depths, phases, rates
from pipeline.transfer.training import labelled, stretches, train

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
