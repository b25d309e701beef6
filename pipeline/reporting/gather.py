"""What a run's folder holds, brought into the shape that the page shows. What is absent becomes None or empty."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

import langcodes
import regex
from tokenizers import Tokenizer

from pipeline.artifacts import Run, read_manifest
from pipeline.recipe import LINE
from pipeline.reporting import charts
from pipeline.text.documents import Document, read_jsonl
from pipeline.text.labelled import labels_of
from pipeline.text.labelled_checks import lines as fault_lines
from pipeline.text.script import expected_scripts, named_scripts

SAMPLES_PER_REASON = 3
HARDEST = 8
EXCERPT_LETTERS = 280
RIGHT_TO_LEFT = ("Arab", "Hebr", "Thaa", "Syrc", "Nkoo", "Adlm", "Rohg", "Mand", "Armi", "Elym", "Nbat", "Palm", "Yezi")

NAMES = {
    "network": "its network alone",
    "linear": "its linear classifier alone",
    "joined": "network and linear classifier",
    "soup": "its networks' mean weights",
    "distilled": "distilled networks",
    "tfidf_svm": "character TF-IDF + linear SVM",
    "lexical": "linear classifier without body",
    "fasttext_logistic": "word vectors + linear classifier",
    "scratch": "same network, random start",
    "majority": "always the largest class",
}
NOT_REASONS = ("pages", "documents", "words", "text_bytes")  # among what extract counts of a source
MEASURES = {  # of the tokenizer: what the page calls it, and how it writes it
    "vocabulary": ("entries", "number"),
    "fertility": ("tokens a word", "number"),
    "bytes_per_token": ("bytes a token", "number"),
    "whole_words": ("words kept whole", "percent"),
    "cut_clusters": ("cuts inside a letter cluster", "percent"),
    "unused": ("entries never used", "percent"),
    "renyi_efficiency": ("Rényi efficiency", "number"),
    "round_trip": ("texts decoded exactly", "percent"),
}


def everything(run: Run) -> dict[str, Any]:
    """All that the page shows, by the names that ``page.html.jinja`` uses."""
    manifests = {name: m for name in LINE if (m := read_manifest(run.folder / name)) and name != "report"}
    counts = {name: manifest.get("counts", {}) for name, manifest in manifests.items()}
    scores = _json(run.input("score/scores.json"))
    return {
        "run": run,
        "language": language(run.config.language, run.config.filter.scripts),
        "manifests": manifests,
        "counts": counts,
        "last": max((datetime.fromisoformat(m["started"]) for m in manifests.values() if "started" in m), default=None),
        "scores": scores,
        "whiskers": score_chart(scores),
        "differences": difference_chart(scores),
        "reliability": reliability_chart(scores.get("calibration")),
        "baseline_names": NAMES,
        "funnel": funnel(counts.get("extract", {}), counts.get("filter", {})),
        "samples": dropped_samples(run.input("filter/dropped.jsonl")),
        "measures": _json(run.input("tokenizer/measures.json")),
        "measure_names": MEASURES,
        "pieces": pieces(run.input("tokenizer/tokenizer.json"), run.input("filter/valid.jsonl")),
        "pretrain": pretrain_chart(list(_lines(run.input("pretrain/metrics.jsonl")))),
        "finetune": finetune_chart(list(_lines(run.input("finetune/metrics.jsonl")))),
        "transfer": counts.get("finetune", {}).get("transfer"),
        "confusion": confusion(scores),
        "hardest": hardest(run.input("score/hardest.jsonl")),
        "labelled": labelled(counts.get("fetch", {})),
        "versions": next((m["versions"] for m in reversed(manifests.values()) if "versions" in m), {}),
        "settings": {k: v for m in manifests.values() for k, v in flat(m.get("settings", {})).items()},
        "details": {name: flat(values) for name, values in counts.items()},
    }


def _lines(path: Path) -> Iterator[Document]:
    return read_jsonl(path) if path.exists() else iter(())


def _json(path: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    return value


def flat(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """``{"a": {"b": 1}}`` as ``{"a.b": 1}``; lists stay as they are."""
    rows: dict[str, Any] = {}
    for key, inner in value.items():
        rows |= flat(inner, f"{prefix}{key}.") if isinstance(inner, dict) else {f"{prefix}{key}": inner}
    return rows


def language(code: str, scripts: Sequence[str]) -> dict[str, str]:
    """The name of a Wikipedia's language in English and in itself, its BCP 47 tag and its direction.

    ``scripts``: as in ``filter.scripts``.
    """
    written = expected_scripts(code) if scripts == "auto" else named_scripts(scripts)
    sides = {"rtl" if script in RIGHT_TO_LEFT else "ltr" for script in written}
    side = sides.pop() if len(sides) == 1 else "auto"  # by the letters of each text
    try:
        tag = langcodes.Language.get(code)
        name, own = tag.display_name(), tag.autonym()
    except langcodes.LanguageTagError:  # codes such as `be-x-old`
        return {"tag": code, "name": code, "own": "", "dir": side}
    return {"tag": tag.to_tag(), "name": name, "own": "" if own == name else own, "dir": side}


def score_chart(scores: dict[str, Any]) -> dict[str, Any] | None:
    """Accuracy of the classifier, of what it was made of or chosen from, and of each baseline, with intervals."""
    parts = {name: part for name, part in scores.get("parts", {}).items() if name != scores.get("answer")}
    rows = [
        {"name": NAMES.get(name, name), "ours": ours, **measured["accuracy"]}
        for name, measured, ours in (
            ("transferred model" if scores.get("verdict", True) else "trained network", scores.get("test", {}), True),
            *((name, measured, True) for name, measured in parts.items()),
            *((name, measured, False) for name, measured in scores.get("baselines", {}).items()),
        )
        if "accuracy" in measured
    ]
    return charts.whiskers(rows)


def difference_chart(scores: dict[str, Any]) -> dict[str, Any] | None:
    """By how much the classifier is ahead of each control in accuracy, with intervals, around zero.

    Where it is more than a network, the network alone follows.
    """
    rows = [
        {"name": f"{prefix}against {NAMES.get(name, name)}", "ours": not prefix, **each["difference"]}
        for prefix, judged in (("", scores), ("network alone, ", scores.get("network_alone", {})))
        for name, each in judged.get("evidence", {}).items()
    ]
    return charts.whiskers(rows, span=(-1.0, 1.0), reference=0.0)


def reliability_chart(calibration: dict[str, Any] | None) -> dict[str, Any] | None:
    """The share of right answers over the probability that the model gave them, after its temperature and before."""
    if not calibration:
        return None
    measured = [
        {
            "kind": kind,
            "dotted": True,
            "points": [(bin["confidence"], bin["accuracy"]) for bin in calibration[kind]["bins"]],
        }
        for kind in ("before", "after")
        if kind in calibration
    ]
    return charts.line_chart([{"kind": "ideal", "points": [(0.0, 0.0), (1.0, 1.0)]}, *measured], bottom=0.0)


def funnel(extract: dict[str, Any], filtered: dict[str, Any]) -> dict[str, Any] | None:
    """From the pages and documents of all sources down to those kept, one bar a reason; and what went of the rest."""
    if not filtered.get("read"):
        return None
    read, kept, dropped = filtered["read"], filtered["kept"], filtered["dropped"]
    unused: Counter[str] = Counter()
    for source in extract.values():
        unused.update({reason: n for reason, n in source.items() if n and reason not in NOT_REASONS})
    total = read["documents"] + unused.total()
    kept_documents = sum(split["documents"] for split in kept.values())
    return {
        "total": total,
        "unused": charts.waterfall(total, total, unused),
        "read": read,
        "read_width": charts.percent_of(read["documents"], 0, total),
        "dropped": charts.waterfall(total, read["documents"], dropped.get("documents", {})),
        "paragraphs": dropped.get("paragraphs", {}),
        "kept": kept,
        "kept_documents": kept_documents,
        "kept_words": sum(split["words"] for split in kept.values()),
        "kept_width": charts.percent_of(min(kept_documents, total), 0, total),
    }


def dropped_samples(path: Path) -> dict[tuple[str, str], list[Document]]:
    """The first few dropped documents and paragraphs of each reason, shortened."""
    samples: dict[tuple[str, str], list[Document]] = {}
    for document in _lines(path):
        of_reason = samples.setdefault((f"{document['unit']}s", document["reason"]), [])
        if len(of_reason) < SAMPLES_PER_REASON:
            of_reason.append({**document, "text": shortened(str(document.get("text", "")))})
    return dict(sorted(samples.items()))


def shortened(text: str, most: int = EXCERPT_LETTERS) -> str:
    """``text`` on one line, cut at a space of its last third; else, as in Thai, where no letter loses its marks."""
    line = " ".join(text.split())
    if len(line) <= most:
        return line
    end = line.rfind(" ", 2 * most // 3, most)
    if end < 0:
        ends = [cluster.end() for cluster in regex.finditer(r"\X", line, endpos=most + 1)]
        end = max((each for each in ends if each <= most), default=most)
    return line[:end] + " …"


def pieces(tokenizer_file: Path, documents: Path) -> list[list[str]]:
    """The words of one held-out sentence, each as the pieces that the tokenizer cuts it into."""
    first = next((d["text"] for d in _lines(documents) if len(d["text"].split()) >= 12), None)
    if first is None or not tokenizer_file.exists():
        return []
    words = first.split()[:24]
    end = next(
        (i + 1 for i, word in enumerate(words) if i >= 9 and word.endswith((".", "।", "॥", "?", "!"))), len(words)
    )
    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    return [cut(tokenizer, word) for word in words[:end]]


def cut(tokenizer: Tokenizer, word: str) -> list[str]:
    """``word`` as its pieces, in letters of the word itself, whatever signs the tokenizer uses inside."""
    spans = [span for span in tokenizer.encode(word, add_special_tokens=False).offsets if span[0] < span[1]]
    return [word[start:end] for start, end in dict.fromkeys(spans)] or [word]


def pretrain_chart(rows: list[Document]) -> dict[str, Any] | None:
    """Training and validation loss over steps, with the figures worth a sentence."""
    train = [(row["step"], row["loss_nats"]) for row in rows if row.get("loss_nats") is not None]
    valid = [(row["step"], row["valid_nats"]) for row in rows if row.get("valid_nats") is not None]
    layout = charts.line_chart(
        [
            {"name": "training", "kind": "train", "points": charts.thinned(train)},
            {"name": "validation", "kind": "valid", "dotted": True, "points": valid},
        ]
    )
    if layout is None:
        return None
    bits = [row["valid_bits_per_byte"] for row in rows if "valid_bits_per_byte" in row]
    return {
        "chart": layout,
        "first": train[0][1] if train else None,
        "last": train[-1][1] if train else None,
        "valid": valid[-1][1] if valid else None,
        "bits_per_byte": bits[-1] if bits else None,
        "steps": rows[-1].get("step"),
        "tokens": max((row["tokens"] for row in rows if "tokens" in row), default=None),
        "seconds": max((row["seconds"] for row in rows if "seconds" in row), default=None),
    }


def finetune_chart(rows: list[Document]) -> dict[str, Any] | None:
    """Accuracy on dev (or on the held-out fold) after each epoch: a faint line a training, a full one their mean."""
    runs: dict[tuple[bool, Any, Any], list[charts.Point]] = {}
    for row in rows:
        if "dev_accuracy" in row:
            key = row.get("strategy") == "scratch", row.get("seed"), row.get("fold")
            runs.setdefault(key, []).append((row["epoch"], row["dev_accuracy"]))
    lines: list[dict[str, Any]] = []
    final: dict[str, float] = {}
    for scratch in (True, False):
        kind = "scratch" if scratch else "transfer"
        own = [points for (control, *_), points in runs.items() if control is scratch]
        if own:
            mean = [(column[0][0], sum(y for _, y in column) / len(column)) for column in zip(*own, strict=False)]
            lines += [{"kind": f"{kind} faint", "points": points} for points in own]
            lines.append({"kind": kind, "points": mean})
            final[kind] = mean[-1][1]
    layout = charts.line_chart(lines)
    measured_on = "the held-out folds of train" if any("fold" in row for row in rows) else "dev"
    return layout and {"chart": layout, "measured_on": measured_on, "final": final}


def confusion(scores: dict[str, Any]) -> dict[str, Any] | None:
    """The confusion matrix of the shipped model, with each cell's share of its row."""
    matrix = scores.get("test", {}).get("confusion_matrix")
    if not matrix:
        return None
    labels, counts = matrix["labels"], matrix["counts"]
    rows = [
        {
            "label": label,
            "cells": [{"count": n, "share": n / max(1, sum(row)), "right": i == j} for j, n in enumerate(row)],
        }
        for i, (label, row) in enumerate(zip(labels, counts, strict=True))
    ]
    right = sum(row[i] for i, row in enumerate(counts))
    return {"labels": labels, "rows": rows, "documents": sum(map(sum, counts)), "right": right}


def hardest(path: Path) -> list[Document]:
    """The first of the documents that the score stage found hardest, shortened."""
    return [
        {
            **row,
            "text": shortened(row["text"]),
            "label": " + ".join(labels_of(row)),
            "predicted": " + ".join(labels_of({"label": row["predicted"]})) or "none",
        }
        for row in islice(_lines(path), HARDEST)
    ]


def labelled(fetched: dict[str, Any]) -> dict[str, Any] | None:
    """How many documents each class has in each split, and what was wrong with them, a line each."""
    splits = fetched.get("labelled")
    if not splits:
        return None
    classes = sorted({label for split in splits.values() for label in split["classes"]})
    faults = fetched.get("labelled_faults")
    return {
        "splits": splits,
        "leaked": faults and faults["duplicates"].get("train in test") and not faults["removed"],
        "rows": [(label, [split["classes"].get(label, 0) for split in splits.values()]) for label in classes],
        "faults": list(fault_lines(faults)) if faults else [],
    }
