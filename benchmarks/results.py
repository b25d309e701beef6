"""The table of docs/results.md, from finished runs: `python -m benchmarks.results runs/ha-local runs/or-local`."""

import json
import sys
from pathlib import Path
from typing import Any


def _json(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


def percent(figure: dict[str, Any]) -> str:
    """Mean, standard deviation over seeds where there are several, and the 95 % interval, of an accuracy or F1."""
    spread = f" ± {100 * figure['sd']:.1f}" if len(figure.get("per_seed", [])) > 1 else ""
    return f"{100 * figure['mean']:.1f}{spread} ({100 * figure['low']:.1f}–{100 * figure['high']:.1f})"


def row(run: Path) -> list[str]:
    manifests = {path.parent.name: _json(path) for path in run.glob("*/manifest.json")}
    scores = _json(run / "score/scores.json")
    trained, kept = manifests["pretrain"]["counts"], manifests["filter"]["counts"]["kept"]
    seconds = {name: manifests[name]["seconds"] for name in ("pretrain", "finetune")}
    peak = max(manifest["peak_memory_bytes"] for manifest in manifests.values())
    return [
        run.name,
        f"{sum(split['words'] for split in kept.values()):,}",
        f"{trained['tokens'] / 1e6:.1f} M, {trained['epochs']:.0f} epochs",
        f"{trained['valid_nats']:.2f} / {trained['valid_bits_per_byte']:.2f}",
        percent(scores["test"]["accuracy"]),
        *(percent(scores["parts"][part]["accuracy"]) if part in scores["parts"] else "–" for part in PARTS),
        *(percent(scores["baselines"][baseline]["accuracy"]) for baseline in BASELINES),
        f"{100 * scores['test']['weighted_f1']['mean']:.1f}",
        scores["verdict"],
        " + ".join(f"{seconds[name] / 60:.0f}" for name in seconds),
        f"{peak / 1e9:.1f}",
    ]


PARTS, BASELINES = ("network", "linear"), ("scratch", "tfidf_svm", "fasttext_logistic")
HEADER = [
    "run",
    "words of text",
    "tokens trained on",
    "validation nats / bits a byte",
    "accuracy, %",
    "network alone",
    "linear alone",
    "scratch",
    "TF-IDF + SVM",
    "word vectors",
    "weighted F1, %",
    "transfer",
    "minutes, pretrain + finetune",
    "peak GB",
]


def main() -> None:
    rows = [HEADER, ["---"] * len(HEADER), *(row(Path(name)) for name in sys.argv[1:])]
    print("\n".join(f"| {' | '.join(cells)} |" for cells in rows))


if __name__ == "__main__":
    main()
