"""One network in place of those of all seeds: a soup of them, or one that learned from them."""

import json
import logging
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import upstream
from accelerate import Accelerator
from safetensors.torch import load_file

from pipeline import finetune, score
from pipeline.artifacts import Run
from pipeline.config import Finetune, load
from pipeline.errors import UsageError
from pipeline.text.documents import read_jsonl, write_jsonl
from pipeline.text.passages import passages
from pipeline.training.processes import processes
from pipeline.transfer import ensembles, networks, shipped, training
from pipeline.transfer.bench import open_bench


def finished(root: Path, *settings: str, dev: bool = True) -> tuple[Run, dict[str, Any]]:
    splits = {"train": upstream.documents("train", 60), "test": upstream.documents("test", 30)}
    made = upstream.make_run(root, "bert", splits | ({"dev": upstream.documents("dev", 21)} if dev else {}))
    changes = ["score.resamples=200", *(f"finetune.{each}" for each in ("epochs=1", "unlabelled=40", *settings))]
    run = Run(load(made.argument, changes), made.argument)
    return run, upstream.finish(run, "finetune", lambda part: finetune.work(run, part))


def scored(run: Run, out: Path) -> dict[str, Any]:
    out.mkdir()
    score.work(run, out)
    result: dict[str, Any] = json.loads((out / "scores.json").read_text("utf-8"))
    return result


@pytest.mark.parametrize("dev", [True, False])
def test_a_soup_is_the_mean_of_networks_that_started_from_one_head(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, dev: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    caplog.set_level(logging.INFO)
    starts: list[torch.Tensor] = []
    train = training.train

    def watched(accelerator: Accelerator, model: Any, *rest: Any) -> Any:
        starts.append(model.classifier.weight.detach().clone())
        return train(accelerator, model, *rest)

    monkeypatch.setattr(networks, "train", watched)
    run, counts = finished(tmp_path, "ship=soup", dev=dev)
    assert re.search(f"soup of 2 networks{', dev_nats .*, dev_accuracy' if dev else '$'}", caplog.text, re.M)
    *own, control, other_control = starts
    assert all(torch.equal(start, own[0]) for start in own)
    assert not torch.equal(control, own[0])
    assert not torch.equal(control, other_control)
    one, two, soup = (
        load_file(run.input(f"finetune/{name}/model.safetensors")) for name in ("seed-0", "seed-1", "model")
    )
    assert not torch.equal(one["classifier.weight"], two["classifier.weight"]), "the order of documents differs"
    for name in soup:
        torch.testing.assert_close(soup[name], (one[name] + two[name]) / 2)
    assert counts["shipped"] == "soup/seed-0"
    assert ("soup" in counts["dev_accuracy"]) == dev
    assert {row["strategy"] for row in read_jsonl(run.input("finetune/metrics.jsonl"))} == {"full", "scratch"}
    if not dev:
        return
    result = scored(run, tmp_path / "out")
    assert result["answer"] == "soup"
    assert result["test"]["accuracy"] == result["parts"]["soup"]["accuracy"] != result["parts"]["network"]["accuracy"]


@pytest.mark.parametrize("strategy", ["hybrid", "full"])
def test_what_learned_from_all_seeds_is_shipped_as_a_plain_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strategy: str
) -> None:
    monkeypatch.chdir(tmp_path)
    run, counts = finished(tmp_path, f"strategy={strategy}", "ship=distilled")
    pupils = counts["dev_accuracy"]["distilled"]["each"]
    assert len(pupils) == 2, "one a seed"
    assert counts["shipped"] in {f"distilled/seed-{i}" for i, each in enumerate(pupils) if each == max(pupils)}
    assert {"full", "distilled", "scratch"} == {*counts["dev_accuracy"]}
    share = counts["choice"]["teacher_share"]
    assert (share < 1) == (strategy == "hybrid")
    assert not run.input("finetune/model/classifier.json").exists()

    bench, _ = open_bench(run, run.input("finetune"))
    outcomes: dict[networks.Job, Any] = {networks.Job("full", seed, f"seed-{seed}"): {} for seed in (0, 1)}
    corpus = list(read_jsonl(run.input("filter/train.jsonl")))
    texts = passages(corpus, list(map(len, bench.texts["train"])), 40)
    names = ("seed-0", "seed-1", *(["linear/seed-0"] if share < 1 else []))
    one, two, *linear = (
        shipped.classify(processes(), shipped.load(run.input(f"finetune/{name}")), texts) for name in names
    )
    for given in (share, *([0.0] if linear else [])):  # 0: the linear classifier is the teacher
        data = ensembles.taught(bench, outcomes, given, texts)
        assert len(data.ids) == 60 + 40
        np.testing.assert_array_equal(data.targets[:60], bench.splits["train"].targets)
        teacher = given * (one + two) / 2 + (1 - given) * sum(linear)
        np.testing.assert_allclose(data.targets[60:], teacher, atol=1e-6)

    if strategy == "full":
        return
    result = scored(run, tmp_path / "out")
    assert result["answer"] == "distilled"
    assert len(result["parts"]["distilled"]["accuracy"]["per_seed"]) == 2
    assert "learned from what others say" in result["story"]
    own = result["parts"]["network"]["accuracy"]["mean"] - result["baselines"]["scratch"]["accuracy"]["mean"]
    assert result["network_alone"]["evidence"]["scratch"]["difference"]["mean"] == pytest.approx(own)


@pytest.mark.parametrize("as_corpus", [True, False])
def test_no_passage_is_of_a_document_that_the_teacher_has_learned_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, as_corpus: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    made = upstream.make_run(tmp_path)
    run = Run(load(made.argument, [f"labelled.as_corpus={str(as_corpus).lower()}"]), made.argument)
    bench, _ = open_bench(run, tmp_path / "out")
    one, other = "କ " * 99, "ଖ " * 99
    rows = [{"id": "1", "text": one, "source": "labelled"}, {"id": "2", "text": other, "source": "orwiki"}]
    write_jsonl(run.input("filter/train.jsonl"), rows)
    (passage, *more) = sorted(finetune.unlabelled(run, bench), reverse=True)
    assert other.startswith(passage)
    assert any(map(one.startswith, more)) == (not as_corpus), "else a corpus of the user's own has that name"
    write_jsonl(run.input("filter/train.jsonl"), [{"id": "1", "text": "କ", "source": "orwiki"}])
    with pytest.raises(UsageError, match="no passage half as long"):
        finetune.unlabelled(run, bench)


def test_the_more_passages_the_fewer_epochs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ensembles, "READINGS", 300)
    run, _ = finished(tmp_path, "ship=distilled", "seeds=1", "epochs=9")
    epochs = [
        json.loads((run.input("finetune") / name / "training.json").read_text("utf-8"))["epochs"]
        for name in ("seed-0", "distilled/seed-0")
    ]
    assert [len(each) for each in epochs] == [9, 3]


def test_where_no_network_transfers_none_is_made_of_several() -> None:
    for strategy in ("features", "scratch"):
        with pytest.raises(ValueError, match="set another strategy"):
            Finetune(strategy=strategy, ship="soup")


def test_passages_begin_with_a_paragraph_and_are_as_long_as_asked() -> None:
    paragraphs = [f"{start} ଚାଷୀ ଧାନ ରୁଅନ୍ତି ଏବଂ ବର୍ଷା ହେଲେ ଭଲ ଫସଲ ହୁଏ" for start in "କଖଗଘଙ"]
    corpus = [{"text": "\n".join(paragraphs)}, {"text": "ଛୋଟ"}] * 4
    found = passages(corpus, [20, 30], 9)
    assert found == passages(corpus, [20, 30], 9)
    assert len(found) == 9
    words = {*" ".join(paragraphs).split()}
    for text in found:
        assert text[0] in "କଖଗଘଙ"
        assert {*text.split()} <= words, "no word is cut"
        assert 20 <= len(text) < 40
    (long, *_) = passages(corpus, [100], 1)
    assert "\n" in long
    assert len(passages(corpus, [20], 999)) == 20, "what is too short is left out"
