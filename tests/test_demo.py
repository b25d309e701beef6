"""The demo: it tells what the run made, once, and then only that nothing changed."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from finished_run import CLASSES, SENTENCES, results
from test_report import finish, write_files
from tokenizers import Tokenizer
from transformers import BertConfig, BertForSequenceClassification

from pipeline import artifacts, config, demo
from pipeline.artifacts import Run
from pipeline.reporting.examples import masked_example, spelled
from pipeline.text.encoded import blocks, encode
from pipeline.text.tokenization import count_words, save, train

SETTINGS = (
    "run: shown\nlanguage: or\ncorpus: {dump: null}\nlabelled: null\npretrain: {max_steps: 9, length_tokens: 32}\n"
)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A finished run with a real tokenizer, real encoded text and an untrained classifier."""
    monkeypatch.chdir(tmp_path)
    Path("shown.yaml").write_text(SETTINGS, "utf-8")
    run = Run(config.load("shown.yaml"), "shown.yaml")
    words, _ = count_words(SENTENCES * 30)
    tokenizer = train(words, "unigram", 400)
    made = results() | {"report": ({}, {"index.html": {}})}

    def fill(part: Path, name: str) -> None:
        write_files(part, made[name][1])
        if name == "tokenizer":
            save(tokenizer, part)
        if name == "encode":
            encode(SENTENCES * 4, Tokenizer.from_file(str(run.input("tokenizer/tokenizer.json"))), part, "train")
        if name == "finetune":
            small_classifier(part / "model", tokenizer)

    for name, (counts, _) in made.items():
        finish(run, name, lambda part, name=name: fill(part, name), counts)  # type: ignore[misc]
    return run


def small_classifier(folder: Path, tokenizer: Tokenizer) -> None:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {
        "hidden_size": 16,
        "num_attention_heads": 2,
        "num_hidden_layers": 1,
        "intermediate_size": 16,
    }
    labels = dict(enumerate(CLASSES))
    shape = BertConfig(vocab_size=tokenizer.get_vocab_size(), id2label=labels, num_labels=len(labels), **sizes)
    BertForSequenceClassification(shape).save_pretrained(folder)
    save(tokenizer, folder)


def test_it_tells_once_and_again_when_a_stage_has_run_again(
    run: Run, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    demo.show(run)
    printed = capsys.readouterr().out
    for expected in (
        "▁▁",
        "1.62 tokens a word",
        "8.12 → 4.72",
        "82.0",
        "72.0",
        "word vectors + linear classifier",
        "neutral",
        *demo.UNSEEN,
        "report/index.html",
    ):
        assert expected in printed.replace("\N{NO-BREAK SPACE}", " "), expected
    assert len(printed.splitlines()) <= 40
    assert max(demo.columns(line) for line in printed.splitlines()) <= demo.COLUMNS

    with caplog.at_level(logging.INFO):
        demo.show(run)
    assert capsys.readouterr().out == ""
    assert "nothing to do" in caplog.text

    manifest = run.folder / "score" / artifacts.MANIFEST
    manifest.write_text(json.dumps({**json.loads(manifest.read_text("utf-8")), "seconds": 13}), "utf-8")
    demo.show(run)
    assert capsys.readouterr().out == printed

    (run.folder / "demo.txt").write_text("")  # by a disk that was full
    demo.show(run)
    assert capsys.readouterr().out == printed


def test_what_stood_there_mends_the_example(run: Run) -> None:
    tokens = 24
    shown, stood = masked_example(run, tokens)
    assert len(stood) > 2
    tokenizer = Tokenizer.from_file(str(run.input("tokenizer/tokenizer.json")))
    original = tokenizer.decode(
        blocks(run.input("encode"), "train", 32)[0][:tokens].tolist(), skip_special_tokens=False
    )
    mended, rest = "", shown
    for piece in stood:
        before, rest = cut_at_hidden(rest)
        mended += before + piece.replace("␣", " ")
    assert "".join((mended + rest).split()) == "".join(original.split())


def cut_at_hidden(text: str) -> tuple[str, str]:
    """``text`` before and after its first hidden token."""
    mask, bracket = text.find("▁▁"), text.find("[")
    while bracket >= 0 and text.startswith("[SEP]", bracket):
        bracket = text.find("[", bracket + 1)
    if bracket < 0 or 0 <= mask < bracket:
        return text[:mask], text[mask + 2 :]
    return text[:bracket], text[text.index("]", bracket) + 1 :]


def test_pieces_join_to_the_text(run: Run) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(run.input("tokenizer"))
    ids = tokenizer(SENTENCES[1], add_special_tokens=False)["input_ids"]
    assert "".join(spelled(tokenizer, ids)) == f" {SENTENCES[1]}"


def test_marks_take_no_column_and_wide_letters_two() -> None:
    assert demo.columns("e\u0301") == 1
    assert demo.columns("漢字") == 4
    assert demo.columns("କି") == 1


def test_rows_break_between_words() -> None:
    lines = list(demo.row("Name", " ".join(["word"] * 40)))
    assert lines[0].startswith("Name ")
    assert all(line.startswith(" " * demo.INDENT) for line in lines[1:])
    assert all(demo.columns(line) <= demo.COLUMNS for line in lines)
    assert sum(line.count("word") for line in lines) == 40
