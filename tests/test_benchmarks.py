"""The benchmarks run from end to end, on a small share of the real data."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT


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
