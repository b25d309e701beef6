"""Harmonic mean of precision and recall. For ``evaluate.load`` by path."""

from typing import Any

import datasets
import evaluate
from sklearn.metrics import f1_score


class F1(evaluate.Metric):  # type: ignore[misc]
    def _info(self) -> Any:
        return evaluate.MetricInfo(
            description="Harmonic mean of precision and recall.",
            citation="",
            inputs_description="predictions, references: class indices; labels: which classes; average: "
            "macro, weighted, or None for a figure a class",
            features=datasets.Features({"predictions": datasets.Value("int32"), "references": datasets.Value("int32")}),
        )

    def _compute(
        self, predictions: Any, references: Any, labels: list[int] | None = None, average: str | None = "macro"
    ) -> dict[str, Any]:
        score = f1_score(references, predictions, labels=labels, average=average, zero_division=0)
        return {"f1": float(score) if average else score.tolist()}
