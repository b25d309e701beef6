"""Show what the demo run has made: a training example, figures, predictions, and where the report lies.

Reads the results of a finished run and writes ``runs/<run>/demo.txt``. Where nothing changed since, it only says so.
"""

import hashlib
import json
import unicodedata
from collections.abc import Iterator

from pipeline.artifacts import Run, ingredients, require_upstream
from pipeline.console import log
from pipeline.program import beside_main
from pipeline.recipe import LINE

UNSEEN = (  # written for this page: on the topics of the demo corpus, in none of its files
    "ଜୁଲାଇରେ ବର୍ଷା ଡେରି ହେବାରୁ ଚାଷୀମାନେ ଧାନ ରୁଆ ବନ୍ଦ ରଖି ବିଲରେ ବିରି ଓ ମୁଗ ବୁଣିଲେ।",
    "ଶେଷ ଓଭରରେ ଦୁଇଟି ଛକା ମାରି ଯୁବ ବ୍ୟାଟର ଜଣକ ନିଜ ଦଳକୁ ଫାଇନାଲ ଖେଳରେ ଜିତାଇଦେଲେ।",
    "ଜ୍ୱର ତିନି ଦିନରୁ ଅଧିକ ରହିଲେ ରକ୍ତ ପରୀକ୍ଷା କରି ଡାକ୍ତରଙ୍କ ପରାମର୍ଶ ନିଅନ୍ତୁ।",
)
EXAMPLE_TOKENS = 48
COLUMNS = 100
INDENT = 14


def show(run: Run) -> None:
    """Print the story of ``run`` and keep it, unless the one kept is of the same results."""
    require_upstream(LINE["report"], run)
    kept = run.folder / "demo.txt"
    key = results_digest(run)
    if not run.force and kept.exists() and kept.read_text("utf-8").endswith(f"\n{key}\n"):
        log.info("%s is up to date: nothing to do; the report is %s", kept, run.folder / "report" / "index.html")
        return
    story = "\n".join(tell(run))
    print(story)
    kept.write_text(f"{story}\n\n{key}\n", "utf-8")


def results_digest(run: Run) -> str:
    """A line that changes whenever a stage has run again."""
    manifests = json.dumps(ingredients(LINE["report"], run)["inputs"])
    return f"made from results {hashlib.sha256(manifests.encode()).hexdigest()}"


def tell(run: Run) -> Iterator[str]:
    # torch takes seconds to import: only where there is something new to tell
    from pipeline.reporting.examples import answers, masked_example
    from pipeline.reporting.gather import everything
    from pipeline.reporting.page import duration, percent, points
    from pipeline.transfer.classifier import quiet_transformers

    quiet_transformers()
    found = everything(run)
    seen, stood = masked_example(run, EXAMPLE_TOKENS)
    yield ""
    yield from row("Example", f"{run.config.pretrain.mask_rate:.0%} of the tokens hidden, as pretraining starts:")
    yield from row("", seen)
    yield from row("stood there", " · ".join(stood))
    yield ""
    measures = found["measures"]["this"]
    yield from row(
        "Tokenizer", f"{measures['vocabulary']:,} entries, {measures['fertility']:.2f} tokens a word on held-out text"
    )
    pretrain = found["pretrain"]
    losses = (
        f"loss {pretrain['first']:.2f} → {pretrain['last']:.2f} nats a hidden token, {pretrain['valid']:.2f} held out"
    )
    yield from row("Pretraining", f"{losses}; {pretrain['steps']:,} steps in {duration(pretrain['seconds'])}")
    yield ""
    scores = found["scores"]
    yield from row("Test", f"accuracy on {scores['test']['documents']} unseen documents, with 95 % intervals")
    for line in found["whiskers"]["rows"]:
        interval = f"{percent(line['low'])} to {percent(line['high'])}"
        yield from row("", f"{line['name']:32}{percent(line['mean']):>8}   {interval}")
    difference = scores["evidence"][scores["against"]]["difference"]
    gap = f"{points(difference['mean'])} points, {points(difference['low'])} to {points(difference['high'])}"
    judged = f"transfer is {scores['verdict']}: " if scores["verdict"] else ""
    yield from row("", f"{judged}against the best control {gap}")
    yield ""
    yield from row("Predictions", "on three new documents")
    for text, (label, probability) in zip(UNSEEN, answers(run.input("finetune/model"), list(UNSEEN)), strict=True):
        yield from row("", f"{label:13}{probability:.2f}  {text}")
    yield ""
    yield from row("Report", str(run.folder / "report" / "index.html"))


def row(name: str, text: str) -> Iterator[str]:
    """``text`` beside ``name``, broken between words to the width of the terminal's page."""
    line = ""
    for word in text.split(" "):
        if line and columns(f"{line} {word}") > COLUMNS - INDENT:
            yield f"{name:{INDENT}}{line}"
            name, line = "", word
        else:
            line = f"{line} {word}" if line else word
    yield f"{name:{INDENT}}{line}"


def columns(text: str) -> int:
    """How many columns of a terminal ``text`` takes: none for marks, two for wide characters."""
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return wide + sum(unicodedata.category(character) not in ("Mn", "Me", "Cf") for character in text)


if __name__ == "__main__":
    beside_main("demo", show)
