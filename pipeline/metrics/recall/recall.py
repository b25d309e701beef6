"""Share of the documents of a class that are given it. For ``evaluate.load`` by path."""

from typing import Any

import datasets
import evaluate
from sklearn.metrics import recall_score


class Recall(evaluate.Metric):  # type: ignore[misc]
    def _info(self) -> Any:
        each = datasets.Value("int32")
        if self.config_name == "multilabel":
            each = datasets.List(each)
        return evaluate.MetricInfo(
            description="Share of the documents of a class that are given it.",
            citation="",
            inputs_description="predictions, references: class indices, or of `multilabel` 0 and 1 for each class; "
            "labels: which classes; average: macro, weighted, or None for a figure a class",
            features=datasets.Features({"predictions": each, "references": each}),
        )

    def _compute(
        self, predictions: Any, references: Any, labels: list[int] | None = None, average: str | None = "macro"
    ) -> dict[str, Any]:
        score = recall_score(references, predictions, labels=labels, average=average, zero_division=0)
        return {"recall": float(score) if average else score.tolist()}
