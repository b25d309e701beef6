"""Share of documents whose class is predicted right, for ``evaluate.load`` by path."""

from typing import Any

import datasets
import evaluate
from sklearn.metrics import accuracy_score


class Accuracy(evaluate.Metric):  # type: ignore[misc]
    def _info(self) -> Any:
        each = datasets.Value("int32")
        if self.config_name == "multilabel":
            each = datasets.List(each)
        return evaluate.MetricInfo(
            description="Share of documents whose class is predicted right.",
            citation="",
            inputs_description="predictions, references: class indices, or of `multilabel` 0 and 1 for each class",
            features=datasets.Features({"predictions": each, "references": each}),
        )

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        return {"accuracy": float(accuracy_score(references, predictions))}
