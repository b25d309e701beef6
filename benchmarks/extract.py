"""Extraction beside its peers: speed, memory, residue and amount of text on one dump; speed and memory on a large one.

    python -m benchmarks.extract DUMP.xml.bz2 LANGUAGE [--copies 60]

Peers: mwparserfromhell's plain ``strip_code`` on every article, and WikiExtractor where it is installed
(``pip install wikiextractor==3.1.0``). Each runs in a process of its own, from the packed dump to JSON lines. CPU time
is that of the program and of the processes that it waited for: where its workers outlive it, only the clock is given,
which counts what else the machine does. The large dump is the same pages, ``--copies`` times, as a multistream file.
Figures are medians of ``--rounds`` rounds, in which all take turns.
"""

import argparse
import bz2
import importlib.util
import json
import math
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from residue import residue

STRIP_CODE = """
import bz2, json, sys
import mwparserfromhell
from lxml import etree
with bz2.open(sys.argv[1]) as dump, open(sys.argv[2], "w", encoding="utf-8") as out:
    for _, page in etree.iterparse(dump, tag="{*}page"):
        if page.findtext("{*}ns") == "0" and page.find("{*}redirect") is None:
            text = mwparserfromhell.parse(page.findtext("{*}revision/{*}text") or "").strip_code()
            out.write(json.dumps({"text": text}, ensure_ascii=False) + "\\n")
        page.clear()
"""
OURS = """
import sys
from pathlib import Path
import pipeline.extract as extract
from pipeline.artifacts import Run
from pipeline.config import Config
if __name__ == "__main__":
    config = Config(run=".", language=sys.argv[3], extract={"workers": sys.argv[4]})
    class Here(Run):
        folder = Path(sys.argv[1])
    extract.work(Here(config, ""), Path(sys.argv[2]))
"""


def measure(command: list[str], read: Callable[[], list[str]], megabytes: float) -> dict[str, float]:
    """Run ``command``; ``read`` then gives the texts that it wrote."""
    began, cpu = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    largest = 0
    while process.poll() is None:
        clock = time.perf_counter()
        largest = max(largest, memory(process.pid))
        time.sleep(max(0.02, 50 * (time.perf_counter() - clock)))  # looking takes time from a core, too: 2 % at most
    seconds = time.perf_counter() - began
    if process.returncode:
        raise SystemExit(f"{command[:3]} failed with {process.returncode}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)  # but for processes of the program that outlive it
    cpu_seconds = after.ru_utime + after.ru_stime - cpu.ru_utime - cpu.ru_stime
    texts = read()
    return {
        "MB/CPU s": megabytes / cpu_seconds,
        "MB/s": megabytes / seconds,
        "seconds": seconds,
        "peak MB": largest / 1e6,
        "text MB": sum(len(text.encode()) for text in texts) / 1e6,
        "words": sum(len(text.split()) for text in texts),
        "residue": sum(1 for text in texts for _ in residue(text)),
    }


def memory(pid: int) -> int:
    """Bytes that a process and its descendants hold, each page of memory counted once (PSS)."""
    total = 0
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += 1024 * int(line.split()[1])
        for task in Path(f"/proc/{pid}/task").iterdir():
            total += sum(memory(int(child)) for child in (task / "children").read_text().split())
    except (FileNotFoundError, ProcessLookupError):
        pass  # it has just ended
    return total


def texts(folder: Path, pattern: str) -> list[str]:
    return [json.loads(line)["text"] for file in sorted(folder.glob(pattern)) for line in file.open(encoding="utf-8")]


def repeated(dump: Path, copies: int, target: Path) -> float:
    """Write a multistream dump of the same pages ``copies`` times; its size as XML in MB."""
    xml = bz2.decompress(dump.read_bytes())
    begin, end = xml.index(b"<page>"), xml.rindex(b"</page>") + len(b"</page>")
    head, pages, tail = (bz2.compress(part) for part in (xml[:begin], xml[begin:end] + b"\n", xml[end:]))
    with target.open("wb") as file:
        file.writelines([head, *[pages] * copies, tail])
    return (len(xml) + (copies - 1) * (end - begin)) / 1e6


def ours(dump: Path, language: str, workers: int, folder: Path, megabytes: float) -> dict[str, float]:
    (folder / "fetch").mkdir(parents=True)
    (out := folder / "extract").mkdir()
    source = {"name": "dump", "kind": "dump", "path": str(dump), "sha256": ""}
    (folder / "fetch/sources.json").write_text(json.dumps([source]))
    (folder / "ours.py").write_text(OURS)
    os.environ["PYTHONPATH"] = str(Path(__file__).parents[1])
    command = [sys.executable, str(folder / "ours.py"), str(folder), str(out), language, str(workers)]
    row = measure(command, lambda: texts(out, "*.jsonl"), megabytes)
    return row if workers == 1 else row | {"MB/CPU s": math.nan}  # its workers outlive it


def turn(dump: Path, language: str, copies: int, folder: Path) -> Iterator[tuple[str, dict[str, float]]]:
    """Every program once, on the dump and on the large one."""
    megabytes = len(bz2.decompress(dump.read_bytes())) / 1e6
    for workers in (1, 2):
        yield f"Akshara, workers={workers}", ours(dump, language, workers, folder / f"{workers}", megabytes)
    plain = folder / "strip_code.jsonl"
    command = [sys.executable, "-c", STRIP_CODE, str(dump), str(plain)]
    yield "mwparserfromhell strip_code", measure(command, lambda: texts(folder, plain.name), megabytes)
    if importlib.util.find_spec("wikiextractor"):
        command = [sys.executable, "-m", "wikiextractor.WikiExtractor", "--json", "--no-templates", "-q"]
        command += ["--processes", "1", "-o", str(folder / "wikiextractor"), str(dump)]
        yield "WikiExtractor, processes=1", measure(command, lambda: texts(folder / "wikiextractor", "*/*"), megabytes)
    large = folder / "large.xml.bz2"
    megabytes = repeated(dump, copies, large)
    for workers in (1, 2):
        yield (
            f"Akshara, {megabytes:,.0f} MB of XML, workers={workers}",
            ours(large, language, workers, folder / f"large{workers}", megabytes),
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dump", type=Path)
    parser.add_argument("language")
    parser.add_argument("--copies", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    dump = arguments.dump.resolve()
    rows: defaultdict[str, list[dict[str, float]]] = defaultdict(list)
    for _ in range(arguments.rounds):
        with tempfile.TemporaryDirectory() as name:
            for label, row in turn(dump, arguments.language, arguments.copies, Path(name)):
                rows[label].append(row)
    columns = next(iter(rows.values()))[0]
    print(f"| {dump.name} | " + " | ".join(columns) + " |")
    print("|---|" + "---:|" * len(columns))
    for label, rounds in rows.items():
        figures = [statistics.median(values) for values in zip(*(row.values() for row in rounds), strict=True)]
        print(f"| {label} | " + " | ".join(shown(figure) for figure in figures) + " |")


def shown(figure: float) -> str:
    if math.isnan(figure):
        return "–"
    return f"{figure:,.2f}" if figure < 1000 and figure % 1 else f"{figure:,.0f}"


if __name__ == "__main__":
    main()
