"""Run benchmarks and put what they print into docs/benchmarks.md.

    python -m benchmarks.write_tables text           the section of that name; others stay as they are
    python -m benchmarks.write_tables text --quick   on a small share of the data, and printed alone: does it all run?

A section of the page stands between `<!-- NAME -->` and `<!-- /NAME -->`. AKSHARA_DATA names the real corpora.
"""

import argparse
import os
import platform
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.data import DATA

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "benchmarks.md"

ODIA = "configs/or-local.yaml"
SECTIONS: dict[str, dict[str, tuple[str, ...]]] = {
    "text": {
        "Extraction": ("benchmarks.extract", f"{DATA}/dumps/hawiki-latest-pages-articles.xml.bz2", "ha"),
        "Filtering": ("benchmarks.filter",),
        "Tokenizers": ("benchmarks.tokenizer",),
        "Training a tokenizer on 100 MB": ("benchmarks.tokenizer", "--repeat", "100"),
    },
    "pretrain": {
        "The same seconds": ("benchmarks.pretrain", ODIA, "--seconds", "120", "--rounds", "3", "--judge"),
        "A sixth of the seconds": ("benchmarks.pretrain", ODIA, "--seconds", "200", "--plain-seconds", "1200"),
    },
    "scaling": {"Two processes": ("benchmarks.scaling", ODIA, "--rounds", "3")},
    "finetune": {"Beside transformers' Trainer": ("benchmarks.finetune", ODIA, "--rounds", "1")},
}
QUICK = {
    "Extraction": ("--copies", "2", "--rounds", "1"),
    "Filtering": ("--one-in", "40"),
    "Tokenizers": ("--one-in", "20"),
    "Training a tokenizer on 100 MB": ("--repeat", "2"),
    "The same seconds": ("--seconds", "20", "--rounds", "1"),
    "A sixth of the seconds": ("--seconds", "10", "--plain-seconds", "10"),
    "Two processes": ("--rounds", "1", "--steps", "2"),
    "Beside transformers' Trainer": ("--rounds", "1"),
}


def machine() -> str:
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text("utf-8"))
    return f"{os.cpu_count()} cores of {model[1] if model else platform.machine()}, Python {platform.python_version()}"


def section(name: str, quick: bool) -> str:
    parts = [f"Made on {datetime.now(UTC):%Y-%m-%d} by `make bench-{name}` on {machine()}; the machine is shared."]
    for title, command in SECTIONS[name].items():
        print(f"{title} ...", file=sys.stderr, flush=True)
        command = (*command, *(QUICK[title] if quick else ()))
        done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
        shown = " ".join(command).replace(str(DATA), "$AKSHARA_DATA")
        parts += [f"### {title}", f"`python -m {shown}`", done.stdout.strip()]
    return "\n\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("section", choices=SECTIONS)
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    made = section(arguments.section, arguments.quick)
    if arguments.quick:
        print(made)
        return
    begin, end = f"<!-- {arguments.section} -->", f"<!-- /{arguments.section} -->"
    before, rest = PAGE.read_text("utf-8").split(begin)
    PAGE.write_text(f"{before}{begin}\n{made}\n{end}{rest.split(end)[1]}", "utf-8")


if __name__ == "__main__":
    main()
