"""What the Hub has: models, tokenizers and labelled sets, from a server on this machine."""

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import Program
from hub import hub

from pipeline.artifacts import sha256


@pytest.fixture
def published(text_run: Path, tokenizer: Any) -> Path:
    """The folder of a Hub with a small model, its tokenizer, a pickle beside it, and a labelled set of two splits."""
    from transformers import BertConfig, BertForMaskedLM

    folder, shape = text_run / "hub", {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = BertForMaskedLM(BertConfig(vocab_size=len(tokenizer), intermediate_size=48, **shape))
    for part in (model, tokenizer):
        part.save_pretrained(folder / "models/team/model")
    (folder / "models/team/model/pytorch_model.bin").write_bytes(b"a pickle")
    (folder / "datasets/team/topics").mkdir(parents=True)
    named = [{"split": split, "path": f"{split}.jsonl"} for split in ("train", "test")]
    about = {"configs": [{"config_name": "odia", "data_files": named}, {"config_name": "other", "data_files": []}]}
    (folder / "datasets/team/topics/README.md").write_text(f"---\n{json.dumps(about)}\n---\n", "utf-8")
    for split in ("train", "test"):
        rows = [json.dumps({"category": "ab"[i % 2], "text": f"{split} {i}"}) for i in range(8)]
        (folder / f"datasets/team/topics/{split}.jsonl").write_text("\n".join(rows), "utf-8")
    return folder


def test_a_labelled_set_comes_from_the_hub(published: Path, text_run: Path, program: Program) -> None:
    labelled = "labelled={train: team/topics@odia, test: team/topics@odia}"
    with hub(published) as (environment, _):
        done = program("fetch", "small.yaml", labelled, **environment)
        assert done.returncode == 0, done.stderr
        none = program("fetch", "small.yaml", "labelled={train: team/nothing}", **environment)
    offline = program("fetch", "small.yaml", labelled, "--force")
    assert offline.returncode == 0, offline.stderr
    rows = [json.loads(line) for line in (text_run / "runs/small/fetch/labelled/test.jsonl").open(encoding="utf-8")]
    assert [(row["label"], row["text"]) for row in rows[:2]] == [("a", "test 0"), ("b", "test 1")]
    assert none.returncode == 2
    assert none.stderr.startswith("error: the dataset team/nothing cannot be loaded")
    assert none.stderr.count("\n") == 1


@pytest.mark.parametrize("name", ["team/model", "team/model@main"])
def test_a_tokenizer_comes_from_the_hub_without_the_weights(
    name: str, published: Path, text_run: Path, program: Program
) -> None:
    with hub(published) as (environment, asked):
        done = program("pipeline", "tokenizer", "small.yaml", f"tokenizer.existing={name}", **environment)
    assert done.returncode == 0, done.stderr
    assert set(asked) == {"config.json", "tokenizer.json", "tokenizer_config.json"}
    assert (
        len(json.loads((text_run / "runs/small/tokenizer/tokenizer.json").read_text("utf-8"))["model"]["vocab"]) == 100
    )


def test_a_model_comes_from_the_hub_without_its_pickle(published: Path, text_run: Path, program: Program) -> None:
    settings = ["tokenizer.existing=team/model", "pretrain.init=team/model", "pretrain.max_steps=1"]
    settings += ["pretrain.max_minutes=null", "pretrain.compile=never", "pretrain.length_tokens=16"]
    with hub(published) as (environment, asked):
        done = program("pipeline", "pretrain", "small.yaml", *settings, **environment)
    assert done.returncode == 0, done.stderr
    assert "model.safetensors" in asked
    assert "pytorch_model.bin" not in asked
    manifest = json.loads((text_run / "runs/small/pretrain/manifest.json").read_text("utf-8"))
    assert manifest["counts"]["init"] == {
        "name": "team/model",
        "sha256": {"model.safetensors": sha256(published / "models/team/model/model.safetensors")},
        "pieces": {"copied": 100, "composed": 0, "new": 0},
    }
