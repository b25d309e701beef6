"""Get what a run starts from: check the user's own files, then download what is missing.

Reads: the files that ``corpus`` and ``labelled`` name, and the network for a published dump or `datasets` name.
Writes: ``sources.json`` (a list of ``name``, ``kind`` (dump, text, jsonl or dataset), ``path``, ``sha256`` and, for a
download, ``url`` and ``date``), ``weights.json`` (by name: apart, so that a change of one extracts nothing anew) and
``labelled/{train,dev,test}.jsonl`` (``id``, ``text``, ``label``: one or a list), with ``labelled/order.json`` where
classes have one.
Downloads lie in ``corpora/<language>/``, where all runs of that language find them.
"""

import hashlib
import json
import re
import shlex
from collections import Counter
from pathlib import Path
from typing import Any

from pipeline import artifacts
from pipeline.artifacts import Run
from pipeline.config import Config
from pipeline.console import log
from pipeline.errors import UsageError
from pipeline.program import stage_main
from pipeline.text import labelled, labelled_checks, sources, wikipedias
from pipeline.text.documents import Document, write_jsonl
from pipeline.text.download import download_dump, dump_url

Source = dict[str, Any]


def work(run: Run, out: Path) -> dict[str, Any]:
    config = run.config
    corpora = own_corpora(config)  # all that lies on this machine is looked at before anything is downloaded
    splits, faults = labelled_splits(config)
    if downloads_dump(config):
        corpora = [fetched_dump(run) or published_dump(config), *corpora]

    (out / "labelled").mkdir()
    for role, rows in splits.items():
        write_jsonl(out / "labelled" / f"{role}.jsonl", rows)
    if splits and config.labelled and config.labelled.order:
        artifacts.write_json(out / "labelled" / "order.json", config.labelled.order)
    if splits and config.labelled and config.labelled.as_corpus:
        corpora.append(labelled_corpus(run, out))
    for corpus in corpora:
        log.info("fetch: %s %s, weight %g", corpus["kind"], corpus["path"], corpus["weight"])
    artifacts.write_json(out / "weights.json", {corpus["name"]: corpus.pop("weight") for corpus in corpora})
    artifacts.write_json(out / "sources.json", corpora)
    return {
        "sources": corpora,
        "labelled": {role: {"documents": len(rows), "classes": class_sizes(rows)} for role, rows in splits.items()},
        "labelled_faults": faults,
    }


def downloads_dump(config: Config) -> bool:
    return config.corpus.dump is not None and wikipedias.is_published(config.corpus.dump)


def own_corpora(config: Config) -> list[Source]:
    """The corpora that lie on this machine. UsageError: one is missing or not what it should be, or there is none."""
    corpus = config.corpus
    as_corpus = config.labelled is not None and config.labelled.as_corpus
    if corpus.dump is None and not corpus.extra and not as_corpus:
        raise UsageError("there is no corpus: set corpus.dump (latest, a date or a path) or corpus.extra")
    found: list[tuple[str, str, Path, float]] = []
    names = Counter(["labelled"] * as_corpus)
    prefix = wikipedias.dump_prefix(config.language)
    if downloads_dump(config):
        wikipedias.require_wikipedia(config.language)
        names[prefix] = 1
    else:
        wikipedias.require_language(config.language)
        if corpus.dump:
            path = Path(corpus.dump)
            sources.require_dump(path)
            found.append((prefix, "dump", path, 1.0))
    for extra in corpus.extra:
        for match in artifacts.matches(extra.path):
            found += [(path.name.split(".")[0], kind, path, extra.weight) for kind, path in sources.corpora_in(match)]
    return [
        {
            "name": unique(re.sub(r"[^\w-]+", "_", name) or "corpus", names),
            "kind": kind,
            "path": str(path),
            "sha256": digest(path),
            "weight": weight,
        }
        for name, kind, path, weight in found
    ]


def labelled_corpus(run: Run, out: Path) -> Source:
    """The labelled set's train documents as a corpus: of their fields extract reads the text alone."""
    file = "labelled/train.jsonl"
    path = run.input(f"fetch/{file}")
    return {"name": "labelled", "kind": "jsonl", "path": str(path), "sha256": digest(out / file), "weight": 1.0}


def unique(name: str, taken: Counter[str]) -> str:
    """``name``, or ``name-2``, ``name-3`` ... where it is taken."""
    taken[name] += 1
    return name if taken[name] == 1 else unique(f"{name}-{taken[name]}", taken)


def digest(path: Path) -> str:
    """SHA-256 of a file; of a folder, over the names and digests of the files in it."""
    if path.is_file():
        return artifacts.sha256(path)
    listing = [f"{artifacts.sha256(file)}  {file.relative_to(path)}\n" for file in artifacts.files_below(path)]
    return hashlib.sha256("".join(listing).encode()).hexdigest()


def fetched_dump(run: Run) -> Source | None:
    """The dump that this run has already: to correct a label should bring no newer one, nor need the network."""
    file, corpus = run.input("fetch/sources.json"), run.config.corpus
    assert corpus.dump, "only called where one is to be downloaded"
    url = dump_url(corpus.mirror, wikipedias.dump_prefix(run.config.language), corpus.dump)
    for source in json.loads(file.read_text("utf-8")) if file.exists() and not run.force else []:
        path = Path(source["path"])
        if source.get("url") == url and path.is_file() and digest(path) == source["sha256"]:
            again = shlex.join(["python", "-m", "pipeline", "fetch", run.argument, *run.settings, "--force"])
            newer = f" (to look for a newer one: {again})" if corpus.dump == "latest" else ""
            log.info("fetch: %s stays%s", path, newer)
            return {**source, "weight": 1.0}
    return None


def published_dump(config: Config) -> Source:
    prefix = wikipedias.dump_prefix(config.language)
    assert config.corpus.dump, "only called where one is to be downloaded"
    dump = download_dump(config.corpus.mirror, prefix, config.corpus.dump, Path("corpora", config.language))
    sources.require_dump(dump.path)
    about = {"name": prefix, "kind": "dump", "path": str(dump.path), "sha256": digest(dump.path), "weight": 1.0}
    return {**about, "date": dump.date, "url": dump.url}


def labelled_splits(config: Config) -> tuple[labelled_checks.Splits, labelled_checks.Faults]:
    """The documents of each split that is given, and their faults. What lies on this machine is read first."""
    wanted = config.labelled
    if wanted is None:
        return {}, {}
    names = {"train": wanted.train, "dev": wanted.dev, "test": wanted.test}
    own = wikipedias.sib200_name(config.language)
    if wanted.train == wikipedias.SIB200:
        if own is None:
            log.info(
                "fetch: SIB-200 has no set in `%s`: no labelled documents (labelled.train=... names some)",
                config.language,
            )
            return {}, {}
        names = {role: name or wikipedias.SIB200 for role, name in names.items()}
    if own:
        names = {role: f"Davlan/sib200@{own}" if name == wikipedias.SIB200 else name for role, name in names.items()}
    given = {role: name for role, name in names.items() if name}
    splits: labelled_checks.Splits = {}
    left_out = {}
    for role, name in sorted(given.items(), key=lambda item: labelled.local_path(item[1]) is None):
        rows = labelled.parted(labelled.read(name, role, wanted.text, wanted.label), wanted.separator)
        splits[role] = with_text_and_label(rows, name)
        left_out[role] = len(rows) - len(splits[role])
        log.info("fetch: %s: %d documents from %s", role, len(splits[role]), name)
    splits = labelled.alike({role: splits[role] for role in given})
    before = {label.strip() for label in class_sizes(splits["train"])}
    splits, faults = labelled_checks.checked(splits, remove_leaked=wanted.remove_leaked)
    faults["number_labels"] &= not wanted.order
    faults["left_out"] = left_out
    for line in labelled_checks.lines(faults):
        log.warning("fetch: %s", line)
    require_classes(splits, names, before)
    require_order(wanted.order, splits["train"])
    return splits, faults


def with_text_and_label(rows: list[Document], name: str) -> list[Document]:
    kept = [row for row in rows if row["text"] and any(label.strip() for label in labelled.labels_of(row))]
    if not kept:
        raise UsageError(f"{name} has no document with a text and a label: check labelled.text and labelled.label")
    return kept


def require_classes(splits: labelled_checks.Splits, names: dict[str, str | None], before: set[str]) -> None:
    """UsageError: train has fewer than two classes, or another split has one that train never saw.

    ``before`` are the classes of train before documents were taken out.
    """
    classes = class_sizes(splits["train"])
    if len(classes) < 2:
        why = ", once what is also in test is taken out" if len(before) > 1 else ""
        raise UsageError(
            f"{names['train']} has one class only, `{next(iter(classes))}`{why}: a classifier needs at least two"
        )
    for role in splits.keys() - {"train"}:
        if unseen := sorted(class_sizes(splits[role]).keys() - classes.keys()):
            why = " but what is also in test, and taken out" if unseen[0] in before else ""
            raise UsageError(
                f"{names[role]} has the label `{unseen[0]}`, of which {names['train']} has no document{why}: "
                "add some to train or correct the label"
            )


def require_order(order: tuple[str, ...], train: list[Document]) -> None:
    """UsageError: an order is given, and its classes are not those of train, each once; or documents have several."""
    classes = class_sizes(train)
    if order and not isinstance(train[0]["label"], str):
        raise UsageError("labelled.order is for documents with one label each: leave it out, or labelled.separator")
    if order and sorted(order) != sorted(classes):
        raise UsageError(
            f"labelled.order names {', '.join(f'`{label}`' for label in order)}, and the classes of train are "
            f"{', '.join(f'`{label}`' for label in classes)}: name each of these once, from the lowest to the highest"
        )


def class_sizes(rows: list[Document]) -> dict[str, int]:
    return dict(sorted(Counter(label for row in rows for label in labelled.labels_of(row)).items()))


if __name__ == "__main__":
    stage_main("fetch", work)
