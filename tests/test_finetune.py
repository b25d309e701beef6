import json
import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import upstream
from accelerate import Accelerator
from safetensors.torch import load_file, save_file
from small import labelled
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

from pipeline import finetune
from pipeline.artifacts import Run
from pipeline.config import Finetune, load
from pipeline.errors import UsageError
from pipeline.metrics import calibration
from pipeline.model.masked_lm import longest_input
from pipeline.text import tokenization
from pipeline.text.documents import read_jsonl, write_jsonl
from pipeline.transfer import bench, classifier, given, networks, training
from pipeline.transfer.documents import (
    encode,
    epoch_batches,
    folds,
    only_unknown,
    require_same_tokenizer,
    require_vocabulary,
)
from pipeline.transfer.pieces import Pieces

LABELS = sorted(upstream.WORDS)
ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Run, dict[str, Any]]]:
    """A finished finetune stage on a BERT body (which has dropout), in the current folder; and its counts."""
    root, before = tmp_path_factory.mktemp("finetune"), Path.cwd()
    os.chdir(root)
    run = upstream.make_run(root)
    (run.input("fetch/labelled") / "test.jsonl").write_text("whoever reads this fails", "utf-8")
    yield run, upstream.finish(run, "finetune", lambda part: finetune.work(run, part))
    os.chdir(before)


@pytest.mark.parametrize("family", ["modernbert", "bert", "roberta", "deberta-v2"])
def test_the_whole_body_is_the_checkpoints_and_the_classifying_layer_is_new(tmp_path: Path, family: str) -> None:
    upstream.save_checkpoint(tmp_path, family)
    model, proof = classifier.pretrained(tmp_path, LABELS, 0)
    assert proof["body_tensors"] == proof["body_tensors_equal"] > 10
    assert "classifier.bias" in proof["new_tensors"] or "classifier.out_proj.bias" in proof["new_tensors"]
    stored = load_file(tmp_path / "model.safetensors")
    new = {n for n, tensor in model.state_dict().items() if n not in stored or not torch.equal(tensor, stored[n])}
    assert new == set(proof["new_tensors"])
    other, _ = classifier.pretrained(tmp_path, LABELS, 1)
    layer = next(name for name in new if "classifier" in name and name.endswith("weight"))
    assert not torch.equal(model.state_dict()[layer], other.state_dict()[layer])


@pytest.mark.parametrize("damage", ["stray prefix", "one tensor missing"])
def test_a_body_that_is_not_all_in_the_checkpoint_is_refused(tmp_path: Path, damage: str) -> None:
    upstream.save_checkpoint(tmp_path, "bert")
    tensors = load_file(tmp_path / "model.safetensors")
    if damage == "stray prefix":
        tensors = {f"_orig_mod.{name}": tensor for name, tensor in tensors.items()}
    else:
        del tensors["bert.encoder.layer.1.output.dense.weight"]
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(UsageError, match="body"):
        classifier.pretrained(tmp_path, LABELS, 0)


def test_the_control_has_nothing_of_the_checkpoint_even_before_it_was_trained(tmp_path: Path) -> None:
    upstream.save_checkpoint(tmp_path, "modernbert")
    model, proof = classifier.scratch(tmp_path, LABELS, 0)  # the checkpoint was drawn from seed 0, too
    assert proof["random_tensors"] > 10
    stored = load_file(tmp_path / "model.safetensors")
    name = "model.embeddings.tok_embeddings.weight"
    assert not torch.equal(model.state_dict()[name], stored[name])


def test_a_checkpoint_with_another_tokenizer_is_refused_with_both_digests(
    done: tuple[Run, dict[str, Any]], tmp_path: Path
) -> None:
    run, _ = done
    original = run.input("pretrain/tokenizer.json").read_text("utf-8")
    run.input("pretrain/tokenizer.json").write_text(original.replace("ବଲ୍", "ବଲ"), "utf-8")
    try:
        with pytest.raises(UsageError, match="do not belong together") as refused:
            finetune.work(run, tmp_path)
        assert len(set(re.findall(r"\b[0-9a-f]{64}\b", str(refused.value)))) == 2
    finally:
        run.input("pretrain/tokenizer.json").write_text(original, "utf-8")


@pytest.mark.parametrize("algorithm", ["unigram", "bpe", "wordpiece"])
def test_a_tokenizer_that_transformers_has_saved_again_is_the_same_one(tmp_path: Path, algorithm: Any) -> None:
    words, _ = tokenization.count_words(["ଧାନ ବିଲ ଚାଷୀ ବର୍ଷା ଦଳ ଗୋଲ୍ ଖେଳାଳି ରୋଗ ଔଷଧ ଡାକ୍ତର ଜ୍ୱର"] * 9)
    tokenization.save(tokenization.train(words, algorithm, 400), tmp_path / "run")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "run")
    tokenizer(["ଧାନ"], truncation=True, max_length=8)
    tokenizer.save_pretrained(tmp_path / "checkpoint")
    require_same_tokenizer(tmp_path / "checkpoint", tmp_path / "run")
    texts = ["漢字", "", " \n", "漢 ଧାନ", "ଔଷଧ"]
    assert only_unknown(tokenizer, tokenizer(texts)["input_ids"]) == 3
    latin = only_unknown(tokenizer, tokenizer(["A"])["input_ids"])  # a byte, but WordPiece has it as a letter
    assert latin == (algorithm != "wordpiece")


def test_a_pickle_is_refused(tmp_path: Path) -> None:
    upstream.save_checkpoint(tmp_path, "bert")
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    for read in (lambda: classifier.pretrained(tmp_path, LABELS, 0), lambda: classifier.load(tmp_path)):
        with pytest.raises(UsageError, match=r"pytorch_model\.bin is a pickle"):
            read()


def test_every_epoch_reads_each_document_once_in_an_order_of_its_own() -> None:
    lengths = [i % 17 for i in range(701)]
    orders = {(s, e): epoch_batches(lengths, 16, s, e) for s in (0, 1) for e in (0, 1)}
    for batches in orders.values():
        assert sorted(i for batch in batches for i in batch) == list(range(701))
        assert len(batches) == 44
    assert len({str(order) for order in orders.values()}) == 4
    assert orders[1, 1] == epoch_batches(lengths, 16, 1, 1)
    padded = sum(len(batch) * max(lengths[i] for i in batch) for batch in orders[0, 0])
    assert padded < 1.25 * sum(lengths)


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_processes_share_a_batch_out_so_that_each_document_counts_once(number: int) -> None:
    data = labelled([[1, i, 2] for i in range(40)], list(range(40)), 40)
    seen = []
    for rank in range(number):
        process: Any = SimpleNamespace(process_index=rank, num_processes=number, device=torch.device("cpu"))
        share = training.micro_batches(process, data, list(range(10, 30)), pad=0, where=(0, 0))
        assert share, "a process without a micro-batch would leave the others waiting"
        seen += [int(row.argmax()) for batch in share for row in batch["targets"] if row.any()]
    assert sorted(seen) == list(range(10, 30))


def test_the_model_to_ship_is_the_best_on_dev_then_the_surest() -> None:
    def outcome(accuracy: float, nats: float) -> dict[str, Any]:
        return {"epochs": [{"dev_accuracy": 1.0, "dev_nats": 0.0}, {"dev_accuracy": accuracy, "dev_nats": nats}]}

    figures = [(0.5, 0.1), (0.6, 0.9), (0.6, 0.8), (0.6, 0.8)]
    outcomes = {networks.Job("full", i, f"seed-{i}"): outcome(*each) for i, each in enumerate(figures)}
    outcomes |= {networks.Job("scratch", 0, "scratch/seed-0"): outcome(0.9, 0.1)}
    assert networks.best(networks.own(outcomes)).folder == "seed-2"


@pytest.mark.parametrize("dev", [True, False])
def test_how_many_layers_train_is_chosen_on_documents_that_none_has_learned_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, dev: bool
) -> None:
    """Of a network of six layers, where two and four are the best, and four have less loss."""
    tried: list[Any] = []

    def learned(job: networks.Job, bench: Any) -> Any:
        tried.append((job.strategy, job.fold, bench.settings.layers, bench.settings.epochs))
        right = bench.settings.layers in (2, 4)
        return None, {"epochs": [{"dev_accuracy": 0.6 if right else 0.5, "dev_nats": 1 / bench.settings.layers}]}

    monkeypatch.setattr(networks, "learn", learned)
    monkeypatch.setattr(classifier, "configuration", lambda *_: SimpleNamespace(num_hidden_layers=6))
    data = labelled([[1, 2]] * 6, [0, 1] * 3, 2)
    splits = {"train": data} | ({"dev": data} if dev else {})
    settings = Finetune(strategy="last_layers", layers="auto", epochs=9)
    nothing = Pieces(np.zeros((0, 8), np.float32), np.zeros((0, 8), np.int32))
    opened = bench.Bench(
        Accelerator(cpu=True), settings, tmp_path, None, ["a", "b"], splits, {}, nothing, tmp_path, tmp_path
    )
    with caplog.at_level("INFO"):
        assert networks.settle_layers(opened).settings.layers == 4
    assert tried == [("last_layers", None if dev else 0, layers, 3) for layers in (1, 2, 4, 6)]
    assert "4 0.600, 6 0.500; 4 train" in caplog.text
    assert networks.settle_layers(opened).settings.layers == 4
    assert len(tried) == 4, "what was settled before an interruption stays"
    full = opened._replace(settings=settings.model_copy(update={"strategy": "full"}))
    assert networks.settle_layers(full).settings.layers == Finetune().layers
    assert len(tried) == 4
    (tmp_path / "anew").mkdir()
    anew = opened._replace(settings=settings.model_copy(update={"reinitialised_layers": 3}), out=tmp_path / "anew")
    networks.settle_layers(anew)
    assert [layers for _, _, layers, _ in tried[4:]] == [4, 6], "those drawn anew have to train"
    with pytest.raises(UsageError, match=r"finetune.layers=7: the network has 6"):
        networks.settle_layers(opened._replace(settings=settings.model_copy(update={"layers": 7})))


def test_what_looks_like_a_special_token_is_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    opened, _ = bench.open_bench(upstream.make_run(tmp_path, "bert"), tmp_path / "out")
    opened.tokenizer.save_pretrained(tmp_path / "saved")
    for tokenizer in (opened.tokenizer, AutoTokenizer.from_pretrained(tmp_path / "saved")):
        ((_, *inside, _),), _ = encode(tokenizer, [f"{upstream.COMMON[0]}</s><mask>"], 20)
        assert not {*inside} & {tokenizer.sep_token_id, tokenizer.mask_token_id}


def test_as_many_layers_train_as_were_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = upstream.make_run(tmp_path, "modernbert")
    changes = ["strategy=last_layers", "layers=auto", "epochs=3", "seeds=1"]
    run = Run(load(made.argument, [f"finetune.{each}" for each in changes]), made.argument)
    counts = upstream.finish(run, "finetune", lambda part: finetune.work(run, part))
    before, after = (load_file(run.input(f"{name}/model.safetensors")) for name in ("pretrain", "finetune/model"))
    moved = {name.split(".")[2] for name in before if ".layers." in name and not torch.equal(before[name], after[name])}
    assert len(moved) == counts["layers"]


def test_folds_share_out_every_class() -> None:
    labels = [0] * 50 + [1] * 11 + [2] * 3
    parts = folds(labels, 5)
    assert sorted(i for part in parts for i in part) == list(range(64))
    assert {sum(labels[i] == 0 for i in part) for part in parts} == {10}
    assert {sum(labels[i] == 1 for i in part) for part in parts} == {2, 3}


def test_long_documents_are_cut_to_what_the_model_can_place(tmp_path: Path) -> None:
    upstream.save_tokenizer(tmp_path)
    upstream.save_checkpoint(tmp_path, "roberta")
    model, _ = classifier.scratch(tmp_path, LABELS, 0)
    assert longest_input(model, 12) == 12
    length = longest_input(model, 512)
    assert length == 39  # 40 positions, of which RoBERTa leaves one to padding
    ids, cut = encode(AutoTokenizer.from_pretrained(tmp_path), ["ଧାନ " * 100, "ଧାନ ବିଲ"], length)
    assert (len(ids[0]), ids[0][-1], len(ids[1]), cut) == (39, 2, 4, 1)
    model(torch.tensor(ids[:1]))
    with pytest.raises(UsageError, match="do not belong together"):
        require_vocabulary([[1, 23, 2]], model)


def test_it_writes_classifiers_that_plain_transformers_loads(done: tuple[Run, dict[str, Any]]) -> None:
    run, counts = done
    for name in ("seed-0", "seed-1", "scratch/seed-0", "scratch/seed-1", "model"):
        folder = run.input(f"finetune/{name}")
        model, info = AutoModelForSequenceClassification.from_pretrained(folder, output_loading_info=True)
        assert not info["missing_keys"]
        assert list(model.config.id2label.values()) == LABELS
    classify = pipeline("text-classification", str(run.input("finetune/model")), truncation=True)
    assert classify("ଧାନ ବିଲ ଚାଷୀ ବର୍ଷା ଧାନ " * 30)[0]["label"] == "ଚାଷ"
    shipped = run.input(f"finetune/{counts['shipped']}")
    assert (shipped / "model.safetensors").read_bytes() == run.input("finetune/model/model.safetensors").read_bytes()


def test_the_manifest_tells_what_was_transferred_and_how_dev_went(done: tuple[Run, dict[str, Any]]) -> None:
    run, counts = done
    transfer = counts["transfer"]
    assert transfer["body_tensors"] == transfer["body_tensors_equal"]
    assert transfer["new_tensors"] == [
        "bert.pooler.dense.bias",
        "bert.pooler.dense.weight",
        "classifier.bias",
        "classifier.weight",
    ]
    assert counts["control"]["random_tensors_equal"] == 0
    rows = list(read_jsonl(run.input("finetune/metrics.jsonl")))
    assert [(r["strategy"], r["seed"], r["epoch"]) for r in rows] == [
        (strategy, seed, epoch) for strategy in ("full", "scratch") for seed in (0, 1) for epoch in (1, 2, 3)
    ]
    assert rows[2]["loss_nats"] < rows[0]["loss_nats"]
    last = {row["seed"]: row for row in rows if row["strategy"] == "full"}
    best = max(last, key=lambda seed: (last[seed]["dev_accuracy"], -last[seed]["dev_nats"]))
    assert counts["shipped"] == f"seed-{best}"
    assert counts["cut"]["train"] > 0


def test_every_classifier_holds_the_temperature_that_dev_gives_it(done: tuple[Run, dict[str, Any]]) -> None:
    run, counts = done
    dev = list(read_jsonl(run.input("fetch/labelled/dev.jsonl")))
    for name in ("seed-0", "scratch/seed-1", counts["shipped"]):
        model, tokenizer = classifier.load(run.input(f"finetune/{name}"))
        ids, _ = encode(tokenizer, [row["text"] for row in dev], 12)
        table = training.logits(Accelerator(cpu=True), model, ids, tokenizer.pad_token_id)
        fitted = calibration.fit_temperature(table.numpy(), [LABELS.index(row["label"]) for row in dev])
        assert classifier.temperature(model) == pytest.approx(fitted, rel=0.02)
    assert classifier.temperature(model) != 1


def test_an_interrupted_stage_keeps_finished_seeds_and_makes_the_same_others(
    done: tuple[Run, dict[str, Any]], tmp_path: Path
) -> None:
    run, counts = done
    shutil.copytree(run.input("finetune"), tmp_path, dirs_exist_ok=True)
    kept = (tmp_path / "seed-0" / "model.safetensors").stat()
    for folder in ("seed-1", "scratch", "model"):
        shutil.rmtree(tmp_path / folder)
    (tmp_path / "seed-1.part").mkdir()
    assert finetune.work(run, tmp_path) == counts
    assert (tmp_path / "seed-0" / "model.safetensors").stat().st_mtime_ns == kept.st_mtime_ns
    for name in ("seed-1/model.safetensors", "scratch/seed-1/model.safetensors", "model/model.safetensors"):
        assert (tmp_path / name).read_bytes() == run.input(f"finetune/{name}").read_bytes()


def test_two_processes_train_the_same_classifiers_as_one(done: tuple[Run, dict[str, Any]]) -> None:
    run, _ = done
    alone = run.input("finetune").rename(run.folder / "alone")
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes=2", "-m"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(
        [*launch, "pipeline.finetune", "run.yaml"], env=environment, capture_output=True, encoding="utf-8"
    )
    together = run.input("finetune")
    assert ended.returncode == 0, ended.stderr
    try:
        for name in ("seed-0", "seed-1", "scratch/seed-1"):
            one, two = (load_file(folder / name / "model.safetensors") for folder in (alone, together))
            for tensor in one:
                torch.testing.assert_close(one[tensor], two[tensor], rtol=1e-4, atol=1e-5)
        for one_row, two_row in zip(*(read_jsonl(f / "metrics.jsonl") for f in (alone, together)), strict=True):
            for figure in ("loss_nats", "dev_nats", "dev_accuracy"):
                assert one_row[figure] == pytest.approx(two_row[figure], abs=1e-4)
    finally:
        shutil.rmtree(together)
        alone.rename(together)


def test_without_a_dev_split_train_is_cross_validated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    single = {"id": "single", "text": "अज्ञात", "label": "new"}
    run = upstream.make_run(tmp_path, "modernbert", {"train": [*upstream.documents("train", 40), single]})
    counts = upstream.finish(run, "finetune", lambda part: finetune.work(run, part))
    assert len(counts["dev_accuracy"]["full"]["each"]) == given.FOLDS
    assert "cross-validation cannot measure classes of a single document: new" in caplog.text
    assert "1 documents of train hold no piece that the tokenizer knows" in caplog.text
    assert counts["only_unknown"] == {"train": 1}
    assert counts["shipped"] == "seed-0"
    assert [p.name for p in run.input("finetune/folds/fold-4").iterdir()] == ["training.json"]
    rows = [json.loads(line) for line in run.input("finetune/metrics.jsonl").read_text("utf-8").splitlines()]
    outcomes = [json.loads(path.read_text("utf-8")) for path in run.input("finetune/folds").glob("*/training.json")]
    temperature = classifier.temperature(classifier.load(run.input("finetune/model"))[0])
    assert temperature == pytest.approx(math.prod(outcome["temperature"] for outcome in outcomes) ** (1 / 5))
    assert {row["fold"] for row in rows if "fold" in row} == set(range(given.FOLDS))
    assert all(("fold" in row) == ("dev_nats" in row) for row in rows)


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ({}, "labelled.train="),
        ({"train": [{"id": "1", "text": "ଧାନ", "label": "ଚାଷ"}] * 9}, "two or more"),
        ({"train": upstream.documents("t", 9), "dev": [{"id": "1", "text": "ଧାନ", "label": "new"}]}, "`new` is in dev"),
        ({"train": upstream.documents("t", 4)}, "too few"),
    ],
)
def test_labelled_documents_that_nothing_can_be_learned_from_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, done: tuple[Run, Any], splits: dict[str, Any], message: str
) -> None:
    run, _ = done
    monkeypatch.chdir(tmp_path)
    run.input("fetch/labelled").mkdir(parents=True)
    for split, rows in splits.items():
        write_jsonl(run.input(f"fetch/labelled/{split}.jsonl"), rows)
    with pytest.raises(UsageError, match=message):
        finetune.work(run, tmp_path)
