"""Run benchmarks and put what they print into docs/benchmarks.md.

    python -m benchmarks.write_tables text        the section of that name; others stay as they are

A section of the page stands between `<!-- NAME -->` and `<!-- /NAME -->`. AKSHARA_DATA names the real corpora.
"""

import os
import platform
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "benchmarks.md"
DATA = Path(os.environ.get("AKSHARA_DATA", ROOT.parent / "shared" / "data"))

SECTIONS = {
    "text": {
        "Extraction": ("benchmarks.extract", f"{DATA}/dumps/hawiki-latest-pages-articles.xml.bz2", "ha"),
        "Filtering": ("benchmarks.filter",),
        "Tokenizers": ("benchmarks.tokenizer",),
        "Training a tokenizer on 100 MB": ("benchmarks.tokenizer", "bpe", "sentencepiece-unigram", "--repeat", "100"),
    },
}


def machine() -> str:
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text("utf-8"))
    return f"{os.cpu_count()} cores of {model[1] if model else platform.machine()}, Python {platform.python_version()}"


def section(name: str) -> str:
    parts = [f"Made on {datetime.now(UTC):%Y-%m-%d} by `make bench-{name}` on {machine()}; the machine is shared."]
    for title, command in SECTIONS[name].items():
        print(f"{title} ...", file=sys.stderr, flush=True)
        done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
        shown = " ".join(command).replace(str(DATA), "$AKSHARA_DATA")
        parts += [f"### {title}", f"`python -m {shown}`", done.stdout.strip()]
    return "\n\n".join(parts)


def main() -> None:
    for name in sys.argv[1:]:
        begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        made = section(name)
        before, _, rest = PAGE.read_text("utf-8").partition(begin)
        PAGE.write_text(f"{before}{begin}\n{made}\n{end}{rest.partition(end)[2]}", "utf-8")


if __name__ == "__main__":
    main()
