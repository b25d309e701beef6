"""Classify new documents with a finished model.

Reads texts from a file (.txt: one document a line; .jsonl, .tsv, .csv, .parquet: a column), from stdin or from the
command line. Texts are brought into the form of the corpus, as the labelled documents were. Prints
``label<TAB>probability<TAB>start of the text``, a line a document, or JSON lines. Where documents may have several
labels, those with a probability of a half or more, with ``|`` between them.
"""

import argparse
import io
import json
import os
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from pipeline import config
from pipeline.artifacts import Run, read_manifest
from pipeline.errors import UsageError
from pipeline.program import guarded
from pipeline.text.labelled import READERS
from pipeline.text.unicode import normalize

AT_ONCE = 256  # documents, sorted by length and read in batches
START = 60  # characters of a text to show


def main() -> None:
    parser = argparse.ArgumentParser("python -m pipeline.predict", description="Classify new documents.")
    parser.add_argument("model", help="a run (its YAML file or Wikipedia code), or a folder with a model")
    parser.add_argument(
        "file",
        nargs="?",
        default="-",
        help=f".txt with a document a line, a table ({', '.join(READERS)}), or - for lines on stdin (the default)",
    )
    parser.add_argument("--text", action="append", help="classify this text, in place of a file; may be repeated")
    parser.add_argument("--column", action="append", help="column of a table; default: the run's, or `text`")
    parser.add_argument("--json", action="store_true", help="print JSON lines, with the probability of every class")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    arguments = parser.parse_args()
    guarded(lambda: classify_all(arguments), debug=arguments.debug)


def classify_all(arguments: argparse.Namespace) -> None:
    folder, columns = find_model(arguments.model)
    documents = iter(arguments.text or read_texts(arguments.file, arguments.column or columns))
    first = list(islice(documents, AT_ONCE))  # what is wrong with the input shows before libraries take their time
    from pipeline.metrics.decisions import decided, names
    from pipeline.training.processes import processes
    from pipeline.transfer.classifier import quiet_transformers
    from pipeline.transfer.shipped import classify, load

    quiet_transformers()
    classifier, accelerator = load(folder), processes()
    texts = first
    assert isinstance(sys.stdout, io.TextIOWrapper)
    sys.stdout.reconfigure(encoding="utf-8", errors="replace")  # an argument may hold bytes that are no UTF-8
    try:
        while texts:
            probabilities = classify(accelerator, classifier, [normalize(text) for text in texts])
            for text, row, decision in zip(
                texts, probabilities.tolist(), decided(probabilities, multi_label=classifier.multi_label), strict=True
            ):
                answer, by_label = names(decision, classifier.labels), dict(zip(classifier.labels, row, strict=True))
                print(_line(text, answer, by_label, as_json=arguments.json))
            sys.stdout.flush()
            texts = list(islice(documents, AT_ONCE))
    except BrokenPipeError:  # whoever read us has had enough, e.g. `head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def find_model(name: str) -> tuple[Path, list[str]]:
    """The folder of the model that ``name`` means, and the columns of a document's text in its run's tables."""
    if Path(name).is_dir():
        inside = Path(name, "finetune", "model")
        return (inside if inside.is_dir() else Path(name)), _columns(_labelled_of(Path(name)))
    if not name.endswith((".yaml", ".yml")) and len(Path(name).parts) > 1:
        raise UsageError(f"{name} does not exist: name a run (configs/or.yaml, or) or a folder with a model")
    run = Run(config.load(name), name)
    folder = run.input("finetune/model")
    if not folder.is_dir():
        raise UsageError(f"{folder} is missing: run `{run.command('finetune')}`")
    return folder, _columns(_labelled_of(folder))


def _labelled_of(folder: Path) -> dict[str, Any] | None:
    """The labelled documents' settings of the run that ``folder`` lies in, as its fetch stage had them, if any."""
    whole = folder.resolve()
    fetched = next(filter(None, (read_manifest(above / "fetch") for above in (whole, *whole.parents))), None)
    labelled: dict[str, Any] | None = fetched and fetched["settings"]["labelled"]
    return labelled


def _columns(labelled: dict[str, Any] | None) -> list[str]:
    given = labelled["text"] if labelled else "text"
    return [given] if isinstance(given, str) else list(given)


def read_texts(name: str, columns: list[str]) -> Iterable[str]:
    """The documents of a file or of stdin, in their order; empty lines are passed over."""
    path = Path(name)
    if name == "-":
        return _lines(sys.stdin.buffer, "stdin")
    if path.is_dir():
        raise UsageError(f"{path} is a folder: name a file in it, or pipe in its lines: cat {path}/*.txt |")
    if not path.is_file():
        raise UsageError(f"{path} does not exist: name a file, - for stdin, or give the text itself with --text")
    read = READERS.get(path.suffix.lower())
    if not read:
        return _file_lines(path)
    header, rows = read(path)
    missing = [column for column in columns if column not in header]
    if missing:
        raise UsageError(f"{path} has no column `{missing[0]}`, only {', '.join(header)}: name one with --column")
    return ["\n".join(row[header.index(column)] for column in columns) for row in rows]


def _file_lines(path: Path) -> Iterator[str]:
    with path.open("rb") as file:
        yield from _lines(file, str(path))


def _lines(file: Iterable[bytes], name: str) -> Iterator[str]:
    for number, line in enumerate(file, start=1):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
        except UnicodeDecodeError as error:
            raise UsageError(
                f"{name}, line {number}, is not UTF-8: unpack it, or convert it, e.g. with `iconv`"
            ) from error
        if text:
            yield text


def _line(text: str, answer: str | list[str], probabilities: dict[str, float], *, as_json: bool) -> str:
    if as_json:
        rounded = {name: round(p, 6) for name, p in probabilities.items()}
        return json.dumps({"label": answer, "probabilities": rounded, "text": text}, ensure_ascii=False)
    given = [answer] if isinstance(answer, str) else answer
    shown = "|".join(f"{probabilities[label]:.3f}" for label in given)
    return f"{'|'.join(given)}\t{shown}\t{' '.join(text.split())[:START]}"


if __name__ == "__main__":
    main()
