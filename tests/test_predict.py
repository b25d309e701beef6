import gzip
import io
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import upstream
from conftest import Program
from transformers import AutoTokenizer, pipeline

from pipeline import predict
from pipeline.artifacts import Run, write_json
from pipeline.config import load
from pipeline.metrics import calibration
from pipeline.transfer import classifier

TEXTS = ["ଧାନ ବିଲ ଚାଷୀ", "ଦଳ ଗୋଲ୍", "ରୋଗ ଔଷଧ ଡାକ୍ତର ଜ୍ୱର ରୋଗ ଔଷଧ ଡାକ୍ତର ଜ୍ୱର ରୋଗ ଔଷଧ ଡାକ୍ତର ଜ୍ୱର"]
LABELS = sorted(upstream.WORDS)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the finetune stage writes it, though untrained."""
    checkpoint, folder = tmp_path_factory.mktemp("checkpoint"), tmp_path_factory.mktemp("model")
    upstream.save_checkpoint(checkpoint, "modernbert")
    network, _ = classifier.scratch(checkpoint, LABELS, 0)
    with torch.no_grad():
        network.classifier.weight.mul_(50)  # so that documents differ in their class
    network.save_pretrained(folder)
    upstream.save_tokenizer(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.model_max_length = 10
    tokenizer.save_pretrained(folder)
    return folder


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path, stdin: bytes = b"") -> int:
    monkeypatch.setattr(sys, "argv", ["predict", *map(str, arguments)])
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), "utf-8"))
    with pytest.raises(SystemExit) as ended:
        predict.main()
    return int(str(ended.value.code))


def test_it_says_what_plain_transformers_says(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, model, "--json", *(part for text in TEXTS for part in ("--text", text))) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    plain = pipeline("text-classification", str(model), truncation=True)(TEXTS)
    assert [row["label"] for row in rows] == [each["label"] for each in plain]
    for row, each in zip(rows, plain, strict=True):
        assert row["probabilities"][row["label"]] == pytest.approx(each["score"], abs=1e-4)
        assert list(row["probabilities"]) == LABELS
        assert sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-5)


def with_temperature(model: Path, temperature: float, folder: Path) -> Path:
    """A copy of ``model`` with a temperature."""
    copy = shutil.copytree(model, folder / str(temperature))
    settings = json.loads((model / "config.json").read_text("utf-8"))
    (copy / "config.json").write_text(json.dumps({**settings, "calibration_temperature": temperature}), "utf-8")
    return copy


def test_probabilities_are_those_of_the_models_temperature(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = []
    for temperature in (10.0, 40.0):
        assert run(monkeypatch, with_temperature(model, temperature, tmp_path), "--json", "--text", TEXTS[0]) == 0
        rows.append(json.loads(capsys.readouterr().out)["probabilities"])
    plain, cooled = (list(row.values()) for row in rows)
    assert cooled == pytest.approx(calibration.at_temperature([plain], 4)[0], abs=1e-4)
    assert max(cooled) < max(plain)


def test_texts_meet_the_tokenizer_in_the_form_of_the_corpus(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = []
    folder = with_temperature(model, 20.0, tmp_path)  # so that no probability is 1
    for text in ("ଧାନ ଖେଳାଳି", "ଧାନ", "\ufeffଧାନ&nbsp;<b>ଖେ\u00adଳାଳି</b>"):
        assert run(monkeypatch, folder, "--json", "--text", text) == 0
        rows.append(json.loads(capsys.readouterr().out))
    assert rows[0]["probabilities"] == rows[2]["probabilities"] != rows[1]["probabilities"]
    assert rows[2]["text"] == text, "what is shown is what was given"


@pytest.mark.parametrize("source", ["stdin", "txt", "jsonl", "tsv", "csv", "CSV"])
def test_every_way_of_giving_texts_gives_the_same_lines(
    model: Path, source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, model, *(part for text in TEXTS for part in ("--text", text)))
    expected = capsys.readouterr().out
    assert [line.split("\t")[2] for line in expected.splitlines()] == [text[:60] for text in TEXTS]
    lines = "\n".join(TEXTS)
    table = {"tsv": "\t", "csv": ","}.get(source.lower(), "")
    content = {
        "stdin": lines,
        "txt": f"\ufeff{TEXTS[0]}\n\n{TEXTS[1]}\r\n{TEXTS[2]}",
        "jsonl": "\n".join(json.dumps({"text": text}) for text in TEXTS),
    }.get(source, "\n".join(["id" + table + "text", *(f"{i}{table}{text}" for i, text in enumerate(TEXTS))]))
    file = tmp_path / f"texts.{source}"
    file.write_text(content, "utf-8")
    monkeypatch.setattr(predict, "AT_ONCE", 2)
    assert run(monkeypatch, model, "-" if source == "stdin" else file, stdin=content.encode()) == 0
    assert capsys.readouterr().out == expected


@pytest.mark.parametrize(
    ("labelled", "columns"),
    [({"text": "body"}, ["body"]), ({"text": ["headline", "body"]}, ["headline", "body"]), (None, ["text"])],
)
def test_a_folder_inside_a_run_takes_the_columns_of_the_run(
    tmp_path: Path, labelled: dict[str, Any] | None, columns: list[str]
) -> None:
    run = tmp_path / "runs" / "or"
    for name in ("fetch", "finetune/model", "score/offer"):
        (run / name).mkdir(parents=True)
    write_json(run / "fetch" / "manifest.json", {"settings": {"labelled": labelled}})
    for folder in (run, run / "finetune/model", run / "score/offer"):
        assert predict.find_model(str(folder))[1] == columns
    assert predict.find_model(str((run / "score/offer").rename(tmp_path / "copy")))[1] == ["text"]


def test_a_run_by_its_configuration_takes_the_columns_that_it_was_made_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made = upstream.make_run(tmp_path)
    run = Run(load(made.argument, ["labelled.train=t.tsv", "labelled.text=[headline,text]"]), made.argument)
    assert run.config.labelled
    write_json(run.folder / "fetch/manifest.json", {"settings": {"labelled": run.config.labelled.model_dump()}})
    (run.folder / "finetune/model").mkdir(parents=True)
    for name in (made.argument, str(run.folder)):
        assert predict.find_model(name)[1] == ["headline", "text"], "the command line named them, not the file"


def test_half_a_character_in_one_document_stops_none_after_it(model: Path, tmp_path: Path, program: Program) -> None:
    (tmp_path / "t.jsonl").write_text('{"text": "ଧାନ \\ud83d"}\n{"text": "ଦଳ"}\n', "utf-8")
    ended = program("predict", str(model), "t.jsonl")
    assert ended.returncode == 0, ended.stderr
    assert [line.split("\t")[2] for line in ended.stdout.splitlines()] == ["ଧାନ \ufffd", "ଦଳ"]


def test_a_mistake_is_one_line_with_a_remedy(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    upstream.save_checkpoint(tmp_path / "mlm", "modernbert")
    (tmp_path / "t.tsv").write_text("id\tbody\n1\tx\n", "utf-8")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9\n")
    (tmp_path / "t.jsonl.gz").write_bytes(gzip.compress(b'{"text": "x"}\n'))
    (tmp_path / "empty").mkdir()
    capsys.readouterr()
    for arguments, message in (
        ((model, "missing.txt"), "--text"),
        ((model, "t.tsv"), "--column"),
        ((model, "latin.txt"), "not UTF-8"),
        ((model, "t.jsonl.gz"), "unpack it"),
        ((model, "empty"), "empty is a folder: "),
        (("mlm",), "no classifier"),
        (("empty",), "holds no model"),
        (("no/where",), "does not exist"),
        (("or",), "make finetune WIKI=or"),
    ):
        assert run(monkeypatch, *arguments) == 2, arguments
        printed = capsys.readouterr()
        assert printed.out == ""
        assert printed.err.count("\n") == 1, printed.err
        assert message in printed.err
