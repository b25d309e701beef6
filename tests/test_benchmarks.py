"""The benchmarks run from end to end, on a small share of the real data."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import upstream
from conftest import OFFLINE, ROOT

from benchmarks import strategies
from benchmarks.flops import HIDDEN_SHARE
from benchmarks.write_tables import SECTIONS
from pipeline.transfer.subsets import network_probabilities


@pytest.mark.parametrize("name", SECTIONS)
def test_what_a_command_makes_is_what_stands_in_its_section_of_the_page(name: str) -> None:
    page = (ROOT / "docs/benchmarks.md").read_text("utf-8")
    section = page.split(f"<!-- {name} -->")[1].split(f"<!-- /{name} -->")[0]
    assert re.findall("^### (.*)", section, re.MULTILINE) == [*SECTIONS[name]]


@pytest.mark.slow
def test_the_tables_of_text_are_made_by_one_command(akshara_data: Path) -> None:
    page = (ROOT / "docs/benchmarks.md").read_bytes()
    made = subprocess.run(
        [sys.executable, "-m", "benchmarks.write_tables", "text", "--quick"],
        cwd=ROOT,
        env={**os.environ, "AKSHARA_DATA": str(akshara_data)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout
    assert (ROOT / "docs/benchmarks.md").read_bytes() == page
    for row in (
        *("Akshara, workers=2", "mwparserfromhell strip_code"),
        *("hau_Latn", "or_bible_irv", "contamination", "so_wikipedia_20250901"),
        *("unigram", "bpe", "wordpiece", "sentencepiece-unigram", "sentencepiece-bpe"),
    ):
        assert f"| {row} | " in made, row


def test_strategies_are_compared_on_documents_left_out_and_test_stays_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    run = upstream.make_run(tmp_path, "bert")
    run.input("fetch/labelled/test.jsonl").write_text("whoever reads this fails", "utf-8")
    trained: list[tuple[str, int, int]] = []

    def counting(bench: Any, kind: str, seed: int) -> Any:
        trained.append((bench.settings.strategy, len(bench.splits["train"].ids), len(bench.splits["dev"].ids)))
        return network_probabilities(
            bench._replace(settings=bench.settings.model_copy(update={"epochs": 1})), kind, seed
        )

    monkeypatch.setattr(strategies, "network_probabilities", counting)
    monkeypatch.setattr(sys, "argv", ["strategies", run.argument])
    strategies.main()
    networks = ("full", "last_layers", "head_then_all", "gradual", "lora", "scratch")
    assert [name for name, _, _ in trained] == [*networks] * 5, "hybrid and auto take the network of full"
    assert {train + left_out for _, train, left_out in trained} == {81}
    assert sum(left_out for name, _, left_out in trained if name == "full") == 81, "each document once"
    table = capsys.readouterr().out
    assert table.count("\n| `") == len(strategies.ALL)
    assert "–" not in table
    rows = [json.loads(line) for line in (tmp_path / "runs/strategies" / f"{run.folder.name}.jsonl").open()]
    assert len(rows) == 5 * len(strategies.ALL)
    means = {
        name: 20 * sum(row["accuracy"] for row in rows if row["strategy"] == name) for name in ("features", "tfidf_svm")
    }
    assert means["tfidf_svm"] > 80, "the words of a class stand in its documents"
    assert f"| `features` | {means['features']:.1f} ± " in table
    strategies.main()
    assert len(trained) == 5 * len(networks), "what has been measured is kept"
    assert capsys.readouterr().out == table


def test_utilisation_is_measured_of_whatever_there_is(tmp_path: Path) -> None:
    for part in ("corpora/demo", "configs"):
        shutil.copytree(ROOT / part, tmp_path / part)
    shape = ["--size", "tiny", "--length", "64", "--step-tokens", "1024", "--steps", "4"]
    settings = ["pretrain.compile=never", "pretrain.start=random"]
    printed = subprocess.run(
        [sys.executable, "-m", "benchmarks.utilisation", "configs/demo.yaml", *settings, *shape],
        cwd=tmp_path,
        env={**os.environ, **OFFLINE, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout
    figures = re.search(r"2 layers × 128, blocks of 64, on .*: ([\d,]+) tokens/s,\n([\d.e-]+) TFLOP/s of", printed)
    assert figures, printed
    speed, rate = (float(each.replace(",", "")) for each in figures.groups())
    weights = 2 * 4 * 128**2 + (1 + HIDDEN_SHARE) * 3 * 128 * 192 + HIDDEN_SHARE * (128**2 + 128 * 2048)
    assert rate * 1e12 / speed == pytest.approx(6 * (weights + 2 * 2 * 64 * 128), rel=0.01)
