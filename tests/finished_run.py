"""What the stages of a finished run leave behind: figures that no run has made, in the files that runs write."""

from typing import Any

from pipeline.metrics import calibration
from pipeline.metrics.verdict import verdict
from pipeline.reporting import gather
from pipeline.text import labelled_checks

CLASSES = ("agriculture", "culture", "geography", "health", "science", "sports")
SENTENCES = (
    "ଓଡ଼ିଶା ଭାରତର ପୂର୍ବ ଉପକୂଳରେ ଅବସ୍ଥିତ ଏକ ରାଜ୍ୟ ଏବଂ ଏହାର ରାଜଧାନୀ ଭୁବନେଶ୍ୱର ।",
    "ଧାନ ଓଡ଼ିଶାର ପ୍ରଧାନ ଫସଲ ଏବଂ ବର୍ଷା ଋତୁରେ ଚାଷୀମାନେ ଏହାକୁ ରୋପଣ କରନ୍ତି ।",
)

Result = tuple[dict[str, Any], dict[str, Any]]
"""Of a stage: its counts, and its files by name (rows of JSON lines, or one JSON value)."""


def results() -> dict[str, Result]:
    documents = [{"id": f"k{i}", "title": "ଓଡ଼ିଶା", "text": text, "source": "dump"} for i, text in enumerate(SENTENCES)]
    measures = {"vocabulary": 2000, "fertility": 1.62, "bytes_per_token": 8.4, "whole_words": 0.61}
    return {
        "fetch": _fetched(),
        "extract": _extracted(documents),
        "filter": _filtered(documents),
        "tokenizer": ({"vocabulary": 2000}, {"measures.json": {"this": measures}}),
        "encode": ({"tokens": 31_000}, {}),
        "pretrain": ({"steps": 400}, {"metrics.jsonl": _pretraining()}),
        "finetune": _finetuned(),
        "score": _scored(predictions()),
    }


def predictions(n: int = 48) -> list[dict[str, Any]]:
    rows = []
    for i in range(n):
        label, predicted = CLASSES[i % 6], CLASSES[(i + (i % 7 == 3)) % 6]
        sure = 0.5 + (i % 40) / 100
        rest = dict.fromkeys(CLASSES, (1 - sure) / 5)
        rows.append({"id": f"t{i}", "label": label, "predicted": predicted, "probabilities": {**rest, predicted: sure}})
    return rows


def _fetched() -> Result:
    test = [{"id": f"t{i}", "text": f"{SENTENCES[i % 2]} {i}", "label": CLASSES[i % 6]} for i in range(48)]
    splits = {
        split: {"documents": 6 * n, "classes": dict.fromkeys(CLASSES, n)}
        for split, n in (("train", 18), ("dev", 4), ("test", 8))
    }
    _, faults = labelled_checks.checked(
        {
            "train": [{"id": "1", "text": "x", "label": "sports "}, {"id": "2", "text": "y", "label": "Sports"}],
            "test": [{"id": "1", "text": "x", "label": "culture"}],
        },
        remove_leaked=True,
    )
    return {"sources": 1, "labelled": splits, "labelled_faults": faults}, {"labelled/test.jsonl": test}


def _extracted(documents: list[dict[str, Any]]) -> Result:
    unused = {"redirect": 14, "other_namespaces": 8, "disambiguation": 4}
    return {"orwiki": {"pages": 130, "documents": 104, **unused, "words": 9_000}}, {"0.jsonl": documents}


def _filtered(documents: list[dict[str, Any]]) -> Result:
    dropped = [
        {"id": f"d{i}", "title": "ତାଲିକା", "text": SENTENCES[i % 2] * 3, "reason": reason, "unit": "document"}
        for i in range(4)
        for reason in ("short", "duplicate", "wrong_script")
    ]
    counts = {
        "read": {"documents": 104, "words": 9_000, "bytes": 150_000},
        "dropped": {"documents": {"short": 5, "duplicate": 4, "wrong_script": 4}, "paragraphs": {"stub": 7}},
        "kept": {"train": {"documents": 86, "words": 8_000}, "valid": {"documents": 5, "words": 500}},
    }
    return counts, {"train.jsonl": documents, "valid.jsonl": documents, "dropped.jsonl": dropped}


def _pretraining() -> list[dict[str, Any]]:
    def at(step: int) -> dict[str, Any]:
        return {"step": step, "seconds": step / 4, "tokens": step * 8192}

    return [
        *({**at(s), "tokens_per_s": 31_000, "loss_nats": 9.5 - 5.5 * s / (s + 60)} for s in range(20, 401, 20)),
        *({**at(s), "valid_nats": 9.6 - 5.2 * s / (s + 60), "valid_bits_per_byte": 1.4} for s in range(40, 401, 40)),
    ]


def _finetuned() -> Result:
    tuning = [
        {
            "strategy": strategy,
            "seed": seed,
            "epoch": e,
            "loss_nats": 1.7 / e,
            "dev_nats": 1.6 / e,
            "dev_accuracy": best - 0.6 / e - 0.02 * seed,
        }
        for strategy, best in (("full", 0.9), ("scratch", 0.7))
        for seed in range(3)
        for e in range(1, 13)
    ]
    origin = {
        "checkpoint_sha256": "ab" * 32,
        "body_tensors": 26,
        "body_tensors_equal": 26,
        "body_parameters": 1_034_000,
        "head_tensors_from_checkpoint": ["head.dense.weight", "head.norm.weight"],
        "new_tensors": ["classifier.bias", "classifier.weight"],
        "share_of_parameters_transferred": 0.9987,
    }
    return {"transfer": origin, "length_tokens": 256, "cut": {"train": 3, "dev": 0}}, {"metrics.jsonl": tuning}


def _scored(rows: list[dict[str, Any]]) -> Result:
    counts = [[sum(r["label"] == a and r["predicted"] == b for r in rows) for b in CLASSES] for a in CLASSES]
    evidence = _evidence()
    table = [list(row["probabilities"].values()) for row in rows]
    right = [CLASSES.index(row["label"]) for row in rows]
    scores = {
        "test": {
            "accuracy": _measured(0.82),
            "macro_f1": _measured(0.81),
            "weighted_f1": _measured(0.815),
            "mcc": _measured(0.78),
            "quadratic_weighted_kappa": _measured(0.691),
            "documents": 48,
            "per_class": {name: {"precision": 0.8, "recall": 0.75, "f1": 0.774, "documents": 8} for name in CLASSES},
            "confusion_matrix": {"labels": list(CLASSES), "counts": counts},
        },
        "baselines": {
            "tfidf_svm": {"accuracy": {**_measured(0.77), "per_seed": [0.77], "sd": 0.0}},
            "fasttext_logistic": {"accuracy": _measured(0.6)},
            "scratch": {"accuracy": _measured(0.55)},
            "majority": {"accuracy": _measured(0.17)},
        },
        "largest_class": {"label": "culture", "share": 0.31},
        "calibration": {
            "temperature": 1.8,
            "before": calibration.reliability(calibration.at_temperature(table, 1 / 1.8), right),
            "after": calibration.reliability(table, right),
        },
        **verdict(0.82, evidence, 48, gather.NAMES, "the joined classifier"),
        "network_alone": verdict(0.75, evidence, 48, gather.NAMES, "the transferred network"),
    }
    hardest = [
        {"id": row["id"], "text": f"{SENTENCES[0]} " * 9, "label": row["label"], "predicted": row["predicted"]}
        | {"probability": 0.9, "probability_of_label": 0.02, "seeds_wrong": 3}
        for row in rows
        if row["label"] != row["predicted"]
    ] * 2
    return {}, {"predictions.jsonl": rows, "scores.json": scores, "hardest.jsonl": hardest}


def _evidence() -> dict[str, Any]:
    return {
        "tfidf_svm": {
            "accuracy": 0.77,
            "difference": {"mean": 0.05, "low": -0.031, "high": 0.12, "p": 0.2},
            "mcnemar": {"only_ours_right": 7, "only_theirs_right": 4, "p": 0.55},
        },
        "scratch": {
            "accuracy": 0.55,
            "difference": {"mean": 0.27, "low": 0.15, "high": 0.39, "p": 0.001},
            "mcnemar": {"only_ours_right": 15, "only_theirs_right": 1, "p": 0.0005},
        },
    }


def _measured(mean: float, spread: float = 0.02) -> dict[str, Any]:
    return {
        "mean": mean,
        "sd": spread,
        "low": mean - 0.1,
        "high": mean + 0.08,
        "per_seed": [mean - spread, mean, mean + spread],
    }
