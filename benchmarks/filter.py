"""What the filter finds in real corpora, and how fast: prints the tables of docs/benchmarks.md.

    python -m benchmarks.filter [--one-in N]

Reads the corpora in AKSHARA_DATA, or every Nth document of them. The labelled mixtures are
made from SIB-200, whose sentences are known to be in one language each.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import chdir
from itertools import islice
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from articles import articles

from benchmarks.data import DATA
from pipeline.artifacts import Run
from pipeline.config import Config
from pipeline.filter import work
from pipeline.text import contamination, duplicates, language, script, sieve, stubs
from pipeline.text.documents import Document, read_jsonl, write_jsonl
from pipeline.text.judge import Judge


def sentences(code: str) -> list[str]:
    files = sorted((DATA / "classification/sib200" / code).glob("*.tsv"))
    return [line.split("\t")[2] for file in files for line in file.read_text("utf-8").splitlines()[1:]]


def documents(name: str, one_in: int) -> Iterator[Document]:
    """Every ``one_in``th document of a corpus."""
    path = DATA / "corpora" / name
    lines = ({"text": line} for line in path.read_text("utf-8").splitlines()) if path.suffix == ".txt" else None
    rows = islice(lines or read_jsonl(path), 0, None, one_in)
    return ({"title": "", "id": str(number), "source": path.stem, **row} for number, row in enumerate(rows))


def language_table() -> None:
    """Precision and recall of the check with no model, on mixtures whose languages are known."""
    print("| mostly | among it | paragraphs | found | precision | recall | wrongly dropped |")
    print("|---|---|---|---|---|---|---|")
    for own, other, part in [
        ("hau_Latn", "som_Latn", 1 / 6),
        ("som_Latn", "hau_Latn", 1 / 6),
        ("hau_Latn", "som_Latn", 1 / 50),
        ("som_Latn", "hau_Latn", 1 / 50),
        ("hau_Latn", "som_Latn", 0),
        ("som_Latn", "hau_Latn", 0),
        ("ory_Orya", "hau_Latn", 0),
    ]:
        native = sentences(own)
        foreign = sentences(other)[: int(len(native) * part)]
        judge = language.learn_foreign([*native, *foreign])
        wrong, right = sum(judge(native)), sum(judge(foreign))
        precision = f"{right / (right + wrong):.3f}" if right + wrong else "–"
        recall = f"{right / len(foreign):.3f}" if foreign else "–"
        print(
            f"| {own} | {other} | {len(native)} + {len(foreign)} | {right + wrong} | {precision} | {recall} "
            f"| {wrong / len(native):.2%} |"
        )


def stubs_table(one_in: int) -> None:
    """Articles that are one sentence pattern with other values, among what the steps before leave of each source."""
    print("| corpus | articles | words | taken as stubs | their words |")
    print("|---|---|---|---|---|")
    sources: dict[str, tuple[str, Iterator[tuple[str, str]]]] = {}
    for code in ("ha", "ig"):
        found = articles(DATA / f"dumps/{code}wiki-latest-pages-articles.xml.bz2", code)
        sources[f"{code}wiki, dump of 2015"] = code, ((page.title, article.text) for page, article, _ in found)
    for code, name in (("or", "or_wikipedia_partial"), ("so", "so_wikipedia_20250901"), ("or", "or_bible_irv")):
        rows = documents(f"{name}.jsonl", one_in)
        sources[name] = code, ((row["title"] or row["id"], row["text"]) for row in rows)
    for name, (code, texts) in sources.items():
        before = steps(code, "ory_Orya")
        judges = [before[step]([]) for step in ("script", "duplicate")]
        judge, read, taken = stubs.stub_judge(10), Counter[str](), Counter[str]()
        for title, text in texts:
            paragraphs = sieve.split_paragraphs(text)[0]
            for earlier in judges:
                paragraphs = [p for p, out in zip(paragraphs, earlier(paragraphs), strict=True) if not out]
            size = sieve.size(paragraphs)
            read += size
            taken += size if judge(["\n".join([title, *paragraphs])])[0] else Counter()
        cells = (read["documents"], read["words"], taken["documents"], taken["words"])
        print(f"| {name} | " + " | ".join(f"{number:,}" for number in cells) + " |", flush=True)


def steps(code: str, labelled: str) -> dict[str, Callable[[list[str]], Judge]]:
    scripts = script.expected_scripts(code)
    return {
        "script": lambda _: Judge(lambda texts: [script.script_share(text, scripts) < 0.5 for text in texts]),
        "duplicate": lambda _: duplicates.exact_duplicates(duplicates.MIN_WORDS),
        "language": language.learn_foreign,
        "near_duplicate": lambda _: duplicates.near_duplicates(),
        "contamination": lambda _: contamination.learn_contamination(sentences(labelled)),
    }


def steps_table(corpora: dict[str, tuple[str, str]], one_in: int) -> None:
    """Paragraphs that each step takes, and its speed on one core (CPU time, of learning and judging)."""
    print("| corpus | MB | step | paragraphs taken | MB/s |")
    print("|---|---|---|---|---|")
    for name, (code, labelled) in corpora.items():
        texts = [row["text"] for row in documents(name, one_in)]
        megabytes = sum(len(text.encode()) for text in texts) / 1e6

        def print_row(
            step: str, taken: int, of: int, began: float, *, name: str = name, megabytes: float = megabytes
        ) -> None:
            speed = megabytes / (time.process_time() - began)
            print(f"| {name} | {megabytes:.1f} | {step} | {taken:,} of {of:,} | {speed:.1f} |", flush=True)

        began = time.process_time()
        split = [sieve.split_paragraphs(text) for text in texts]
        paragraphs = [paragraph for found, _ in split for paragraph in found]
        print_row("mend (texts repaired)", sum(bool(made) for _, made in split), len(texts), began)
        for step, learn in steps(code, labelled).items():
            began = time.process_time()
            judge = learn(paragraphs)
            verdicts = [v for i in range(0, len(paragraphs), 1000) for v in judge(paragraphs[i : i + 1000])]
            print_row(step, sum(verdicts), len(verdicts), began)
            paragraphs = [text for text, out in zip(paragraphs, verdicts, strict=True) if not out]


def stage_table(name: str, code: str, one_in: int) -> None:
    """The whole stage on a corpus, by the clock, with one process and with two."""
    print("| corpus | MB | workers | seconds | MB/s |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        for part in ("extract", "fetch", "filter.part"):
            Path("runs/benchmark", part).mkdir(parents=True)
        extracted = Path("runs/benchmark/extract", f"{name}.jsonl")
        write_jsonl(extracted, documents(f"{name}.jsonl", one_in))
        Path("runs/benchmark/fetch/weights.json").write_text(f'{{"{name}": 1.0}}')
        megabytes = extracted.stat().st_size / 1e6
        for workers in (1, 2):
            settings = Config.model_validate(
                {"run": "benchmark", "language": code, "filter": {"workers": workers}, "labelled": None}
            )
            began = time.perf_counter()
            work(Run(settings, ""), Path("runs/benchmark/filter.part"))
            seconds = time.perf_counter() - began
            print(f"| {name} | {megabytes:.1f} | {workers} | {seconds:.1f} | {megabytes / seconds:.2f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--one-in", type=int, default=1, metavar="N")
    one_in = parser.parse_args().one_in
    language_table()
    print()
    stubs_table(one_in)
    print()
    steps_table(
        {
            "or_wikipedia_partial.jsonl": ("or", "ory_Orya"),
            "or_bible_irv.jsonl": ("or", "ory_Orya"),
            "or_parallel_side.txt": ("or", "ory_Orya"),
            "so_wikipedia_20250901.jsonl": ("so", "som_Latn"),
        },
        one_in,
    )
    print()
    stage_table("so_wikipedia_20250901", "so", one_in)


if __name__ == "__main__":
    main()
