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


def column(run: Path) -> dict[str, str]:
    manifests = {path.parent.name: _json(path) for path in run.glob("*/manifest.json")}
    scores = _json(run / "score/scores.json")
    trained, kept = manifests["pretrain"]["counts"], manifests["filter"]["counts"]["kept"]
    seconds = {name: manifests[name]["seconds"] for name in ("pretrain", "finetune")}
    measured = scores["parts"] | scores["baselines"]
    return {
        "": run.name,
        "labels, test documents": f"{sum(manifests['finetune']['counts']['labels']['train'].values()):,}, "
        f"{scores['test']['documents']}",
        "words of text": f"{sum(split['words'] for split in kept.values()):,}",
        "tokens trained on": f"{trained['tokens'] / 1e6:.1f} M, {trained['epochs']:.1f} epochs",
        "validation nats / bits a byte": f"{trained['valid_nats']:.2f} / {trained['valid_bits_per_byte']:.2f}",
        "**accuracy of what is shipped**": percent(scores["test"]["accuracy"]),
        "weighted F1 of what is shipped": percent(scores["test"]["weighted_f1"]),
        **{
            title: percent(measured[name]["accuracy"]) if name in measured else "–"
            for name, title in CLASSIFIERS.items()
        },
        "transfer": f"{scores['verdict']}; network alone {scores.get('network_alone', scores)['verdict']}",
        "minutes, pretrain + finetune": " + ".join(f"{seconds[name] / 60:.0f}" for name in seconds),
        "peak GB": f"{max(manifest['peak_memory_bytes'] for manifest in manifests.values()) / 1e9:.1f}",
    }


CLASSIFIERS = {
    "distilled": "pupils (`ship=distilled`)",
    "network": "network alone",
    "linear": "linear classifier, with the body",
    "lexical": "linear classifier, without",
    "scratch": "network from random weights",
    "tfidf_svm": "TF-IDF + SVM",
    "fasttext_logistic": "word vectors",
    "majority": "largest class",
}


def main() -> None:
    columns = [column(Path(name)) for name in sys.argv[1:]]
    for place, name in enumerate(columns[0]):
        print(f"| {' | '.join([name, *(each[name] for each in columns)])} |")
        if place == 0:
            print(f"|---|{'---:|' * len(columns)}")


if __name__ == "__main__":
    main()
