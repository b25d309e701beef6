"""What is wrong with labelled documents: found, counted and said, a line each; and what of it is mended."""

from collections import defaultdict
from collections.abc import Iterator
from itertools import combinations
from typing import Any

from pipeline.errors import UsageError
from pipeline.text.documents import Document
from pipeline.text.labelled import is_number, labels_of, look_alikes
from pipeline.text.script import words

Splits = dict[str, list[Document]]
"""Rows of ``id``, ``text`` and ``label`` by role, test among them or not."""
Faults = dict[str, Any]

NAMED = 20  # conflicts that are listed; all of them are counted


def checked(splits: Splits, *, remove_leaked: bool) -> tuple[Splits, Faults]:
    """``splits`` with labels stripped and, if so wished, without train and dev documents that are in test; the faults.

    Two texts are the same where their words are: case, punctuation and white space make no difference. Test stays
    whole. UsageError: no document of train is left.
    """
    spaced = sum(label != label.strip() for label in _labels(splits))
    splits = {role: [_stripped(row) for row in rows] for role, rows in splits.items()}
    keys = {role: [same_text(row["text"]) for row in rows] for role, rows in splits.items()}
    texts = {role: set(own) for role, own in keys.items()}
    tested = texts["test"] if remove_leaked and "test" in splits else set()
    found = {
        "spaced_labels": spaced,
        "number_labels": all(map(is_number, _labels(splits))),
        "alike_labels": look_alikes(dict.fromkeys(_labels(splits))),
        "labels_in_one": labels_in_one({*_labels(splits)}),
        "conflicts": conflicts(splits, keys),
        "duplicates": {
            **{role: len(own) - len(texts[role]) for role, own in keys.items()},
            **{
                f"{a} in {b}": sum(key in texts[b] and (b == "test" or key not in tested) for key in keys[a])
                for a, b in combinations(keys, 2)
            },
        },
        "removed": {},
    }
    if tested:
        kept = {
            role: [row for row, key in zip(rows, keys[role], strict=True) if role == "test" or key not in tested]
            for role, rows in splits.items()
        }
        found["removed"] = {role: len(splits[role]) - len(kept[role]) for role in kept if role != "test"}
        splits = kept
        if not splits["train"]:
            raise UsageError("every document of train is also in test: give other documents to learn from")
        splits = {role: rows for role, rows in splits.items() if rows}  # a dev split of nothing is none
    return splits, found


def _labels(splits: Splits) -> list[str]:
    return [label for rows in splits.values() for row in rows for label in labels_of(row)]


def _stripped(row: Document) -> Document:
    labels = [label.strip() for label in labels_of(row)]
    return {**row, "label": labels[0] if isinstance(row["label"], str) else list(dict.fromkeys(labels))}


def labels_in_one(labels: set[str]) -> dict[str, int]:
    """By separator: how many of ``labels`` are others joined by it, as "sport|news" beside "sport" and "news"."""
    counts = {
        sign: sum(sign in label and {part.strip() for part in label.split(sign)} <= labels for label in labels)
        for sign in "|;,"
    }
    return {sign: count for sign, count in counts.items() if count}


def same_text(text: str) -> str:
    """What is equal for texts that count as the same."""
    return " ".join(words(text)) or text.strip()


def conflicts(splits: Splits, keys: dict[str, list[str]]) -> dict[str, Any]:
    """Texts that bear more than one label, within a split or across: how many, and the first of them."""
    bearers: defaultdict[str, list[dict[str, str]]] = defaultdict(list)
    for role, rows in splits.items():
        for row, key in zip(rows, keys[role], strict=True):
            bearers[key].append({"split": role, "id": row["id"], "label": " + ".join(sorted(labels_of(row)))})
    torn = [rows for rows in bearers.values() if len({row["label"] for row in rows}) > 1]
    return {"texts": len(torn), "first": torn[:NAMED]}


def lines(found: Faults) -> Iterator[str]:
    """Each fault in one line."""
    if left_out := [f"{count} of {role}" for role, count in found.get("left_out", {}).items() if count]:
        yield f"documents without a text or a label are left out: {' and '.join(left_out)}"
    if found["spaced_labels"]:
        yield f"labels with space around them: {found['spaced_labels']}; the space is taken off"
    if found["number_labels"]:
        yield "all labels are numbers: read as names of classes, without an order (labelled.order=... gives one)"
    for group in found["alike_labels"]:
        yield f"labels that look alike count as different classes: {', '.join(f'`{label}`' for label in group)}"
    for separator, labels in found.get("labels_in_one", {}).items():
        yield f"labels that read as several in one: {labels}; labelled.separator='{separator}' takes them apart"
    if torn := found["conflicts"]["texts"]:
        first = " and ".join(f"{row['split']} {row['id']} `{row['label']}`" for row in found["conflicts"]["first"][0])
        yield f"texts with different labels: {torn}; the first: {first}"
    for where, count in found["duplicates"].items():
        inside, _, other = where.partition(" in ")
        if count and not other:
            yield f"documents of {inside} that repeat another one of {inside}: {count}"
        if count and other and not (other == "test" and found["removed"].get(inside)):
            yield f"documents of {inside} that are also in {other}: {count}; what is measured on {other} flatters"
    if any(found["removed"].values()):
        gone = " and ".join(f"{count} of {role}" for role, count in found["removed"].items() if count)
        yield f"documents that are also in test are taken out: {gone} (labelled.remove_leaked=false keeps them)"
